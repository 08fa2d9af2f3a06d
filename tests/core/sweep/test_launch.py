"""Points through Hydra's launcher; those whose worker died are handed to it again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from core.errors import MisfitError, StageError
from core.sweep.folder import keep, name_of
from core.sweep.grid import Combination
from core.sweep.launch import Launch, at, divided
from core.sweep.messages import PointResult
from core.sweep.plan import PlannedPoint
from core.sweep.point_task import Job, Task

DONE = PointResult("done", figures={"sdr": (8.0, "a CPU")}, placed=True)


def point(number: int, refused: MisfitError | None = None) -> PlannedPoint:
    """Return a planned point."""
    values = {"a": str(number)}
    return PlannedPoint(
        Combination(number, values, (f"a={number}",)), "toy", (), refused, f"key{number}"
    )


@dataclass
class Worker:
    """Stands for a launcher's machines, which die, and answer, as a test says.

    `deaths` holds an error per launch, None where all goes well. A launch that dies has run as
    many points as `before` says, which left word in the sweep's folder.
    """

    place: Path
    deaths: list[Exception | None] = field(default_factory=list)
    before: int = 0
    raises: dict[int, Exception] = field(default_factory=dict)
    launched: list[list[str]] = field(default_factory=list)

    def instantiate_launcher(self, *, task_function: Task, **given: Any) -> Worker:
        """Take the place of the launcher."""
        self.jobs: tuple[Job, ...] = task_function.jobs
        return self

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> list[JobReturn]:
        """Run points."""
        self.launched.append([" ".join(line) for line in job_overrides])
        death = self.deaths.pop(0) if self.deaths else None
        for job in self.jobs[: self.before if death else None]:
            self.left(job, DONE)
        if death is not None:
            raise death
        return [self.returned(job) for job in self.jobs]

    def returned(self, job: Job) -> JobReturn:
        """Return what Hydra hands back of one job."""
        if job.number in self.raises:
            return JobReturn(status=JobStatus.FAILED, _return_value=self.raises[job.number])
        return JobReturn(status=JobStatus.COMPLETED, _return_value=msgspec.to_builtins(DONE))

    def left(self, job: Job, result: PointResult) -> None:
        """Leave what a point leaves in the sweep's folder."""
        folder = self.place / job.folder
        folder.mkdir(exist_ok=True)
        (folder / "recipe.lock.yaml").touch()
        keep(self.place, job.key, result)


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """Return the machines behind every launcher."""
    (tmp_path / "points").mkdir()
    made = Worker(tmp_path)
    monkeypatch.setattr(Plugins.instance(), "instantiate_launcher", made.instantiate_launcher)
    return made


def launch(place: Path, retries: int = 2) -> Launch:
    """Return a launch into a sweep's folder."""
    task = Task(place=str(place), retries=retries)
    return Launch(OmegaConf.create({"hydra": {"launcher": {}}}), None, task)  # type: ignore[arg-type]  # `worker` needs none


def test_points_are_told_in_the_order_of_the_plan(worker: Worker, tmp_path: Path) -> None:
    """Points are reported in order after one launch, so that a cluster sees all of them."""
    result = launch(tmp_path).all([point(2), point(1), point(3)], tmp_path)
    assert [one.number for one, _ in result] == [2, 1, 3]
    assert [answer for _, answer in result] == [DONE] * 3
    assert len(worker.launched) == 1


def test_what_ran_before_is_not_launched(worker: Worker, tmp_path: Path) -> None:
    """Points that ran before, or that the plan refuses, are not launched."""
    worker.left(Job(1, "a=1", name_of({"a": "1"}), "key1"), DONE)
    refused = MisfitError("no room", "take less")
    result = launch(tmp_path).all([point(1), point(2, refused), point(3)], tmp_path)
    assert worker.launched == [["a=3"]]
    assert [answer for _, answer in result] == [
        DONE,
        PointResult("refused", "no room", ("take less",)),
        DONE,
    ]


def test_nothing_to_run_starts_no_launcher(worker: Worker, tmp_path: Path) -> None:
    """With no point to run, no launcher starts, because a cluster's may take minutes."""
    worker.left(Job(1, "a=1", name_of({"a": "1"}), "key1"), DONE)
    launch(tmp_path).all([point(1)], tmp_path)
    assert worker.launched == []


class RayError(Exception):
    """Ray's own, by its name: what its workers' deaths derive from."""


class NodeDiedError(RayError):
    """A machine that is gone."""


@pytest.mark.parametrize(
    "death", [BrokenProcessPool("a worker was killed"), NodeDiedError("a node is gone")]
)
def test_points_of_a_worker_that_died_are_launched_again(
    worker: Worker, tmp_path: Path, death: Exception
) -> None:
    """Only the points of a dead worker that had not answered are launched again."""
    worker.deaths, worker.before = [death], 1
    result = launch(tmp_path).all([point(1), point(2), point(3)], tmp_path)
    assert worker.launched == [["a=1", "a=2", "a=3"], ["a=2", "a=3"]]
    assert [answer.status for _, answer in result] == ["done"] * 3


def test_a_worker_that_always_dies_fails_its_points(worker: Worker, tmp_path: Path) -> None:
    """Points fail with a reason after as many tries as the sweep allows."""
    worker.deaths = [BrokenProcessPool(f"death {n}\nand its trace") for n in (1, 2, 3)]
    result = launch(tmp_path, retries=1).all([point(1)], tmp_path)
    assert len(worker.launched) == 2
    assert [answer for _, answer in result] == [
        PointResult("failed", "its worker died: death 2", exit_code=1)
    ]


def test_a_launcher_that_cannot_work_is_an_error_at_once(worker: Worker, tmp_path: Path) -> None:
    """A broken launcher is an error at once, without further tries."""
    worker.deaths = [RuntimeError("no such partition\nof the cluster")]
    with pytest.raises(StageError) as failed:
        launch(tmp_path).all([point(1)], tmp_path)
    assert failed.value.what == "the launcher failed: RuntimeError: no such partition"
    assert len(worker.launched) == 1


def test_a_job_that_raises_fails_its_point_alone(worker: Worker, tmp_path: Path) -> None:
    """An error that Hydra returns instead of an answer, as of a full disk, fails one point."""
    worker.raises = {2: OSError(28, "No space left on device")}
    result = launch(tmp_path).all([point(1), point(2)], tmp_path)
    assert len(worker.launched) == 1
    assert [answer for _, answer in result] == [
        DONE,
        PointResult(
            "failed", "its job failed: OSError: [Errno 28] No space left on device", exit_code=1
        ),
    ]


def test_what_joblib_runs_side_by_side_divides_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs side by side get at least one core each; -1 means one job per core."""
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    joblib = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
    assert divided({"_target_": joblib, "n_jobs": 2}) == (4, 2)
    assert divided({"_target_": joblib, "n_jobs": 3}) == (2, 3)
    assert divided({"_target_": joblib, "n_jobs": 16}) == (1, 16)
    assert divided({"_target_": joblib, "n_jobs": -1}) == (1, 8)


def test_one_point_at_a_time_has_every_core() -> None:
    """A single job has every core, as in a run by itself."""
    basic = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
    assert divided({"_target_": basic}) == (None, 1)


def test_a_launcher_writes_into_the_folder_of_the_sweep(tmp_path: Path) -> None:
    """The launcher's files go into the sweep's folder, and its config stays unchanged."""
    config = OmegaConf.create({"hydra": {"sweep": {"dir": "multirun", "subdir": "0"}}})
    OmegaConf.set_readonly(config, True)
    copied = at(config, tmp_path)
    assert (copied.hydra.sweep.dir, copied.hydra.sweep.subdir) == (str(tmp_path), ".")
    assert config.hydra.sweep.dir == "multirun"
