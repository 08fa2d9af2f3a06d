"""Observes a run on behalf of a caller in Python: keeps its records, and passes on its progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from core import hookimpl

if TYPE_CHECKING:
    from core.plugin.records import SweepRecord
    from core.plugin.registry import Registry

__all__ = ["ProgressCallback", "Watch", "watching"]

#: Receives the stage by its name, units done, units in all (0 if unknown) and what is being done.
ProgressCallback = Callable[[str, float, float, str], None]


class Watch:
    """Passes progress on; keeps the record and the folder of a sweep."""

    def __init__(self, progress: ProgressCallback | None) -> None:
        self._progress = progress
        self.sweep: SweepRecord | None = None
        self.folder: Path | None = None

    @hookimpl
    def luthier_stage_started(self, stage: str, title: str) -> None:
        """Tell the caller that a stage begins."""
        self._tell(stage, 0, 0, title)

    @hookimpl
    def luthier_stage_progress(self, stage: str, done: float, total: float, message: str) -> None:
        """Tell the caller how far a stage is."""
        self._tell(stage, done, total, message)

    @hookimpl
    def luthier_point_finished(self, label: str, result: str, done: int, total: int) -> None:
        """Tell the caller that a point of a sweep ran; what the caller raises ends the sweep."""
        try:
            self._tell(label, done, total, result)
        except Exception as error:
            # Hydra keeps a job's error until all other jobs have run.
            raise KeyboardInterrupt from error

    @hookimpl
    def luthier_sweep_finished(self, record: SweepRecord, folder: str) -> None:
        """Keep the record of the sweep, and its folder."""
        self.sweep, self.folder = record, Path(folder)

    def _tell(self, stage: str, done: float, total: float, message: str) -> None:
        if self._progress is not None:
            self._progress(stage, done, total, message)


@contextmanager
def watching(registry: Registry, progress: ProgressCallback | None) -> Iterator[Watch]:
    """Let a watch observe everything that runs in the block."""
    watch = Watch(progress)
    registry.manager.register(watch, name="watch of a caller")
    try:
        yield watch
    finally:
        registry.manager.unregister(watch)
