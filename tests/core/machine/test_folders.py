"""Temporary folders end with their process, or with the next one; none that is in use ever does."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import filelock
import pytest

from core.machine import folders
from core.machine.folders import NOBODY, WEEK_S, clean_up, owned_folder

ROOT = Path(__file__).parents[3]
#: A process that makes a folder, says so, and works in it until its input ends.
OWNER = """
import os, sys
from pathlib import Path
from core.machine.folders import owned_folder

with owned_folder(Path(sys.argv[1]), "work") as folder:
    (folder / "half").write_text("a result")
    print(os.getpid(), folder, flush=True)
    sys.stdin.read()
    print((folder / "half").read_text(), flush=True)
"""


@contextlib.contextmanager
def owner(parent: Path, *before: str) -> Iterator[tuple[subprocess.Popen[str], int, Path]]:
    """Start a process that works in a folder; gives it, its number as it sees it, its folder."""
    with subprocess.Popen(
        [*before, sys.executable, "-c", OWNER, str(parent)],
        cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        number, _, folder = process.stdout.readline().strip().partition(" ")
        yield process, int(number), Path(folder)


def finished(process: subprocess.Popen[str]) -> str:
    """Let a process of `owner` end; returns what it found of its work."""
    said, _ = process.communicate(timeout=20)
    return said.strip()


def test_a_folder_ends_with_its_block(tmp_path: Path) -> None:
    """A renamed folder is kept, and nothing else is left after the block."""
    with owned_folder(tmp_path / "made", "work") as folder:
        assert list(folder.iterdir()) == []
        (folder / "x").touch()
        folder.rename(tmp_path / "made" / "final")
    with contextlib.suppress(KeyboardInterrupt), owned_folder(tmp_path / "made", "work") as folder:
        (folder / "y").touch()
        raise KeyboardInterrupt
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")] == [
        "made", "made/final", "made/final/x"
    ]  # fmt: skip


def test_folders_of_the_dead_are_removed_and_those_of_the_living_stay(tmp_path: Path) -> None:
    """Dead owners' folders are removed; other threads' folders and foreign files stay."""
    others = [".luthier.of.me", f".luthier.of.{NOBODY}.{NOBODY}", ".x.of.host.1", "results"]
    for name in others:
        (tmp_path / name).mkdir()
    (tmp_path / f".luthier.of.{NOBODY}.ffffffffffff").symlink_to(tmp_path / "results")
    with owner(tmp_path) as (dead, _, left):
        dead.kill()
    assert left.is_dir()
    with owned_folder(tmp_path, "mine") as mine, owner(tmp_path) as (alive, _, theirs):
        thread = threading.Thread(target=clean_up, args=(tmp_path,))
        thread.start()
        thread.join()
        assert not left.parent.exists()
        assert mine.is_dir()
        assert theirs.is_dir()
        assert finished(alive) == "a result"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        [*others, f".luthier.of.{NOBODY}.ffffffffffff"]
    )


def namespaces() -> list[str]:
    """Return the command that runs another one as process 1 of a namespace of its own."""
    command = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child",
               "--mount-proc", "--uts"]  # fmt: skip
    found = shutil.which(command[0])
    if found is None or subprocess.call([*command, "true"], stderr=subprocess.DEVNULL):
        pytest.skip("this system lets nobody make PID namespaces")
    return command


def test_two_containers_of_one_host_name(tmp_path: Path) -> None:
    """In two containers both owners are process 1, so a process id proves nothing across them."""
    contained = namespaces()
    with owner(tmp_path, *contained) as (first, number, kept):
        with owner(tmp_path, *contained) as (second, same, _):
            assert number == same == 1
            assert finished(second) == "a result"
        clean_up(tmp_path)
        assert finished(first) == "a result"
        assert not kept.exists()
    with owner(tmp_path, *contained) as (first, _, left):
        first.kill()
        first.wait()
    with owner(tmp_path, *contained) as (second, same, _):
        assert same == 1
        assert not left.exists(), "the number lives, its owner does not"
        assert finished(second) == "a result"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system that copies processes")
def test_a_copy_of_the_owner_keeps_nothing_alive(tmp_path: Path) -> None:
    """A forked process that outlives its parent holds no lock, and its end removes nothing."""
    code = """
import os, signal, sys, time
from pathlib import Path
from core.machine.folders import owned_folder

with owned_folder(Path(sys.argv[1]), "work") as folder:
    if os.fork():
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
print(folder.exists(), flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        process.wait()
        (left,) = tmp_path.iterdir()
        with owned_folder(tmp_path, "next"):
            assert not left.exists()
        assert process.communicate()[0] == "False\n"


def test_a_copy_that_ends_first_removes_nothing(tmp_path: Path) -> None:
    """The block of a copy ends too, but the folder belongs to its parent."""
    if not hasattr(os, "fork"):
        pytest.skip("a system that copies processes")
    code = """
import os, sys
from pathlib import Path
from core.machine.folders import owned_folder

with owned_folder(Path(sys.argv[1]), "work") as folder:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        print(folder.exists(), flush=True)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.check_output(command, cwd=ROOT, text=True) == "True\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("age_s", "stays"), [(WEEK_S - 60, True), (WEEK_S + 60, False)])
@pytest.mark.parametrize("locks", [True, False])
def test_what_cannot_be_proved_dead_stays_a_week(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, locks: bool, age_s: float, stays: bool
) -> None:
    """Folders of another machine, or without locks, are kept for a week, as locks prove nothing."""
    if not locks:

        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.ENOLCK, "no locks available")

        monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    folder = tmp_path / ".luthier.of.123456789abc.123456789abc"
    (folder / "work").mkdir(parents=True)
    (folder / "work" / "x").touch()
    for path in (folder / "work" / "x", folder / "work", folder):
        os.utime(path, (0, 0 if path.name != "x" else time.time() - age_s))
    clean_up(tmp_path)
    assert folder.exists() is stays


def test_without_locks_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without a lock has no owner, and nobody removes it, even with a lock later."""
    with monkeypatch.context() as patch:

        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.ENOLCK, "no locks available")

        patch.setattr(filelock.FileLock, "acquire", refuse)
        block = owned_folder(tmp_path, "work")
        folder = block.__enter__()
    clean_up(tmp_path)
    assert folder.is_dir()
    block.__exit__(None, None, None)
    assert list(tmp_path.iterdir()) == []


def test_a_sweeper_at_any_moment_takes_nothing(tmp_path: Path) -> None:
    """Sweepers that run all the time remove no folder while it is made, filled and left."""
    ended = threading.Event()

    def sweep() -> None:
        while not ended.is_set():
            clean_up(tmp_path)

    sweepers = [threading.Thread(target=sweep) for _ in range(3)]
    for sweeper in sweepers:
        sweeper.start()
    try:
        for number in range(60):
            with owned_folder(tmp_path, "work") as folder:
                (folder / "x").write_text(str(number))
                assert (folder / "x").read_text() == str(number)
    finally:
        ended.set()
        for sweeper in sweepers:
            sweeper.join()
    clean_up(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("renames", [True, False])
def test_a_sweeper_between_making_and_locking_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, renames: bool
) -> None:
    """A folder that a sweeper took is not used, even where open folders cannot be renamed."""
    made: list[Path] = []
    lock = folders._lock

    def late(folder: Path) -> filelock.FileLock:
        made.append(folder)
        if len(made) == 1:
            with monkeypatch.context() as patch:
                patch.setattr(folders, "_lock", lock)
                if not renames:
                    patch.setattr(Path, "rename", lambda *_: os.rename("", ""))  # noqa: PTH104
                clean_up(tmp_path)
            assert not folder.exists()
        return lock(folder)

    monkeypatch.setattr(folders, "_lock", late)
    with owned_folder(tmp_path, "work") as folder:
        (folder / "x").touch()
        clean_up(tmp_path)
        assert (folder / "x").exists()
