"""The process of one point: composes its config, runs it, and writes its result.

Every point has a process of its own, so that its peak memory is its own, and a crash (of a vendor's
library, of a system out of memory) ends nothing else. It ends when its parent does.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sys
import tempfile
import threading
import time
import traceback
from _thread import interrupt_main
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING

import msgspec

from core.config import discovery, hydra_errors
from core.config.compose import composing, recipe_of_job, register
from core.config.recipes import Recipe, read_recipes
from core.errors import DoesNotFitError, MisfitError
from core.machine import cores
from core.plugin import process
from core.plugin.boundary import read_contracts
from core.plugin.registry import Registry
from core.plugin.step_names import PLAY
from core.run.folder import named_folder
from core.store.source_code import of_functions, of_module
from core.sweep.fork_server import serve
from core.sweep.messages import PointResult, PointTask, read_task
from core.text.screen import say
from core.text.shown import shown_below

if TYPE_CHECKING:
    from core.plan.candidates import Candidate
    from core.plugin.values import Metric
    from core.store.local import Store

__all__ = ["do", "main", "perform"]

#: Seconds that an orphan has to clean up.
LAST_SECONDS = 10.0
#: Seconds between two checks whether the parent lives.
POLL_S = 0.5


def main() -> None:
    """Do the tasks that come in on standard input, each in a process of its own."""
    process.prepare()
    if hasattr(os, "fork"):
        serve(do, _ready)
        return
    for line in iter(sys.stdin.buffer.readline, b""):
        # Without fork a process does one task, and its worker starts the next process.
        do(read_task(line))
        return


def do(task: PointTask) -> None:
    """Do one task, and write the answer to the file it names; end when the parent ends."""
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    first = os.O_TRUNC if task.made is None else os.O_APPEND
    # A link in the place of a log would overwrite another file.
    own = getattr(os, "O_NOFOLLOW", 0)
    log = os.open(task.log, os.O_WRONLY | os.O_CREAT | own | first, 0o644)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(log, stream.fileno())
    os.chdir(task.cwd)
    cores.take(cores.CoreShare(task.cores, Path(task.lock) if task.lock else None))
    try:
        result = perform(task)
    except KeyboardInterrupt:
        sys.exit(process.INTERRUPTED)
    answer = Path(task.answer)
    partial = answer.with_name(f"{answer.name}.partial")
    # Names from a plugin may be no text at all, which JSON cannot hold.
    partial.write_bytes(msgspec.json.encode(shown_below(msgspec.to_builtins(result))))
    partial.replace(answer)


def _watch(parent: int) -> None:
    """End when the parent is gone: then nobody waits for the answer."""
    while os.getppid() == parent:
        time.sleep(POLL_S)
    interrupt_main()
    time.sleep(LAST_SECONDS)
    os._exit(process.INTERRUPTED)


def perform(task: PointTask) -> PointResult:
    """Run one point; an error becomes its result, and nothing is raised."""
    registry: Registry | None = None
    started = time.perf_counter()
    try:
        registry, recipes = _known(tuple(task.recipes.items()))
        return _run(task, registry, recipes)
    except Exception as error:
        if task.verbose:
            say("".join(traceback.format_exception(error)), err=True, end="")
        return _went_wrong(error, registry, time.perf_counter() - started)


@functools.cache
def _known(given: tuple[tuple[str, str], ...]) -> tuple[Registry, Mapping[str, Recipe]]:
    """Find plugins and recipes, add those `given` as path and text, and register all in Hydra."""
    registry = discovery.discover()
    recipes: dict[str, Recipe] = dict(read_recipes(registry.recipes))
    with tempfile.TemporaryDirectory() as scratch:
        for path, text in given:
            copy = Path(scratch, Path(path).name)
            copy.write_text(text, encoding="utf-8")
            # Its own folder is that of its path, not the scratch folder.
            recipes |= {
                name: replace(one, file=Path(path))
                for name, one in read_recipes((), [str(copy)]).items()
            }
    register(registry, recipes)
    return registry, recipes


def _ready(task: PointTask) -> None:
    """Prepare, in the process that is copied for every point, what each copy would repeat."""
    # Each copy reports what is wrong with a plugin or a recipe.
    with contextlib.suppress(Exception):
        _known(tuple(task.recipes.items()))
        with composing(task.overrides):
            pass
        read_contracts()
        for module in task.plugins:
            of_module(module)
        from core.steps import compare, convert, evaluate, play, saturation

        steps = (vars(one).values() for one in (compare, convert, evaluate, play, saturation))
        of_functions(*(f for defined in steps for f in defined if isinstance(f, FunctionType)))


def _run(task: PointTask, registry: Registry, recipes: Mapping[str, Recipe]) -> PointResult:
    from core.plan import candidates
    from core.store.locate import open_store
    from core.store.uses import recorded

    started = time.perf_counter()
    with contextlib.ExitStack() as using:
        with cores.shared(say), composing(task.overrides) as cfg:
            store, recipe = open_store(cfg.store), recipe_of_job()
            # The sweep itself brings the store below its limit, once it has ended.
            using.enter_context(recorded(store.root, "point", recipe, task.sweep))
            found = candidates.candidates(cfg, registry, recipe, recipes, store)
        return _performed(task, found, registry, recipes, store, started)


def _performed(
    task: PointTask,
    found: Sequence[Candidate],
    registry: Registry,
    recipes: Mapping[str, Recipe],
    store: Store,
    started: float,
) -> PointResult:
    from core.measure.placement import coverage_of
    from core.run import job
    from core.sweep.metrics import measured, spreads_of

    if task.rates:
        return _rated(found, registry, store, recipes)
    plan = found[0].plan
    if task.made is None and len(found) == 1 and plan is not None:
        before = plan.before(PLAY)
        if before.to_run:
            records = job.prepare(before, found, registry, store, recipes)
            ran = tuple(stage.name for stage in records if stage.status == "ran")
            seconds = time.perf_counter() - started
            return PointResult(
                "done", ran=ran, seconds=seconds, again=True, damaged=_damaged(store)
            )
    with contextlib.ExitStack() as scratch:
        # If the folder is on another machine, that machine makes it later, from the store.
        here = task.folder or str(Path(scratch.enter_context(tempfile.TemporaryDirectory()), "r"))
        place = named_folder(Path(here))
        ended = job.perform(found, registry, store, recipes, place, task.sweep)
    record, breach = ended.record, ended.breach
    artifacts = {stage.name: stage.artifact for stage in record.stages}
    made = task.made or ()
    return PointResult(
        "missed" if breach else "done",
        breach.what if breach else "",
        breach.lines if breach else (),
        breach.exit_code if breach else 0,
        measured(
            record,
            ended.shipped.bytes,
            coverage_of(
                artifacts,
                ended.shipped,
                record.target.title,
                never_run=bool(record.never_run),
            ),
        ),
        _comparable(record.metrics),
        (*made, *(s.name for s in record.stages if s.status == "ran")),
        tuple(s.name for s in record.stages if s.status == "cached" and s.name not in made),
        time.perf_counter() - started,
        bool(task.folder),
        record.target_took_part,
        damaged=_damaged(store),
        spreads=spreads_of(record.metrics),
        load=record.load,
        never_run=record.never_run,
    )


def _rated(
    found: Sequence[Candidate], registry: Registry, store: Store, recipes: Mapping[str, Recipe]
) -> PointResult:
    """Measure FP32 PyTorch in the windows of a point; at all of its precisions it is the same."""
    from core.measure.contract import lowest_parity
    from core.plan.plan import looked_up
    from core.run import job
    from core.steps.evaluate import read_metrics
    from core.steps.layout import rating

    started = time.perf_counter()
    context = next(candidate.plan for candidate in found if candidate.plan is not None).context
    plan = looked_up(context, rating(context), store)
    records = job.prepare(plan, found, registry, store, recipes)
    metrics = read_metrics(records[-1].artifact)
    lowest = lowest_parity(metrics)
    return PointResult(
        "done",
        figures={"snr": (lowest.value, lowest.device)} if lowest else {},
        metrics=_comparable(metrics),
        ran=tuple(s.name for s in records if s.status == "ran"),
        cached=tuple(s.name for s in records if s.status == "cached"),
        seconds=time.perf_counter() - started,
        placed=True,  # it leaves no run folder
        damaged=_damaged(store),
    )


def _comparable(metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    return tuple(m for m in metrics if m.better != "neither" and math.isfinite(m.value))


def _damaged(store: Store) -> tuple[str, ...]:
    return tuple(notice.text for notice in store.notices)


def _went_wrong(error: Exception, registry: Registry | None, seconds: float) -> PointResult:
    said = hydra_errors.as_luthier_error(error, registry)
    refused = isinstance(said, MisfitError | DoesNotFitError)
    return PointResult(
        "refused" if refused else "failed", said.what, said.lines, said.exit_code, seconds=seconds
    )


if __name__ == "__main__":
    main()
