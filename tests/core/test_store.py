"""The store keeps whole results only, and notices what was damaged."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from core.exchange import Work
from core.material import folder_digest
from core.progress import silent
from core.store import Store
from core.values import Artifact

MATERIAL = {"plugin": "graph `x`", "options": {"n": 1}}


def put(store: Store, text: str = "content", *, answers: bool = True) -> Artifact:
    with store.staging() as folder:
        file = folder / "a.txt"
        file.write_text(text)
        artifact = Artifact(str(folder), str(file), "text", "fp32", folder_digest(folder), 7)
        return store.keep("graph", MATERIAL, artifact, answers=answers)


def test_what_is_kept_is_found_at_its_new_place(tmp_path: Path) -> None:
    """The files are in the store, and nothing is left where they were made."""
    store = Store(tmp_path)
    kept = put(store)
    found = store.find("graph", MATERIAL)
    assert found == kept
    assert Path(kept.path).read_text() == "content"
    assert list((tmp_path / "staging").iterdir()) == []


def test_other_material_is_another_result(tmp_path: Path) -> None:
    """One changed option is enough, and it is named."""
    store = Store(tmp_path)
    put(store)
    changed = {**MATERIAL, "options": {"n": 2}}
    assert store.find("graph", changed) is None
    assert store.why_absent("graph", changed) == "options.n: 1 -> 2"


def test_a_damaged_result_reads_as_absent(tmp_path: Path) -> None:
    """Content is verified by its hash, and what fails is dropped."""
    store = Store(tmp_path)
    Path(put(store).path).write_text("tampered")
    assert store.find("graph", MATERIAL) is None
    put(store)
    assert store.find("graph", MATERIAL) is not None


def test_a_truncated_description_reads_as_absent(tmp_path: Path) -> None:
    """A half-written JSON file is no result."""
    store = Store(tmp_path)
    description = Path(put(store).folder).parent / "artifact.json"
    description.write_bytes(description.read_bytes()[:40])
    assert store.find("graph", MATERIAL) is None


def test_a_stand_in_never_answers(tmp_path: Path) -> None:
    """What took another's place (a fallback) serves the run that made it, and no other."""
    store = Store(tmp_path)
    kept = put(store, answers=False)
    assert Path(kept.path).is_file()
    assert store.find("graph", MATERIAL) is None


def test_two_jobs_take_turns(tmp_path: Path) -> None:
    """The second waits, says so, and then finds what the first made."""
    store, said, seen = Store(tmp_path), threading.Event(), []

    def second() -> None:
        with store.lock("graph", MATERIAL, said.set):
            seen.append(store.find("graph", MATERIAL))

    with store.lock("graph", MATERIAL, lambda: None):
        thread = threading.Thread(target=second)
        thread.start()
        assert said.wait(20)
        put(store)
    thread.join()
    assert seen[0] is not None


def test_a_full_disk_ends_in_one_message_and_keeps_the_store_whole(tmp_path: Path) -> None:
    """A process whose files may not grow stands for a disk that is full."""
    code = (
        "import resource, sys; from pathlib import Path; from core.errors import StoreError\n"
        "from core.store import Store; from tests.core.test_store import put\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))\n"
        f"store = Store(Path({str(tmp_path)!r}))\n"
        "try:\n    put(store)\n"
        "except StoreError as error:\n    print(error); sys.exit(3)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False
    )
    assert done.returncode == 3, done.stderr
    assert "the store cannot be written" in done.stdout
    assert "store=/path/to/folder" in done.stdout
    assert list((tmp_path / "staging").iterdir()) == []
    store = Store(tmp_path)
    assert store.find("graph", MATERIAL) is None
    put(store)
    assert store.find("graph", MATERIAL) is not None


def test_a_folder_needs_nothing_that_speaks_to_a_network(tmp_path: Path) -> None:
    """What a store at a URL loads is not loaded for one in a folder."""
    code = (
        "import sys; from core.store import open_store\n"
        f"open_store({str(tmp_path)!r}).find('graph', {{}})\n"
        "print(sorted({'fsspec', 's3fs', 'core.remote', 'core.lease'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True
    )
    assert done.stdout == "[]\n"


def test_what_a_plugin_must_find_again_lies_beside_the_results(tmp_path: Path) -> None:
    """A lasting folder per name, made on first use, below the store's root."""
    store = Store(tmp_path / "store")
    work = Work(tmp_path / "work", silent(), store.lasting)
    folder = work.state("cloud")
    (folder / "job").write_text("j1")
    assert folder == tmp_path / "store" / "state" / "cloud"
    assert Work(tmp_path / "later", silent(), store.lasting).state("cloud") == folder
    assert Work(tmp_path / "alone", silent()).state("cloud").is_relative_to(tmp_path / "alone")
