"""Plays a batch on Ray Data: workers with one opened model each, on one machine or on many.

Ray Data streams: a worker gets an item when it has room for one, and returns a line of the
manifest. Ray restarts a worker that is killed, and its item with it.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import msgspec

from core.batch.manifest import Entry
from core.batch.worker import Job, Task, Worker
from core.config.settings import Batch
from core.errors import LuthierError, MissingLibraryError, StageError
from core.machine import cores
from core.machine.ray_cluster import joined
from core.plugin.kinds import anew
from core.plugin.process import hold_the_process
from core.plugin.progress import Progress, silent

__all__ = ["check", "play_on_ray"]


def check() -> None:
    """Raise MissingLibraryError where Ray Data is not installed."""
    if find_spec("ray") is None or find_spec("pyarrow") is None:
        raise MissingLibraryError(
            "`scale=ray` needs `ray[data]`, not installed",
            "install it: pip install 'luthier[ray]'",
            "or play the items in this process: scale=here",
        )


def play_on_ray(
    job: Job, tasks: Sequence[Task], settings: Batch, progress: Progress
) -> Iterator[Entry]:
    """Yield the result of each item, in the order in which items finish.

    Raises StageError where Ray gives up, or where a worker cannot open the model.
    """
    progress(0, len(tasks), "starting Ray")
    with _cluster(settings) as total:
        import ray

        workers = min(settings.workers or max(1, int(total)), len(tasks))
        # Ray assigns fractions of one CPU, but only whole numbers above one.
        each = total / workers if workers > total else float(total // workers)
        played = (
            # One block per item: a finished item is known at once, and never played again because
            # of another one.
            ray.data.from_items([{"task": pickle.dumps(t)} for t in tasks],
                                override_num_blocks=len(tasks))
            .map(
                _Seat,  # type: ignore[arg-type]  # it takes a class too, as its page says
                fn_constructor_kwargs={
                    "job": pickle.dumps(_packed(job)), "own": max(1, int(each))},
                compute=ray.data.ActorPoolStrategy(size=workers),
                num_cpus=each,
                # Ray Data's default: a worker is restarted however often it dies, and its item
                # with it. `Worker` counts how often each item has killed a worker.
            )
        )  # fmt: skip
        progress(0, len(tasks), f"starting {workers} workers")
        try:
            # Without prefetching: the next item must not hold up the line of this one.
            for batch in played.iter_batches(batch_size=None, prefetch_batches=0):
                for line, fatal in zip(batch["entry"], batch["fatal"], strict=True):
                    if fatal:
                        raise StageError(*fatal.split("\n  "))
                    yield msgspec.json.decode(line, type=Entry)
        except ray.exceptions.RayError as error:
            raise StageError(
                f"Ray failed: {type(error).__name__}: {str(error).strip().splitlines()[0]}",
                "finished items are kept; run the same command again",
                "or play the rest in this process: scale=here",
            ) from error


class _Seat:
    """A worker's place in Ray: items in, lines of the manifest out."""

    def __init__(self, job: bytes, own: int) -> None:
        hold_the_process()
        cores.take(cores.CoreShare(own))
        self._worker = Worker(pickle.loads(job))  # noqa: S301  # from the process that started it

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Play one item; return an error that stops every item: Ray would retry a raised one."""
        task = pickle.loads(row["task"])  # noqa: S301  # as above
        try:
            entry = self._worker.play(task, silent())
        except LuthierError as error:
            return {"entry": b"", "fatal": str(error)}
        except Exception as error:
            told = f"a worker cannot open the model: {type(error).__name__}: {error}"
            return {"entry": b"", "fatal": told}
        return {"entry": msgspec.json.encode(entry), "fatal": ""}


def _packed(job: Job) -> Job:
    """Return a job as plain data: new instances of the plugins that play, and no others."""
    pipeline = job.pipeline
    packed = replace(
        pipeline,
        model=anew(pipeline.model),
        dataset=anew(pipeline.dataset),
        dsp=anew(pipeline.dsp),
        chunker=anew(pipeline.chunker),
        runtime=anew(pipeline.runtime),
        host=None if pipeline.host is None else anew(pipeline.host),
        calibration=None,
        exporter=None,
        graph=(),
        quantizer=None,
        evaluator=(),
        reporter=(),
    )
    return replace(job, pipeline=packed)


@contextmanager
def _cluster(settings: Batch) -> Iterator[float]:
    """Join the cluster, or start one of this machine alone; yield the number of its CPUs."""
    init = {"address": settings.address, "log_to_driver": False}
    with joined(init, "play the items in this process: scale=here"):
        import ray

        _hush()
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray
        yield resources.get("CPU", 1.0)


def _hush() -> None:
    """Leave the terminal to the reporters: Ray Data writes its messages to its log file."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL + 1)
