"""The hooks: how plugins are found, and how a run is observed.

A distribution names a module under the entry-point group `luthier`; the hooks below are looked up
in that module. Built-in plugins come in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from core.plugin.kinds import Plugin, Reporter
    from core.plugin.records import (
        BatchRecord,
        CandidateRecord,
        PlanRecord,
        RunRecord,
        StageRecord,
        SweepRecord,
    )

__all__ = ["PROJECT", "hookimpl", "hookspec", "reporting"]

PROJECT = "luthier"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@contextmanager
def reporting(manager: pluggy.PluginManager, reporters: Sequence[Reporter[Any]]) -> Iterator[None]:
    """Let the reporters of a recipe watch while the block runs."""
    for reporter in reporters:
        manager.register(reporter, name=f"reporter:{reporter.name}")
    try:
        yield
    finally:
        for reporter in reporters:
            manager.unregister(reporter)


@hookspec
def luthier_plugins() -> Sequence[type[Plugin[Any]]]:  # type: ignore[empty-body]  # a spec has no body
    """Return the plugin classes that this module adds."""


@hookspec
def luthier_presets() -> Sequence[str]:  # type: ignore[empty-body]  # a spec has no body
    """Return folders with presets as Hydra lays them out (`target/x.yaml`, `chunker/y.yaml`)."""


@hookspec
def luthier_recipes() -> Sequence[str]:  # type: ignore[empty-body]  # a spec has no body
    """Return folders whose `*.yaml` files are recipes."""


@hookspec
def luthier_run_started(plan: PlanRecord) -> None:
    """A run begins; `plan` says what it is going to do."""


@hookspec
def luthier_stage_started(stage: str, title: str) -> None:
    """A stage that was not in the store begins."""


@hookspec
def luthier_stage_progress(stage: str, done: float, total: float, message: str) -> None:
    """A stage made progress; `total` is 0 when its end is not known."""


@hookspec
def luthier_stage_finished(record: StageRecord) -> None:
    """A stage ended, or was taken from the store (`record.status`)."""


@hookspec
def luthier_precision_tried(record: CandidateRecord, done: int, total: int) -> None:
    """`ladder` or `auto` tried the `done`th of at most `total` precisions."""


@hookspec
def luthier_run_finished(record: RunRecord, folder: str) -> None:
    """A run ended well; `folder` is its run folder, still under its temporary name."""


@hookspec
def luthier_run_placed(folder: str) -> None:
    """The run folder got its final name, `folder`: the last message of a run."""


@hookspec
def luthier_run_ended() -> None:
    """A run is over, successful or not: restore the terminal."""


@hookspec
def luthier_batch_finished(record: BatchRecord, folder: str) -> None:
    """Every item of a batch was played or has failed; `folder` is the batch's folder."""


@hookspec
def luthier_point_finished(label: str, result: str, done: int, total: int) -> None:
    """A point of a sweep ran in this process: the `done`th of `total` (0 if unknown).

    `result` is its status with how long it took. Points that ran before are not among them, and
    neither are those that a launcher gives to other processes or machines.
    """


@hookspec
def luthier_sweep_finished(record: SweepRecord, folder: str) -> None:
    """A sweep is over; `folder` holds the run folders of its points, and its reports."""
