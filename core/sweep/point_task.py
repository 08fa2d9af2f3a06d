"""What Hydra's launcher runs for every point, in this process or on another machine.

It starts the process of the point (core/sweep/point_process.py), waits, and runs it again if it was
killed.
"""

from __future__ import annotations

import getpass
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from hydra.core.hydra_config import HydraConfig

from core.config.compose import words_of_job
from core.sweep.folder import is_of, keep
from core.sweep.fork_server import ForkServer
from core.sweep.messages import PointResult, PointTask
from core.text.screen import say

if TYPE_CHECKING:
    from omegaconf import DictConfig

__all__ = ["Job", "Task", "heard"]


@dataclass(frozen=True)
class Job:
    """One point as a launcher runs it; `key` is what its result depends on.

    A job that `rates` only measures how good FP32 PyTorch is in the windows of the point.
    """

    number: int
    label: str
    folder: str
    key: str
    rates: bool = False


@dataclass
class Task:
    """Runs points in processes of their own; a launcher may take it to another machine.

    `jobs` are those of the launch, in its order, of `total` if that is known. `sweep` names the
    sweep and `place` is its folder.
    A point whose process was killed is run again up to `retries` times.
    """

    sweep: str = ""
    place: str = ""
    cwd: str = ""
    total: int = 0
    recipes: dict[str, str] = field(default_factory=dict)
    fixed: tuple[str, ...] = ()
    cores: int | None = None
    beside: bool = False
    retries: int = 2
    verbose: bool = False
    plugins: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    jobs: tuple[Job, ...] = ()

    def __call__(self, cfg: DictConfig) -> Any:
        """Run the point that Hydra composed `cfg` for; returns `PointResult` as plain data."""
        hydra = HydraConfig.get()
        job = self.jobs[hydra.job.num]
        say(f"{self._head(job)} ...")
        result = self.run(job, (*words_of_job(), *self.fixed))
        for line in result.damaged:
            say(f"warning: {line}", err=True)
        said = summary(result)
        say(f"{self._head(job)} {said}")
        if self.sweep in _HEARD and not job.rates:
            _HEARD[self.sweep](job.label, said, job.number, self.total)
        return msgspec.to_builtins(result)

    def run(self, job: Job, overrides: tuple[str, ...]) -> PointResult:
        """Run one point, and keep its result if the sweep's folder is on this machine."""
        here = self._is_here()
        result = self._run(job, overrides, here=here)
        if here:
            keep(Path(self.place), job.key, result)
        return result

    def _head(self, job: Job) -> str:
        number = f"[{job.number}/{self.total}] " if self.total else ""
        return f"{number}{job.label}:"

    def _is_here(self) -> bool:
        """Return whether the sweep's folder is on this machine, or shared with it."""
        return is_of(Path(self.place), self.sweep)

    def _run(self, job: Job, overrides: tuple[str, ...], *, here: bool) -> PointResult:
        code = 0
        for _ in range(1 + self.retries):
            result, code = self._once(job, overrides, here=here)
            if result is not None:
                return result
        return PointResult(
            "failed",
            f"its process ended {1 + self.retries} times without an answer ({_spoken(code)})",
            ("the device or the system had no memory left, or a vendor's library crashed",),
            1,
        )

    def _once(
        self, job: Job, overrides: tuple[str, ...], *, here: bool
    ) -> tuple[PointResult | None, int]:
        with tempfile.TemporaryDirectory(prefix="luthier-") as scratch:
            answer = Path(scratch, "result.json")
            log = Path(self.place, "logs", f"{job.folder}.log") if here else Path(scratch, "log")
            log.parent.mkdir(parents=True, exist_ok=True)
            task = PointTask(
                overrides,
                self.recipes,
                self.sweep,
                str(Path(self.place, job.folder)) if here else "",
                self.cwd if Path(self.cwd).is_dir() else str(Path.cwd()),
                self.cores,
                str(_lock(self.sweep)) if self.beside else "",
                str(answer),
                str(log),
                self.verbose,
                plugins=self.plugins,
                libraries=self.libraries,
                rates=job.rates,
            )
            result, code = _answered(task)
            if result is not None and result.again:
                first = result
                result, code = _answered(replace(task, made=first.ran))
                if result is not None:
                    damaged = tuple(dict.fromkeys((*first.damaged, *result.damaged)))
                    result = replace(
                        result, seconds=first.seconds + result.seconds, damaged=damaged
                    )
            return result, code

    @staticmethod
    def close() -> None:
        """End what this process started for its points."""
        _fork_server.close()


_INTERRUPTED = 130
#: Who hears of each point that this process ran, by the sweep: a launcher pickles its task.
_HEARD: dict[str, Callable[[str, str, int, int], None]] = {}
#: The fork server of this process, for all the points that it runs.
_fork_server = ForkServer()


@contextmanager
def heard(sweep: str, tell: Callable[[str, str, int, int], None]) -> Iterator[None]:
    """Call `tell` after each point of a sweep: its label, its result, its number, and of how many.

    What it raises ends the sweep.
    """
    _HEARD[sweep] = tell
    try:
        yield
    finally:
        del _HEARD[sweep]


def _answered(task: PointTask) -> tuple[PointResult | None, int]:
    """Run a task; returns the answer, if there is one, and the exit status."""
    answer = Path(task.answer)
    answer.unlink(missing_ok=True)
    code = _fork_server.run(task)
    if code == _INTERRUPTED:
        raise KeyboardInterrupt
    return (
        msgspec.json.decode(answer.read_bytes(), type=PointResult) if answer.exists() else None
    ), code


def _lock(sweep: str) -> Path:
    """Return the folder of the lock that all points of a sweep on this machine share."""
    return Path(tempfile.gettempdir(), f"luthier-{_user()}", sweep)


def _user() -> str:
    """Return the user's name, or number where it has no name, as with `docker run --user 1234`."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # until Python 3.12, and since 3.13
        return str(os.getuid())


def _spoken(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit status {code}"


def summary(result: PointResult) -> str:
    """Return one line: the status of a point, how many steps ran, and how long it took."""
    if result.status in ("refused", "failed"):
        return f"{result.status}: {result.why}"
    broken = f" {result.why};" if result.status == "missed" else ""
    return (
        f"{result.status},{broken} {counted(len(result.ran), 'step')} ran in {result.seconds:.0f} s"
    )


def counted(count: int, thing: str) -> str:
    """Return a number of things: "1 step", "2 steps"."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
