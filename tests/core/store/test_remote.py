"""A store at a URL: whole results only, made once among machines, and found by all of them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core import Artifact
from core.errors import StoreError
from core.store.entry import FORMAT
from core.store.hashing import folder_digest
from core.store.local import Store
from core.store.object_store import opened
from core.store.remote import RemoteStore
from core.store.remote_entries import Entries, Entry, decoded
from core.store.sealed import sealed
from tests import toy
from tests.conftest import Command
from tests.core.conftest import Bucket
from tests.core.store.test_local import FINGERPRINT, put
from tests.flips import flipped

ROOT = Path(__file__).parents[3]


def objects(bucket: Bucket, below: str = "graph") -> list[str]:
    """Return the names of the objects in the bucket, as anybody sees them."""
    return opened(bucket.url).below(below)


def spoil(bucket: Bucket, ending: str, content: bytes | None) -> None:
    """Overwrite, or remove, the one object whose name ends so."""
    remote = opened(bucket.url)
    (name,) = (n for n in remote.below("graph") if n.endswith(ending))
    if content is None:
        remote.remove([name])
    else:
        remote.write(name, content)


def record(bucket: Bucket) -> Entry:
    """Return the record of the one entry in the bucket."""
    (name,) = (n for n in objects(bucket) if n.endswith("/artifact.json"))
    content = opened(bucket.url).read(name)
    assert content is not None
    return decoded(content, name.removesuffix("/artifact.json"))


def test_what_one_machine_kept_another_finds(bucket: Bucket) -> None:
    """Files are fetched to the folder of the machine that asks, and no path is transferred."""
    kept = put(bucket.store("a"))
    found = bucket.store("b").find("graph", FINGERPRINT)
    assert found is not None
    assert Path(found.path).is_relative_to(bucket.machines / "b")
    assert Path(found.path).read_text() == "content"
    assert found.sha256 == kept.sha256
    described = opened(bucket.url).read(f"graph/{Path(kept.folder).parent.name}/artifact.json")
    assert described is not None
    assert str(bucket.machines).encode() not in described


def test_folders_inside_a_result_travel(bucket: Bucket) -> None:
    """Files in folders below an artifact are transferred, empty ones included."""
    store = bucket.store("a")
    with store.staging() as folder:
        (folder / "deep" / "er").mkdir(parents=True)
        (folder / "deep" / "er" / "weights.bin").write_bytes(bytes(100_000))
        (folder / "empty").touch()
        (folder / "a.txt").write_text("x")
        artifact = Artifact(
            str(folder), str(folder / "a.txt"), "text", "fp32", folder_digest(folder), 100_001
        )
        store.keep("graph", FINGERPRINT, artifact)
    found = bucket.store("b").find("graph", FINGERPRINT)
    assert found is not None
    assert (Path(found.folder) / "deep" / "er" / "weights.bin").stat().st_size == 100_000
    assert (Path(found.folder) / "empty").is_file()


def test_what_this_machine_has_is_not_fetched_again(bucket: Bucket) -> None:
    """The local folder answers, whatever happened to the files at the URL."""
    put(bucket.store("a"))
    assert bucket.store("b").find("graph", FINGERPRINT) is not None
    spoil(bucket, "a.txt", None)
    assert bucket.store("b").find("graph", FINGERPRINT) is not None


def test_jobs_of_one_machine_fetch_a_result_once(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Points that plan at once, before any holds the key, fetch a result only once."""
    put(bucket.store("a"))
    fetched, found = [], []
    fetch = Entries.fetch

    def counted(entries: Entries, entry: Entry, folder: Path) -> Artifact:
        fetched.append(entry.name)
        return fetch(entries, entry, folder)

    monkeypatch.setattr(Entries, "fetch", counted)

    def ask() -> None:
        found.append(bucket.store("b").find("graph", FINGERPRINT))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(fetched) == 1
    assert [artifact is not None for artifact in found] == [True] * 4


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        ("a.txt", b"tampered"),
        ("a.txt", None),
        ("artifact.json", b'{"attempt": "2026'),
        ("artifact.json", sealed({"attempt": "x"})),
    ],
    ids=["tampered", "evicted", "truncated", "incomplete"],
)
def test_a_damaged_result_is_told_and_can_be_made_again(
    bucket: Bucket, ending: str, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Looking for a damaged result removes nothing, and the next one that is kept counts.

    The same holds for a record whose files are gone.
    """
    put(bucket.store("a"))
    spoil(bucket, ending, content)
    store, before = bucket.store("b"), objects(bucket)
    for _ in range(2):
        assert store.find("graph", FINGERPRINT) is None
    assert objects(bucket) == before
    (notice,) = store.notices
    assert "damaged, and it is made again: " in notice.text
    assert f"({bucket.url}/graph/" in notice.text
    assert capsys.readouterr().err == f"warning: {notice.text}\n"
    assert store.why_absent("graph", FINGERPRINT).startswith("damaged: ")
    put(store, "another")
    found = bucket.store("c").find("graph", FINGERPRINT)
    assert found is not None
    assert Path(found.path).read_text() == "another"
    assert len(objects(bucket)) == 2, "nothing of the damaged one is left"


@pytest.mark.parametrize("name", ["../../../escaped", "/tmp/escaped", "a/../../escaped", "c:x"])  # noqa: S108  # a name that must be refused
def test_a_name_that_leaves_the_folder_is_refused(bucket: Bucket, name: str) -> None:
    """A writer of the store cannot choose where files land on other machines."""
    put(bucket.store("a"))
    entry = record(bucket)
    path = replace(entry.artifact, path=name)
    for changed in (
        replace(entry, files=("a.txt", name)),
        replace(entry, files=(name,), artifact=path),
        replace(entry, attempt=name),
    ):
        spoil(bucket, "artifact.json", sealed(changed))
        assert bucket.store("b").find("graph", FINGERPRINT) is None
    assert list(bucket.machines.rglob("escaped")) == []
    assert list(bucket.machines.rglob("c:x")) == []


def test_a_record_of_another_entry_is_damaged(bucket: Bucket) -> None:
    """A whole record at another's name, or with another key's fingerprint, is damaged."""
    put(bucket.store("a"), fingerprint={**FINGERPRINT, "n": 1})
    other = record(bucket)
    remote = opened(bucket.url)
    remote.remove(remote.below("graph"))
    put(bucket.store("a"))
    own = record(bucket)
    for changed in (
        other,
        replace(other, name=own.name),
        replace(own, fingerprint=other.fingerprint),
    ):
        spoil(bucket, "artifact.json", sealed(changed))
        store = bucket.store("b")
        assert store.find("graph", FINGERPRINT) is None
        assert store.fingerprints("graph") == []
        assert len(store.notices) == 2


def test_a_damaged_copy_of_this_machine_is_fetched_again(bucket: Bucket) -> None:
    """A damaged local copy is fetched again from the URL, and the message says so."""
    put(bucket.store("a"))
    copy = bucket.store("b").find("graph", FINGERPRINT)
    assert copy is not None
    Path(copy.path).write_text("tampered")
    store = bucket.store("b")
    found = store.find("graph", FINGERPRINT)
    assert found is not None
    assert Path(found.path).read_text() == "content"
    (notice,) = store.notices
    assert "damaged, and it is fetched or made again" in notice.text


def test_what_a_machine_noted_of_the_url_is_verified(bucket: Bucket) -> None:
    """Local marks and copies of records with a flip are fetched again, and never believed."""
    kept = put(bucket.store("a"))
    put(bucket.store("a"), fingerprint={**FINGERPRINT, "n": 1})
    store = bucket.store("a")
    assert len(store.fingerprints("graph")) == 2
    (known, *_) = sorted((store.root / "known" / "graph").iterdir())
    shared = Path(kept.folder).with_name("shared")
    for file in (known, shared):
        whole = file.read_bytes()
        for spoilt in (b"", b"\xff", *flipped(whole, 5)):
            file.write_bytes(spoilt)
            store = bucket.store("a")
            assert store.find("graph", FINGERPRINT) == kept
            assert len(store.fingerprints("graph")) == 2
            assert file.read_bytes() == whole
    other = Path(put(bucket.store("a"), fingerprint={**FINGERPRINT, "n": 2}).folder).with_name(
        "shared"
    )
    shared.write_bytes(other.read_bytes())
    assert bucket.store("a").find("graph", FINGERPRINT) == kept
    assert shared.read_bytes() == whole, "the mark of another entry is none"


def test_a_damaged_mark_of_the_store_is_an_error(bucket: Bucket) -> None:
    """With a damaged mark nothing is read or written; after its removal it is made anew."""
    put(bucket.store("a"))
    remote = opened(bucket.url)
    mark = remote.read("luthier.json")
    assert mark is not None
    for spoilt in flipped(mark, 8):
        remote.write("luthier.json", spoilt)
        with pytest.raises(StoreError, match="the mark of the store is damaged"):
            bucket.store("b").find("graph", FINGERPRINT)
    remote.remove(["luthier.json"])
    assert bucket.store("a").find("graph", FINGERPRINT) is not None
    assert bucket.store("b").find("graph", FINGERPRINT) is not None


def test_a_stand_in_stays_on_the_machine_that_made_it(bucket: Bucket) -> None:
    """A stand-in, which serves one run only, is not uploaded."""
    kept = put(bucket.store("a"), answers=False)
    assert Path(kept.path).is_file()
    assert objects(bucket, "") == []


def test_of_two_that_keep_at_once_one_counts_for_both(bucket: Bucket) -> None:
    """The first whole upload is the result; the other maker takes it and removes its own."""
    machines = [bucket.store(name) for name in "ab"]
    both, kept = threading.Barrier(2), dict[str, Artifact]()
    for store in machines:
        commit = store._entries.commit

        def together(attempt: Any, commit: Any = commit) -> bool:
            both.wait(20)
            return bool(commit(attempt))

        store._entries.commit = together  # type: ignore[method-assign]

    def make(number: int) -> None:
        kept[str(number)] = put(machines[number], f"made by {number}")

    threads = [threading.Thread(target=make, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert kept["0"].sha256 == kept["1"].sha256
    texts = {Path(artifact.path).read_text() for artifact in kept.values()}
    assert len(texts) == 1
    assert len(objects(bucket)) == 2, "one attempt, and what names it"
    found = bucket.store("c").find("graph", FINGERPRINT)
    assert found is not None
    assert found.sha256 == kept["0"].sha256


KILLED = """\
import os, signal, sys
from pathlib import Path
from core.store.object_store import opened
from core.store.remote_entries import Entries
from core.store.remote import RemoteStore
from tests.core.store.test_local import put
Entries.commit = lambda self, attempt: os.kill(os.getpid(), signal.SIGKILL)
put(RemoteStore(opened(sys.argv[1]), Path(sys.argv[2])))
"""


def test_an_upload_that_was_killed_is_not_read_and_is_done_again(bucket: Bucket) -> None:
    """A killed upload leaves files but no result; its machine uploads it at the next request."""
    place = str(bucket.machines / "a")
    command = [sys.executable, "-c", KILLED, bucket.url, place]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    (left,) = objects(bucket)
    assert left.endswith("a.txt")
    assert bucket.store("b").find("graph", FINGERPRINT) is None
    assert bucket.store("a").find("graph", FINGERPRINT) is not None
    assert bucket.store("b").find("graph", FINGERPRINT) is not None
    assert left not in objects(bucket), "what the killed one left is swept up"


def test_a_store_that_was_emptied_is_filled_again(bucket: Bucket) -> None:
    """A store that was emptied counts as new, and machines upload their copies of the old one."""
    put(bucket.store("a"))
    remote = opened(bucket.url)
    remote.remove(remote.below(""))
    assert bucket.store("b").find("graph", FINGERPRINT) is None
    assert bucket.store("a").find("graph", FINGERPRINT) is not None
    assert bucket.store("b").find("graph", FINGERPRINT) is not None


def test_a_killed_attempt_is_swept_up_after_a_week(bucket: Bucket) -> None:
    """A killed attempt is removed after a week if no whole one followed; a young one stays."""
    put(bucket.store("a"))
    remote = opened(bucket.url)
    remote.write(f"graph/{FORMAT}-1/20200101T000000-dead/files/a.txt", b"x")
    remote.write(f"graph/{FORMAT}-2/29990101T000000-alive/files/a.txt", b"x")
    bucket.store("b").fingerprints("graph")
    assert remote.below(f"graph/{FORMAT}-1") == []
    assert len(remote.below(f"graph/{FORMAT}-2")) == 1


def test_a_new_machine_knows_what_others_made(bucket: Bucket) -> None:
    """A new machine knows the difference to the newest entry, and its time, without its files."""
    put(bucket.store("a"))
    store = bucket.store("b")
    changed = {**FINGERPRINT, "options": {"n": 2}}
    assert store.why_absent("graph", changed) == "options.n: 1 -> 2"
    assert store.history("graph") == {"graph `x`": 0.0}
    assert not (store.root / "graph").exists(), "no file was fetched for that"


def test_an_entry_that_is_gone_is_forgotten(bucket: Bucket) -> None:
    """An entry that another machine removed is no longer reported."""
    put(bucket.store("a"))
    assert bucket.store("b").fingerprints("graph") == [FINGERPRINT]
    remote = opened(bucket.url)
    remote.remove(remote.below("graph"))
    written = bucket.store("b").root / "known" / "graph" / ".key.0a1b2c3d"
    written.write_bytes(b"what another process writes just now")
    assert bucket.store("b").fingerprints("graph") == []
    assert list(written.parent.iterdir()) == [written]


def test_what_plugins_find_again_stays_on_the_machine(bucket: Bucket) -> None:
    """The state folder of a plugin stays on this machine."""
    store = bucket.store("a")
    assert store.state_dir.is_relative_to(bucket.machines / "a")


def test_a_layout_of_another_version_is_refused(bucket: Bucket) -> None:
    """A store with another layout version is refused: its names may mean something else."""
    opened(bucket.url).write("luthier.json", sealed({"layout": 2, "id": "x"}))
    with pytest.raises(StoreError, match="a layout that this version cannot read: 2"):
        bucket.store("a").find("graph", FINGERPRINT)


def test_a_result_that_cannot_be_shared_is_kept_here(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed upload is an error; the result is kept here, and the next run uploads it."""

    def fails(*_: object) -> None:
        raise StoreError("the store failed")

    store = bucket.store("a")
    with monkeypatch.context() as patch:
        patch.setattr(Entries, "send", fails)
        with pytest.raises(StoreError):
            put(store)
    assert Store(store.root).find("graph", FINGERPRINT) is not None
    assert bucket.store("a").find("graph", FINGERPRINT) is not None
    assert bucket.store("b").find("graph", FINGERPRINT) is not None


def test_no_flip_at_a_url_reaches_a_result(tmp_path: Path) -> None:
    """A flip at any bit of any object gives the kept result, a miss with a line, or an error."""
    url = f"memory://{tmp_path.name}/flips"
    kept = put(RemoteStore(opened(url), tmp_path / "a"), facts={"rate": 44100})
    remote = opened(url)
    for number, name in enumerate(remote.below("")):
        whole = remote.read(name)
        assert whole is not None
        for again, spoilt in enumerate(flipped(whole, 12, seed=number)):
            remote.write(name, spoilt)
            store = RemoteStore(opened(url), tmp_path / f"{number}-{again}")
            if name == "luthier.json":
                with pytest.raises(StoreError):
                    store.find("graph", FINGERPRINT)
                continue
            assert store.find("graph", FINGERPRINT) is None
            assert store.notices
            known = store.fingerprints("graph")
            assert known == ([] if name.endswith("artifact.json") else [FINGERPRINT])
        remote.write(name, whole)
    found = RemoteStore(opened(url), tmp_path / "b").find("graph", FINGERPRINT)
    assert found is not None
    assert (found.sha256, found.facts) == (kept.sha256, kept.facts)


def test_threads_share_a_store_in_memory(tmp_path: Path) -> None:
    """Threads can share a store in fsspec's memory filesystem."""
    url = f"memory://{tmp_path.name}/store"
    put(RemoteStore(opened(url), tmp_path / "a"))
    found = RemoteStore(opened(url), tmp_path / "b").find("graph", FINGERPRINT)
    assert found is not None
    assert Path(found.path).read_text() == "content"


def test_a_whole_run_is_shared(
    bucket: Bucket, command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A second run, also on a new machine, executes nothing, and no key stays locked."""
    done = command(f"recipe={recipe}", f"store={bucket.url}")
    assert (done.code, done.err) == (0, "")
    assert "model" in toy.RAN
    assert objects(bucket, "locks") == []
    toy.RAN.clear()
    assert command(f"recipe={recipe}", f"store={bucket.url}").code == 0
    assert toy.RAN == []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    done = command(f"recipe={recipe}", f"store={bucket.url}")
    assert (done.code, done.err) == (0, "")
    assert toy.RAN == []
    locks = [p.read_text() for p in (tmp_path / "outputs").rglob("recipe.lock.yaml")]
    assert len(locks) == 3
    assert bucket.url not in "".join(locks), "a recipe does not say where results are kept"


@pytest.mark.usefixtures("bucket")
def test_a_run_that_cannot_reach_its_store_ends_in_one_message(
    command: Command, recipe: Path
) -> None:
    """An unreachable store ends a run in one message before any work."""
    done = command(f"recipe={recipe}", "store=s3://no-such-bucket/x")
    assert done.code == 1
    assert "the store's bucket does not exist" in done.err
    assert "Traceback" not in done.err
    assert toy.RAN == []


def test_a_failed_stage_leaves_the_key_free(bucket: Bucket, command: Command, recipe: Path) -> None:
    """After a failed stage nothing is shared, and the next run need not wait for a lease."""
    done = command(f"recipe={recipe}", f"store={bucket.url}", "quantizer.fail=bug")
    assert done.code == 1
    assert objects(bucket, "quantizer") == []
    assert command(f"recipe={recipe}", f"store={bucket.url}").code == 0
