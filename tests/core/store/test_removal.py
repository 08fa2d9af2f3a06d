"""A clean-up removes what no running job uses, only what the store made, and follows no link."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from core import Artifact
from core.store import removal
from core.store.hashing import folder_digest
from core.store.inventory import entries
from core.store.local import Store
from core.store.removal import Removed, remove
from core.store.uses import REMEMBERED, Records, recorded
from tests.core.conftest import Bucket

MANY = 5


def put(store: Store, number: int, text: str = "content") -> Path:
    """Keep a result of `text`; returns its folder."""
    with store.staging() as folder:
        file = folder / "a.txt"
        file.write_text(text)
        artifact = Artifact(
            str(folder), str(file), "text", "fp32", folder_digest(folder), len(text)
        )
        return Path(store.keep("graph", {"n": number}, artifact).folder).parent


def cleaned(store: Store) -> Removed:
    """Remove all that may be removed."""
    done = Removed()
    remove(store, entries(store.root), Records(store.root), done)
    return done


def test_what_was_kept_is_listed_and_removed(tmp_path: Path) -> None:
    """An entry has the size of its files; once removed, nothing of it is left."""
    store = Store(tmp_path)
    place = put(store, 1, "x" * 1000)
    (held,) = entries(tmp_path)
    assert held.name == place.relative_to(tmp_path).as_posix()
    assert held.bytes > 1000
    assert [one.name for one in cleaned(store).gone] == [held.name]
    assert list((tmp_path / "graph").iterdir()) == []
    assert store.find("graph", {"n": 1}) is None
    assert store.notices == []


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a foreign file": (lambda p: (p / "mine.txt").touch(), "`mine.txt` in it is not the store's"),
    "a foreign folder": (lambda p: (p / "mine").mkdir(), "`mine` in it is not the store's"),
    "a foreign file among the result's": (
        lambda p: (p / "files" / "mine").write_text("x"), "somebody put other files into it",
    ),
    "a link to a file": (
        lambda p: (p / "used").symlink_to("/etc/hostname"), "`used` in it is not the store's",
    ),
    "a link in the place of its files": (
        lambda p: (shutil.rmtree(p / "files"), (p / "files").symlink_to("/etc")),
        "`files` in it is not the store's",
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_an_entry_with_foreign_files_stays_and_the_reason_is_told(
    tmp_path: Path, change: str
) -> None:
    """What the store did not make is not removed, nor is the entry that it lies in."""
    store = Store(tmp_path)
    place = put(store, 1)
    CHANGES[change][0](place)
    before = sorted(place.iterdir())
    done = cleaned(store)
    assert done.gone == []
    assert [reason for _, reason in done.stayed] == [CHANGES[change][1]]
    assert sorted(place.iterdir()) == before


def test_no_link_and_nothing_foreign_is_taken_for_an_entry(tmp_path: Path) -> None:
    """Links in the place of a step or an entry, and other files, are never listed or removed."""
    store, elsewhere = Store(tmp_path / "s"), Store(tmp_path / "elsewhere")
    place, other = put(store, 1), put(elsewhere, 1)
    shutil.rmtree(place)
    place.symlink_to(other)
    (store.root / "step").symlink_to(elsewhere.root / "graph")
    (store.root / "photos").mkdir()
    (store.root / "photos" / "a.jpg").touch()
    (store.root / "photos" / "2-short").mkdir()
    (store.root / "state").mkdir(exist_ok=True)
    (store.root / "state" / "items").symlink_to(elsewhere.root)
    assert entries(store.root) == []
    assert cleaned(store).gone == []
    assert elsewhere.find("graph", {"n": 1}) is not None
    assert (store.root / "photos" / "a.jpg").exists()


def test_an_entry_that_became_a_link_meanwhile_stays(tmp_path: Path) -> None:
    """What is listed is looked at again before it is removed."""
    store, elsewhere = Store(tmp_path / "s"), Store(tmp_path / "elsewhere")
    place, other = put(store, 1), put(elsewhere, 1)
    held = entries(store.root)
    shutil.rmtree(place)
    place.symlink_to(other)
    done = Removed()
    remove(store, held, Records(store.root), done)
    assert [reason for _, reason in done.stayed] == ["it is a link"]
    assert elsewhere.find("graph", {"n": 1}) is not None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_an_entry_without_permission_stays_whole(tmp_path: Path) -> None:
    """A folder that cannot be written is named, not half removed."""
    store = Store(tmp_path)
    place = put(store, 1)
    (place / "files").chmod(0o555)
    assert [reason for _, reason in cleaned(store).stayed] == ["its folder cannot be written"]
    (place / "files").chmod(0o755)
    assert store.find("graph", {"n": 1}) is not None


def test_what_cannot_be_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, as the system would answer somebody who is not root."""
    store = Store(tmp_path)
    put(store, 1)
    monkeypatch.setattr(removal.os, "access", lambda *_: False)
    assert [reason for _, reason in cleaned(store).stayed] == ["its folder cannot be written"]
    assert store.find("graph", {"n": 1}) is not None


def test_what_this_run_uses_stays_and_the_rest_goes(tmp_path: Path) -> None:
    """A run's entries are safe from the moment that it looks for them, made by it or not."""
    store = Store(tmp_path)
    put(store, 1)
    put(store, 2)
    with recorded(tmp_path, "run", "toy"):
        assert store.find("graph", {"n": 1}) is not None
        put(store, 3)
        done = cleaned(store)
        assert [reason for _, reason in done.stayed] == ["a running job uses it"] * 2
        assert len(done.gone) == 1
    assert len(cleaned(store).gone) == 2


USING = """
import sys
from pathlib import Path
from core.store.local import Store
from core.store.uses import recorded
store = Store(Path(sys.argv[1]))
with recorded(store.root, sys.argv[2], "toy", "a sweep"):
    found = store.find("graph", {"n": 1})
    print(found is not None, flush=True)
    sys.stdin.read()
"""


def using(root: Path, kind: str) -> subprocess.Popen[str]:
    """Start a process that uses the first entry until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(USING), str(root), kind],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    return process


def test_what_another_process_uses_stays_until_that_process_dies(tmp_path: Path) -> None:
    """A job that is killed frees its entries; nobody has to clean up after it."""
    store = Store(tmp_path)
    put(store, 1)
    put(store, 2)
    with using(tmp_path, "run") as process:
        done = cleaned(store)
        assert [reason for _, reason in done.stayed] == ["a running job uses it"]
        assert len(done.gone) == 1
        process.kill()
    assert len(cleaned(store).gone) == 1


def test_what_a_point_used_stays_while_its_sweep_runs(tmp_path: Path) -> None:
    """The next point needs what the last one made, also between the two."""
    store = Store(tmp_path)
    put(store, 1)
    with recorded(tmp_path, "sweep", "toy", "a sweep"):
        with using(tmp_path, "point") as process:
            process.communicate("")
        assert len(cleaned(store).stayed) == 1
    assert len(cleaned(store).gone) == 1


def test_a_kill_in_the_middle_leaves_no_half_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry is gone at once; the next clean-up removes what was left of it."""
    store = Store(tmp_path)
    put(store, 1)

    def killed(_: Path, **__: bool) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(removal.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            cleaned(store)
    assert entries(tmp_path) == []
    assert store.find("graph", {"n": 1}) is None
    assert store.notices == []
    assert len(list((tmp_path / "graph").iterdir())) == 1
    cleaned(store)
    assert list((tmp_path / "graph").iterdir()) == []


def test_large_results_with_the_same_files_are_kept_once(tmp_path: Path) -> None:
    """Two entries share their files on the disk; each stays whole when the other goes."""
    store, text = Store(tmp_path), "x" * 2_000_000
    first, second = put(store, 1, text), put(store, 2, text)
    assert (first / "files" / "a.txt").samefile(second / "files" / "a.txt")
    assert sum(held.bytes for held in entries(tmp_path)) < 2_100_000
    done = Removed()
    remove(store, entries(tmp_path)[:1], Records(tmp_path), done)
    assert len(done.gone) == 1
    left = [n for n in (1, 2) if store.find("graph", {"n": n}) is not None]
    assert len(left) == 1
    assert store.notices == []


def test_a_damaged_twin_is_not_shared(tmp_path: Path) -> None:
    """Files that changed since are not taken for those of another entry."""
    store, text = Store(tmp_path), "x" * 2_000_000
    (put(store, 1, text) / "files" / "a.txt").write_text("y" * 2_000_000)
    put(store, 2, text)
    assert store.find("graph", {"n": 2}) is not None
    assert store.find("graph", {"n": 1}) is None


def test_two_at_once_remove_each_entry_once(tmp_path: Path) -> None:
    """An entry that another clean-up took meanwhile is no error."""
    store = Store(tmp_path)
    for number in range(MANY):
        put(store, number)
    held = entries(tmp_path)
    first, second = Removed(), Removed()
    remove(store, held[:3], Records(tmp_path), first)
    remove(store, held, Records(tmp_path), second)
    assert (len(first.gone), len(second.gone)) == (3, 2)
    assert second.stayed == []


def test_a_damaged_record_hides_no_use_and_stops_nothing(tmp_path: Path) -> None:
    """A line that a full disk cut short costs itself alone."""
    store = Store(tmp_path)
    put(store, 1)
    with recorded(tmp_path, "run", "toy"):
        store.find("graph", {"n": 1})
        (record,) = (tmp_path / "runs").glob("*.jsonl")
        content = record.read_bytes()
        record.write_bytes(b"\xff{{\n[1]\n" + content + b'{"entry": "gra')
        assert len(cleaned(store).stayed) == 1
    record.unlink()
    record.symlink_to("/etc/passwd")
    assert Records(tmp_path).all()[0].entries == frozenset()


def test_records_of_which_nothing_is_left_are_forgotten(tmp_path: Path) -> None:
    """Records do not pile up; those of the last runs stay."""
    store = Store(tmp_path)
    for number in range(REMEMBERED + 2):
        with recorded(tmp_path, "run", "toy"):
            put(store, number)
    Records(tmp_path).forget()
    assert len(Records(tmp_path).all()) == REMEMBERED + 2
    cleaned(store)
    Records(tmp_path).forget()
    assert len(Records(tmp_path).all()) == REMEMBERED
    assert len(list((tmp_path / "runs").iterdir())) == 2 * REMEMBERED


def test_a_store_that_cannot_be_written_is_used_without_a_record(tmp_path: Path) -> None:
    """Where nobody can write, nobody can remove anything: the run goes on."""
    store = Store(tmp_path)
    put(store, 1)
    (tmp_path / "runs").touch()
    with recorded(tmp_path, "run", "toy"):
        assert store.find("graph", {"n": 1}) is not None


def test_a_result_that_the_url_lacks_stays_on_this_machine(bucket: Bucket) -> None:
    """A copy may go and is fetched again; the only one that there is stays."""
    store = bucket.store()
    place = put(store, 1)
    mark = (place / "shared").read_bytes()
    (place / "shared").unlink()
    owed = cleaned(store)
    assert [reason for _, reason in owed.stayed] == ["the store at the URL does not have it yet"]
    (place / "shared").write_bytes(mark)
    assert len(cleaned(store).gone) == 1
    assert not place.exists()
    assert bucket.store().find("graph", {"n": 1}) is not None
