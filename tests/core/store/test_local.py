"""The store keeps whole results only, and notices what was damaged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core import Artifact, StageContext
from core.errors import PluginError, StoreError
from core.plugin.progress import silent
from core.store import entry as entry_of
from core.store.hashing import folder_digest
from core.store.local import LARGE, Store

FINGERPRINT = {"plugin": "graph `x`", "options": {"n": 1}}


def put(
    store: Store,
    text: str = "content",
    *,
    answers: bool = True,
    fingerprint: dict[str, Any] = FINGERPRINT,
    facts: dict[str, Any] | None = None,
) -> Artifact:
    with store.staging() as folder:
        file = folder / "a.txt"
        file.write_text(text)
        artifact = Artifact(str(folder), str(file), "text", "fp32", folder_digest(folder), 7)
        artifact = replace(artifact, facts=facts or {})
        if answers:
            return store.keep("graph", fingerprint, artifact)
        return store.keep("graph", fingerprint, artifact, answers=False)


def test_what_is_kept_is_found_at_its_new_place(tmp_path: Path) -> None:
    """Kept files move into the store, and none is left in the work folder."""
    store = Store(tmp_path)
    kept = put(store)
    found = store.find("graph", FINGERPRINT)
    assert found == kept
    assert Path(kept.path).read_text() == "content"
    assert list((tmp_path / "staging").iterdir()) == []


def test_other_material_is_another_result(tmp_path: Path) -> None:
    """One changed option makes another result, and the option is named."""
    store = Store(tmp_path)
    put(store)
    changed = {**FINGERPRINT, "options": {"n": 2}}
    assert store.find("graph", changed) is None
    assert store.why_absent("graph", changed) == "options.n: 1 -> 2"


def test_three_differences_are_named_and_more_are_hinted_at(tmp_path: Path) -> None:
    """The reason for a missing result names up to three differences, from the newest result."""
    store = Store(tmp_path)
    old, new = ({**FINGERPRINT, **dict.fromkeys("abcd", n)} for n in (1, 2))
    for when, fingerprint in ((200, new), (100, old)):
        kept = put(store, fingerprint=fingerprint)
        os.utime(Path(kept.folder).parent / "artifact.json", (when, when))
    assert store.fingerprints("graph") == [new, old], "the newest first"
    assert store.why_absent("graph", {**new, "a": 3}) == "a: 2 -> 3"
    three = "a: 2 -> 3; b: 2 -> 3; c: 2 -> 3"
    assert store.why_absent("graph", {**new, **dict.fromkeys("abc", 3)}) == three
    assert store.why_absent("graph", {**new, **dict.fromkeys("abcd", 3)}) == f"{three}; ..."


def flipped_at(place: int) -> Callable[[Path], object]:
    """Return what flips a bit of a file."""

    def flip(file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[place] ^= 1
        file.write_bytes(content)

    return flip


DAMAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "flipped": ("files/a.txt", flipped_at(2), "its files are not those that were kept"),
    "evicted": ("files/a.txt", Path.unlink, "its files are not those that were kept"),
    "without files": ("files", shutil.rmtree, "its files are gone"),
    "another file": ("files/b", Path.touch, "its files are not those that were kept"),
    "a link": ("files/b", lambda f: f.symlink_to("a.txt"), "b: a symbolic link"),
    "a link to a folder": ("files/b", lambda f: f.symlink_to("."), "b: a symbolic link"),
    "a pipe": ("files/b", os.mkfifo, "b: a pipe"),
    "truncated": ("artifact.json", lambda f: os.truncate(f, 40), "its description: no sealed file"),
    "emptied": ("artifact.json", lambda f: os.truncate(f, 0), "its description: no sealed file"),
    "its digest": ("artifact.json", flipped_at(20), "does not have the digest"),
    "its content": ("artifact.json", flipped_at(-20), "its description: "),
    "a pipe for it": (
        "artifact.json", lambda f: (f.unlink(), os.mkfifo(f)), "`artifact.json` is no file"
    ),
    "no description": ("artifact.json", Path.unlink, "its artifact.json is gone"),
    "no fingerprint": ("fingerprint.json", Path.unlink, "its fingerprint.json is gone"),
    "other fingerprint": ("fingerprint.json", flipped_at(9), "does not give its key"),
    "files elsewhere": (
        "files", lambda f: f.rename(f.parent / "x") and f.symlink_to("x"), "a symbolic link"
    ),
    "elsewhere": (".", lambda f: f.rename(f.parent / "x") and f.symlink_to("x"), "it is no folder"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_result_is_told_and_made_again(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Looking at a damaged result changes nothing, and a newly kept one replaces it."""
    name, change, reason = DAMAGES[damage]
    entry = Path(put(Store(tmp_path)).folder).parent
    change(entry / name if name != "." else entry)
    before = sorted(tmp_path.rglob("*"))
    store = Store(tmp_path)
    for _ in range(2):
        assert store.find("graph", FINGERPRINT) is None
    assert reason in store.why_absent("graph", FINGERPRINT)
    assert store.why_absent("graph", FINGERPRINT).startswith("damaged: ")
    assert sorted(tmp_path.rglob("*")) == before
    (notice,) = store.notices
    assert notice.severity == "warning"
    assert "the kept result of `graph` is damaged, and it is made again" in notice.text
    assert f"(graph/{entry.name})" in notice.text
    assert capsys.readouterr().err == f"warning: {notice.text}\n"
    put(store)
    assert store.find("graph", FINGERPRINT) is not None
    assert list((tmp_path / "staging").iterdir()) == []


def test_another_format_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Results of an earlier or later format are neither read, nor touched, nor damage."""
    older = tmp_path / "graph" / ("0" * 32)
    older.mkdir(parents=True)
    (older / "artifact.json").write_text("{}")
    store = Store(tmp_path)
    assert store.find("graph", FINGERPRINT) is None
    assert "by another version of Luthier" in store.why_absent("graph", FINGERPRINT)
    assert store.fingerprints("graph") == []
    kept = put(store)
    assert store.fingerprints("graph") == [FINGERPRINT]
    assert Path(kept.folder).parent.name.startswith(f"{entry_of.FORMAT}-")
    assert (older / "artifact.json").read_text() == "{}"
    assert capsys.readouterr().err == ""


def test_two_entries_that_were_swapped_are_damaged(tmp_path: Path) -> None:
    """Whole files at each other's places, folders or descriptions, are damage."""
    store = Store(tmp_path)
    one, two = (Path(put(store, fingerprint={**FINGERPRINT, "n": n}).folder).parent for n in (1, 2))
    shutil.copyfile(one / "artifact.json", two / "artifact.json")
    assert store.find("graph", {**FINGERPRINT, "n": 2}) is None
    assert f"that of graph/{one.name}" in store.why_absent("graph", {**FINGERPRINT, "n": 2})
    shutil.copyfile(one / "fingerprint.json", two / "fingerprint.json")
    shutil.rmtree(two / "files")
    shutil.copytree(one / "files", two / "files")
    assert store.find("graph", {**FINGERPRINT, "n": 2}) is None
    (tmp_path / "model").mkdir()
    shutil.copytree(one, tmp_path / "model" / one.name)
    assert store.find("model", {**FINGERPRINT, "n": 1}) is None, "of another step"
    assert store.find("graph", {**FINGERPRINT, "n": 1}) is not None


def test_what_cannot_be_verified_does_not_count(tmp_path: Path) -> None:
    """Damaged entries of a step are ignored, with one line for all of them."""
    store = Store(tmp_path)
    entries = [
        Path(put(store, fingerprint={**FINGERPRINT, "n": n}).folder).parent for n in range(3)
    ]
    for entry in entries[:2]:
        flipped_at(9)(entry / "fingerprint.json")
    assert store.fingerprints("graph") == [{**FINGERPRINT, "n": 2}]
    assert store.history("graph") == {"graph `x`": 0.0}
    (notice,) = store.notices
    first, second = sorted(f"graph/{entry.name}" for entry in entries[:2])
    assert notice.text == f"damaged results of `graph` are ignored: {first} and 1 more"
    shutil.rmtree(tmp_path / second)
    again = Store(tmp_path)
    again.fingerprints("graph")
    (notice,) = again.notices
    assert notice.text == f"damaged results of `graph` are ignored: {first}"


def test_other_files_in_an_entry_are_never_read(tmp_path: Path) -> None:
    """Other files in an entry are never read and change nothing."""
    store = Store(tmp_path)
    entry = Path(put(store).folder).parent
    (entry / ".DS_Store").write_bytes(b"\0")
    os.mkfifo(entry / "pipe")
    (entry.parent / "junk").mkdir()
    (tmp_path / "graph" / "file").touch()
    assert store.find("graph", FINGERPRINT) is not None
    assert store.fingerprints("graph") == [FINGERPRINT]
    assert store.notices == []


def test_a_store_that_was_moved_is_still_one(tmp_path: Path) -> None:
    """A moved store works, since it holds no path of its former place."""
    put(Store(tmp_path / "a"))
    (tmp_path / "a").rename(tmp_path / "b")
    found = Store(tmp_path / "b").find("graph", FINGERPRINT)
    assert found is not None
    assert Path(found.path).read_text() == "content"


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"loss": float("nan")}, "a number that is not finite: loss=nan"),
        ({"losses": [1.0, float("inf")]}, "a number that is not finite: losses="),
        ({"thing": object()}, "a value that cannot be kept"),
        ({"thing": {"a": {1, 2}}}, "a value that cannot be kept"),
    ],
)
def test_facts_that_would_be_read_back_otherwise_are_refused(
    tmp_path: Path, facts: dict[str, Any], said: str
) -> None:
    """Facts that JSON would change are refused by plugin, and the result is not kept."""
    store = Store(tmp_path)
    with pytest.raises(PluginError, match=said) as error:
        put(store, facts=facts)
    assert "graph `x`" in str(error.value)
    assert store.find("graph", FINGERPRINT) is None


def test_a_name_that_is_no_text_is_kept(tmp_path: Path) -> None:
    """A fact with a name that is no text is read back equal to what this run returned."""
    store = Store(tmp_path)
    kept = put(store, facts={"item": os.fsdecode(b"caf\xe9.wav")})
    assert store.find("graph", FINGERPRINT) == kept
    assert str(kept.facts["item"]).startswith("caf")


def test_a_result_that_is_replaced_while_it_is_read_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged result that another run replaces during the read is not reported as damage."""
    store = Store(tmp_path)
    entry = Path(put(store).folder).parent
    verified = entry_of.verified
    times: list[str] = []

    def replaced(root: Path, name: str) -> Artifact:
        if not times:
            times.append(name)
            shutil.rmtree(entry / "files")
            try:
                return verified(root, name)
            finally:
                put(Store(tmp_path))
        return verified(root, name)

    monkeypatch.setattr(entry_of, "verified", replaced)
    assert store.find("graph", FINGERPRINT) is not None
    assert store.notices == []


def test_a_stand_in_never_answers(tmp_path: Path) -> None:
    """A stand-in (a fallback) serves only the run that made it."""
    store = Store(tmp_path)
    kept = put(store, answers=False)
    assert Path(kept.path).is_file()
    assert store.find("graph", FINGERPRINT) is None
    assert store.why_absent("graph", FINGERPRINT) == "never ran"


def test_a_stand_in_is_not_replaced_under_a_run_that_plays_it(tmp_path: Path) -> None:
    """The files of a stand-in stay when another run makes the same one."""
    store = Store(tmp_path)
    first = put(store, answers=False)
    before = Path(first.path).stat().st_ino
    assert put(Store(tmp_path), answers=False).path == first.path
    assert Path(first.path).stat().st_ino == before
    Path(first.path).write_text("damaged")
    assert Path(put(Store(tmp_path), answers=False).path).read_text() == "content"


def test_two_jobs_take_turns(tmp_path: Path) -> None:
    """The second job waits, says so, and then finds the result of the first."""
    store, said, seen = Store(tmp_path), threading.Event(), []

    def second() -> None:
        with store.lock("graph", FINGERPRINT, said.set):
            seen.append(store.find("graph", FINGERPRINT))

    with store.lock("graph", FINGERPRINT, lambda: None):
        thread = threading.Thread(target=second)
        thread.start()
        assert said.wait(20)
        put(store)
    thread.join()
    assert seen[0] is not None


def test_who_gets_the_lock_soon_says_nothing(tmp_path: Path) -> None:
    """A wait of a moment is not reported, in a store that was not there before."""
    store, begun = Store(tmp_path / "new" / "store"), threading.Event()

    def first() -> None:
        with store.lock("graph", FINGERPRINT, lambda: None):
            begun.set()
            time.sleep(0.2)

    thread = threading.Thread(target=first)
    thread.start()
    assert begun.wait(20)
    told: list[str] = []
    with store.lock("graph", FINGERPRINT, lambda: told.append("waits")):
        thread.join()
    assert told == []


def test_a_lock_can_be_tried(tmp_path: Path) -> None:
    """Without a wait, a lock that another job holds is not held, and nobody waits for it."""
    store = Store(tmp_path)
    told: list[str] = []
    with (
        store._locked("one", lambda: told.append("waits"), wait=False) as held,
        Store(tmp_path)._locked("one", lambda: told.append("waits"), wait=False) as also,
    ):
        assert (held, also) == (True, False)
    with store._locked("one", lambda: None, wait=False) as held:
        assert held
    assert told == []


@pytest.mark.parametrize("place", ["locks", "staging", "graph"])
def test_a_file_in_the_way_is_an_error_that_names_the_store(tmp_path: Path, place: str) -> None:
    """A store that cannot be written ends in one message, wherever writing fails."""
    (tmp_path / place).touch()
    store = Store(tmp_path)
    with (
        pytest.raises(StoreError, match="the store cannot be written"),
        store.lock("graph", FINGERPRINT, lambda: None),
    ):
        put(store)


def test_killed_processes_leave_nothing_that_is_not_removed(tmp_path: Path) -> None:
    """A clean-up removes the folders of dead processes, and no folder that is in use."""
    code = (
        "import os, sys; from pathlib import Path; from core.machine.folders import owned_folder\n"
        "held = owned_folder(Path(sys.argv[1]), 'entry'); held.__enter__(); os._exit(0)"
    )
    store = Store(tmp_path)
    parents = (tmp_path / "staging", store.state_dir / "items")
    for parent in parents:
        subprocess.run(
            [sys.executable, "-c", code, parent], cwd=Path(__file__).parents[3], check=True
        )
        assert len(list(parent.iterdir())) == 1
    with store.staging() as mine:
        store.clean_up()
        assert mine.is_dir()
    assert [list(parent.iterdir()) for parent in parents] == [[], []]


def test_a_result_may_be_dropped_twice(tmp_path: Path) -> None:
    """A dropped result is gone; to drop it again changes nothing."""
    store = Store(tmp_path)
    kept = put(store)
    for _ in range(2):
        store.drop(kept)
        assert store.find("graph", FINGERPRINT) is None
    assert store.notices == []


def test_a_full_disk_ends_in_one_message_and_keeps_the_store_whole(tmp_path: Path) -> None:
    """A full disk, here a limit on file size, gives one message and leaves the store intact."""
    code = (
        "import resource, sys; from pathlib import Path; from core.errors import StoreError\n"
        "from core.store.local import Store; from tests.core.store.test_local import put\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))\n"
        f"store = Store(Path({str(tmp_path)!r}))\n"
        "try:\n    put(store)\n"
        "except StoreError as error:\n    print(error); sys.exit(3)\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False
    )
    assert done.returncode == 3, done.stderr
    assert "the store cannot be written" in done.stdout
    assert "store=/path/to/folder" in done.stdout
    assert list((tmp_path / "staging").iterdir()) == []
    store = Store(tmp_path)
    assert store.find("graph", FINGERPRINT) is None
    put(store)
    assert store.find("graph", FINGERPRINT) is not None


def test_a_folder_needs_nothing_that_speaks_to_a_network(tmp_path: Path) -> None:
    """A store in a folder loads no library that a store at a URL needs."""
    code = (
        "import sys; from core.store.locate import open_store\n"
        f"open_store({str(tmp_path)!r}).find('graph', {{}})\n"
        "found = {'fsspec', 's3fs', 'core.store.object_store', 'core.store.lease'}\n"
        "print(sorted(found & set(sys.modules)))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True
    )
    assert done.stdout == "[]\n"


def test_what_a_plugin_must_find_again_lies_beside_the_results(tmp_path: Path) -> None:
    """Each plugin name gets a state folder below the store's root, made on first use."""
    store = Store(tmp_path / "store")
    work = StageContext(tmp_path / "work", silent(), store.state_dir)
    folder = work.state("cloud")
    (folder / "job").write_text("j1")
    assert folder == tmp_path / "store" / "state" / "cloud"
    assert StageContext(tmp_path / "later", silent(), store.state_dir).state("cloud") == folder
    assert (
        StageContext(tmp_path / "alone", silent()).state("cloud").is_relative_to(tmp_path / "alone")
    )


@pytest.mark.parametrize(("size", "shared"), [(LARGE - 1, False), (LARGE, True)])
def test_large_results_with_the_same_files_are_on_the_disk_once(
    tmp_path: Path, size: int, shared: bool
) -> None:
    """From `LARGE` bytes on, two results with equal files have them in common."""
    store, places = Store(tmp_path), []
    for number in (1, 2):
        with store.staging() as folder:
            file = folder / "a.txt"
            file.write_text("x" * size)
            artifact = Artifact(str(folder), str(file), "text", "fp32", folder_digest(folder), size)
            places.append(Path(store.keep("graph", {"n": number}, artifact).path))
    assert places[0].samefile(places[1]) is shared
    assert places[1].read_text() == "x" * size


def test_a_store_of_this_machine_owes_nothing_to_another_place(tmp_path: Path) -> None:
    """All that it holds may be removed: no other place waits for it."""
    store = Store(tmp_path)
    put(store)
    assert store.is_owed("graph/x") is False
