"""Plays items, each whole or not at all: read, window, dsp, session, join, save, free.

The worker writes an item's files to a folder of their own below `.staging`, then renames it. So a
process that is killed at any time leaves the item's place empty, as it was, or finished.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from core.batch.folder import STAGING
from core.batch.manifest import ITEMS, Entry
from core.config.pipeline import Pipeline
from core.errors import InputError, LuthierError, StageError, UnsafePathError
from core.inference.context import RunContext
from core.inference.items import checked_items
from core.inference.player import Player, opened
from core.inference.windows import covered_seconds
from core.machine.paths import below
from core.plugin.listable import ListableDataset, Source
from core.plugin.progress import Progress
from core.plugin.stages import SavedFile, StageContext
from core.plugin.values import Artifact
from core.store.hashing import digest, file_digest, files_below
from core.text.shown import plain

__all__ = ["Job", "Task", "Worker", "play_here"]


@dataclass(frozen=True)
class Task:
    """One item to play, and its place below `items/`."""

    source: Source
    place: str


@dataclass(frozen=True)
class Job:
    """All that a process needs to play items: plugins with their options, artifacts, a folder."""

    pipeline: Pipeline
    played: Artifact
    model: Artifact
    folder: Path
    retries: int
    state_dir: Path


class Worker:
    """Plays the items of a job, one at a time; opens the model for the first and keeps it open."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._opened = ExitStack()
        self._player: Player | None = None

    def play(self, task: Task, progress: Progress) -> Entry:
        """Play one item and return its result, whatever is wrong with the item.

        Raises only an error that stops every item: the model cannot be opened.
        """
        started = time.perf_counter()
        attempts = self.job.folder / STAGING / f"{_key(task)}.attempts"
        reason = "its process died each time: the item may need more memory than there is"
        while True:
            # Count the attempt in a file first: a process that is killed counts nothing.
            with attempts.open("ab") as file:
                file.write(b".")
            retries = attempts.stat().st_size - 1
            if retries > self.job.retries:
                return _failed(task, reason, self.job.retries)
            player = self._player or self._open(progress)
            try:
                return self._item(player, task, progress, retries, started)
            except (InputError, UnsafePathError) as error:
                return _failed(task, _told(error), retries)
            except Exception as error:
                reason = _told(error)

    def close(self) -> None:
        """Close the model."""
        self._opened.close()

    def _open(self, progress: Progress) -> Player:
        job = self.job
        if not Path(job.played.path).exists():
            raise StageError(
                "this worker does not find the model",
                f"at: {job.played.path}",
                "all machines of a cluster need the same store, on a shared disk",
                "name one: store=/shared/folder",
            )
        folder = Path(tempfile.mkdtemp(dir=job.folder / STAGING))
        work = StageContext(folder, progress, job.state_dir)
        self._player = self._opened.enter_context(
            opened(RunContext(job.pipeline), job.played, job.model, work)
        )
        return self._player

    def _item(
        self, player: Player, task: Task, progress: Progress, retries: int, started: float
    ) -> Entry:
        """Play one item; release everything that belongs to it on return."""
        self._free_place(task)  # before time is spent on the item
        # Hash the file before reading it: the next run notices a change in between.
        sha256 = _hashed(task.source)
        listed = self.job.pipeline.dataset
        assert isinstance(listed, ListableDataset), "the plan refuses any other"
        dataset = listed.only(task.source)
        (item,) = checked_items(dataset, "evaluation", player.signature)
        outputs = player.play(item, progress)
        staged = Path(tempfile.mkdtemp(prefix=_key(task), dir=self.job.folder / STAGING))
        try:
            folder = staged / "item"  # unlike `staged`, with the usual permissions
            folder.mkdir()
            saved = dataset.save(item, outputs, player.signature, folder)
            files = self._placed(_top(folder, saved), task)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        return Entry(
            task.source.name,
            "done",
            sha256,
            task.place,
            files,
            covered_seconds(item.inputs, player.signature) or 0.0,
            time.perf_counter() - started,
            player.opened.session.device,
            f"{platform.node()}:{os.getpid()}",
            retries=retries,
            notes=tuple(plain(notice.text) for notice in item.notices),
        )

    def _free_place(self, task: Task) -> Path:
        """Return the folder of an item, which may hold the files of an earlier run.

        Raises InputError where a person's file lies in its place, and UnsafePathError where the
        folder would lie elsewhere.
        """
        items = self.job.folder / ITEMS
        final = below(items, task.place, "the manifest of the batch", links=False)
        for taken in (final, *final.parents[: len(PurePosixPath(task.place).parts) - 1]):
            if taken.exists() and not taken.is_dir():
                raise InputError(
                    "a file is in the place of an item's folder",
                    f"item: {task.source.name}",
                    f"at: {taken}",
                    "move it away, and run the same command again",
                )
        return final

    def _placed(self, made: Path, task: Task) -> dict[str, str]:
        """Move the saved files to their place in one step; return them with their hashes."""
        hashes = {}
        for file in _files(made):
            name = PurePosixPath(ITEMS, task.place, file.relative_to(made).as_posix())
            hashes[str(name)] = file_digest(file)
            _flush(file)
        final = self._free_place(task)
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists():
            # A rename cannot replace a folder that is not empty.
            before = Path(tempfile.mkdtemp(dir=self.job.folder / STAGING))
            final.rename(before / "before")
            shutil.rmtree(before, ignore_errors=True)
        made.rename(final)
        return hashes


def play_here(job: Job, tasks: Sequence[Task], progress: Progress) -> Iterator[Entry]:
    """Yield the result of each item; this process plays them one after the other."""
    with closing(Worker(job)) as worker:
        for task in tasks:
            yield worker.play(task, progress)


def _top(folder: Path, saved: Sequence[SavedFile]) -> Path:
    """Return the common folder of all saved files: `stems` for `stems/bass.wav`."""
    files = [below(folder, one.path, "the dataset, in its list of saved files") for one in saved]
    return Path(os.path.commonpath([file.parent for file in files] or [folder.resolve()]))


def _files(made: Path) -> list[Path]:
    """Return the files of an item; raises StageError for a name that the manifest cannot hold."""
    found = files_below(made)
    for file in found:
        if not _is_text(file.name):
            raise StageError(
                "the dataset saved a file whose name is no text",
                f"at: {file}",
                "give it a name that is text: the manifest of a batch is JSON",
            )
    return found


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _hashed(source: Source) -> str:
    try:
        return file_digest(source.file)
    except OSError as error:
        raise InputError(
            f"`{source.name}` cannot be opened: {error.strerror or error}",
            f"at: {source.file}",
        ) from error


def _flush(file: Path) -> None:
    """Write a file through to the disk before the manifest lists it."""
    with file.open("rb+") as opened_file:
        os.fsync(opened_file.fileno())


def _key(task: Task) -> str:
    """Return a name for an item in flight."""
    return digest(task.source.name)[:16]


def _failed(task: Task, reason: str, retries: int) -> Entry:
    try:
        sha256 = file_digest(task.source.file)
    except OSError:
        sha256 = ""
    reason = plain(reason)  # a path may hold bytes that are no text, and JSON takes none
    # The item keeps its place: outputs of an earlier version may still be there.
    return Entry(task.source.name, "failed", sha256, task.place, reason=reason, retries=retries)


def _told(error: Exception) -> str:
    if isinstance(error, LuthierError):
        return "; ".join((error.what, *error.lines))
    return f"{type(error).__name__}: {error}"
