"""Runs points through Hydra's launcher; those whose worker died are handed to it again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf, open_dict

from core.config.settings import literal
from core.errors import TRACE, StageError
from core.inference.windows import windows_in_words
from core.machine.program import line
from core.plugin.records import label_of
from core.plugin.values import Signature
from core.store.hashing import digest
from core.sweep.folder import found, keep, name_of
from core.sweep.messages import PointResult
from core.sweep.plan import spread
from core.sweep.point_task import Job, Task
from core.text.screen import say

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext

    from core.sweep.grid import Combination
    from core.sweep.plan import PlannedPoint

__all__ = ["Launch", "at", "divided"]

#: Errors of launchers for a worker that died: joblib's, Ray's for processes and nodes, submitit's.
DIED = frozenset({"BrokenProcessPool", "RayError", "UncompletedJobError"})
#: Those of them that say that the job itself raised an error, and would again.
RAISED = frozenset({"RayTaskError", "FailedJobError"})


class Launch:
    """Hydra's launcher, with what a sweep gives to every point."""

    def __init__(
        self, config: DictConfig, context: HydraContext, task: Task, lanes: int = 1
    ) -> None:
        self._config, self._context, self._task, self._lanes = config, context, task, lanes

    def all(
        self, planned: Sequence[PlannedPoint], place: Path, total: int = 0
    ) -> list[tuple[Combination, PointResult]]:
        """Run the points that did not run before; returns the results of all, in planned order.

        `total` is the number of points of the sweep, if it is known. Raises StageError for a
        launcher that cannot work at all.
        """
        self._task.total = total
        results: dict[int, PointResult] = {}
        left: list[tuple[Combination, Job]] = []
        for one in spread(planned, self._lanes):
            point, folder = one.point, name_of(one.point.values)
            before = found(place, one.key, folder)
            if one.refused is not None:
                results[point.number] = PointResult("refused", one.refused.what, one.refused.lines)
            elif before is not None:
                results[point.number] = before
            else:
                left.append(
                    (
                        point,
                        Job(point.number, label_of(point.values) or "one point", folder, one.key),
                    )
                )
        results |= self._run(left)
        return [(one.point, results[one.point.number]) for one in planned]

    def rated(self, planned: Sequence[PlannedPoint], place: Path) -> list[PointResult]:
        """Measure how good FP32 PyTorch is in the windows of points, unless it is known already.

        Raises StageError for a launcher that cannot work at all.
        """
        self._task.total = 0
        results: dict[int, PointResult] = {}
        left: list[tuple[Combination, Job]] = []
        for number, one in enumerate(planned, start=1):
            key = digest(["rates", one.key])[:16]
            before = found(place, key)
            if before is not None:
                results[number] = before
                continue
            sizes = one.plans[0].pipeline.chunker.window()
            label = f"FP32 in {windows_in_words(sizes, Signature((), ()))}"
            job = Job(number, label, f"fp32-{key}", key, rates=True)
            left.append((replace(one.point, number=number), job))
        results |= self._run(left)
        return [results[number] for number in range(1, len(planned) + 1)]

    def _run(self, points: Sequence[tuple[Combination, Job]]) -> dict[int, PointResult]:
        results: dict[int, PointResult] = {}
        why = ""
        for _ in range(1 + self._task.retries):
            left = [(point, job) for point, job in points if job.number not in results]
            if not left:
                break
            why = self._once(left, results)
        for _, job in points:
            if job.number not in results:
                results[job.number] = PointResult("failed", f"its worker died: {why}", exit_code=1)
        return {number: self._placed(points, number, results[number]) for number in sorted(results)}

    def _once(
        self, left: Sequence[tuple[Combination, Job]], results: dict[int, PointResult]
    ) -> str:
        """Launch the jobs in `left`, add their results, and return what went wrong, if it did."""
        self._task.jobs = tuple(job for _, job in left)
        if "submitit_folder" in self._config.hydra.launcher:
            # The output of these jobs does not come back while they run.
            logs = Path(self._task.place, "logs")
            say(f"{len(left)} jobs submitted; waiting for them. Their output goes to {logs}")
        try:
            launcher = Plugins.instance().instantiate_launcher(
                hydra_context=self._context, task_function=self._task, config=self._config
            )
            returns = launcher.launch([point.overrides for point, _ in left], initial_job_idx=0)
        except Exception as error:
            kinds = {cls.__name__ for cls in type(error).__mro__}
            if not DIED & kinds or RAISED & kinds:
                raise StageError(
                    f"the launcher failed: {type(error).__name__}: {_first_line(error)}",
                    f"see those that are installed: {line(['--info', 'plugins'])}",
                    TRACE,
                ) from error
            # The sweep's folder has the results of jobs that finished before the worker died.
            for _, job in left:
                folder = None if job.rates else job.folder
                before = found(Path(self._task.place), job.key, folder)
                if before is not None:
                    results[job.number] = before
            return _first_line(error)
        for (_, job), returned in zip(left, returns, strict=True):
            results[job.number] = _answer(returned)
        return ""

    def _placed(
        self, points: Sequence[tuple[Combination, Job]], number: int, result: PointResult
    ) -> PointResult:
        """Make the run folder here if the point ran on a machine without the sweep's folder."""
        if result.placed or result.status not in ("done", "missed"):
            return result
        point, job = next((p, j) for p, j in points if j.number == number)
        say(f"{job.label}: ran on another machine; taking it from the store")
        again = self._task.run(job, (*point.overrides, *self._task.fixed))
        placed = replace(result, placed=again.placed)
        # `ran` stays that of the other machine: here everything was in the store.
        keep(Path(self._task.place), job.key, placed)
        return placed


def divided(launcher: Mapping[str, Any]) -> tuple[int | None, int]:
    """Return the cores that each point may use, None for all, and how many points run at a time.

    Only a cluster knows how many points it runs at a time: this machine's cores stand for it.
    """
    cores = os.cpu_count() or 1
    if "n_jobs" in launcher:
        jobs = int(launcher["n_jobs"])
        lanes = max(1, cores if jobs < 0 else jobs)
        return max(1, cores // lanes), lanes
    if "ray" in launcher:
        each = max(1, int(launcher["ray"].get("remote", {}).get("num_cpus") or 1))
        return each, max(2, cores // each)
    if launcher.get("cpus_per_task"):
        return int(launcher["cpus_per_task"]), 2
    return None, 1 if str(launcher["_target_"]).endswith("BasicLauncher") else 2


def at(config: DictConfig, place: Path) -> DictConfig:
    """Return a copy of a sweep's config whose launcher writes its own files at `place`."""
    copied = OmegaConf.create(config)
    OmegaConf.set_readonly(copied, None)
    with open_dict(copied):
        copied.hydra.sweep.dir = literal(str(place))
        copied.hydra.sweep.subdir = "."
    return copied


def _answer(returned: JobReturn) -> PointResult:
    """Return the result of a job; an error that it raised is its worker's, a full disk say."""
    try:
        return msgspec.convert(returned.return_value, PointResult)
    except Exception as error:
        why = f"its job failed: {type(error).__name__}: {_first_line(error)}"
        return PointResult("failed", why, exit_code=1)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
