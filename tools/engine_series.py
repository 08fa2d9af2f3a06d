"""Builds recipes for several engines, and times their sessions in turn, in one process.

One window of each engine follows the other, for several rounds, so that other load on the machine
affects all of them alike. An emulator is compared, but not timed: its time says nothing about a
device.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from core.config.compose import composing
from core.config.pipeline import Pipeline, make_pipeline
from core.errors import LuthierError
from core.inference.context import RunContext
from core.inference.dsp_graphs import with_dsp_graphs
from core.inference.windows import run_group
from core.measure import cold_start
from core.measure.metrics import compare, percentiles
from core.plan.plan import make_plan
from core.plugin.progress import silent
from core.plugin.stages import Session, StageContext
from core.plugin.step_names import MODEL, SAMPLE
from core.run.execute import execute
from core.steps.compare import sampled

if TYPE_CHECKING:
    from core.config.recipes import Recipe
    from core.plugin.registry import Registry
    from core.plugin.values import Artifact, Tensors
    from core.store.local import Store

__all__ = ["Engine", "Made", "Workshop", "series"]

INSTALL = "pip install"


@dataclass(frozen=True)
class Engine:
    """One row: an engine at a precision, as a recipe with overrides."""

    engine: str
    precision: str
    recipe: str
    words: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the name that `--only` compares: `openvino/bf16`."""
        return f"{self.engine}/{self.precision}"


@dataclass
class Made:
    """A row in the making: what was built of it, and the session once it is open."""

    row: dict[str, Any]
    pipeline: Pipeline | None = None
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    shipped: Artifact | None = None
    session: Session | None = None
    feeds: Sequence[Tensors] = ()
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    def refused(self, error: LuthierError) -> None:
        """Note why the engine does not build, or does not run, and what installs it."""
        lines = [line for line in error.lines if INSTALL in line]
        found = lines[0][lines[0].index(INSTALL) :] if lines else ""
        self.row |= {"why": error.what, "install": found.strip("`")}


@dataclass(frozen=True)
class Workshop:
    """What every recipe is composed, planned and converted with."""

    registry: Registry
    recipes: Mapping[str, Recipe]
    store: Store
    scratch: Path

    def build(self, engine: Engine, words: Sequence[str]) -> Made:
        """Convert the recipe of an engine with `words`; the row says why if that is impossible."""
        made = Made({
            "name": engine.name, "engine": engine.engine, "precision": engine.precision,
            "recipe": engine.recipe, "words": [*engine.words, *words],
            "builds": False, "runs": False, "why": "", "install": "",
        })  # fmt: skip
        if engine.recipe not in self.recipes:
            made.row["why"] = f"there is no recipe `{engine.recipe}`"
            return made
        try:
            with composing([f"recipe={engine.recipe}", *engine.words, *words]) as cfg:
                made.pipeline = make_pipeline(cfg, self.registry, engine.recipe, self.recipes)
                plan = make_plan(made.pipeline, self.registry, self.store)
                steps = [p for p in plan.steps if p.step.gives or p.step.name == SAMPLE]
                outcome = execute(
                    replace(plan, steps=steps), self.store, self.registry.manager.hook
                )
        except LuthierError as error:
            made.refused(error)
            return made
        made.artifacts = outcome.artifacts
        made.shipped = outcome.artifacts[[p.step.name for p in steps if p.step.gives][-1]]
        made.row |= {"builds": True, "bytes": made.shipped.bytes, "why": made.pipeline.never_run}
        print(f"{engine.name}: built", flush=True)
        return made


def series(made: Sequence[Made], rounds: int, base: str, scratch: Path) -> list[dict[str, Any]]:
    """Open, compare and time all that was built, and return their rows.

    The times of a row are of one window, in ms: median, 5th and 95th percentile; `cpu_ms` is the
    processor time of the whole process meanwhile. `base_ms` is the median of the row `base` in the
    same series.
    """
    with ExitStack() as stack:
        for one in made:
            if one.shipped is not None and not one.row["why"]:
                _open(one, stack, scratch)
        timed = [one for one in made if one.session is not None and one.row["on_target"]]
        for number in range(rounds + 1):
            for one in timed:
                _time(one, number)
        for one in timed:
            # The first round warms up, after the others have used the caches.
            low, middle, high = (1000 * s for s in percentiles(one.seconds[1:]))
            one.row |= {"ms": middle, "low_ms": low, "high_ms": high}
            one.row["cpu_ms"] = 1000 * median(one.cpu_seconds[1:])
        for one in made:
            if one.session is not None:
                _trace(one)
    base_ms = next((one.row.get("ms") for one in made if one.row["name"] == base), None)
    return [{**one.row, "base_ms": base_ms} if "ms" in one.row else one.row for one in made]


def _open(one: Made, stack: ExitStack, scratch: Path) -> None:
    """Open a session, run the sampled windows once, and note cold start and nearness to FP32."""
    assert one.pipeline is not None
    assert one.shipped is not None
    # Anew: what made the sample has opened the torch module already.
    context, model = RunContext(one.pipeline), one.artifacts[MODEL]
    folder = scratch / one.row["name"]
    folder.mkdir(parents=True)
    work = StageContext(folder, silent(), scratch / "state")
    runtime, window = one.pipeline.runtime, one.pipeline.chunker.window()
    pieces, reference = sampled(one.artifacts[SAMPLE])
    taken: list[float] = []
    try:
        started = time.perf_counter()
        session = stack.enter_context(runtime.open(one.shipped, lambda: context.open(model), work))
        transform = stack.enter_context(
            with_dsp_graphs(context.transform(model), runtime, window, model.info, work)
        )
        open_s = time.perf_counter() - started
        pairs = [transform.forward(piece) for piece in pieces]
        one.feeds = [feeds for feeds, _ in pairs]
        cores = list(run_group(session, one.feeds, silent(), taken))
    except LuthierError as error:
        one.refused(error)
        return
    outputs = [transform.inverse(core, p[1]) for core, p in zip(cores, pairs, strict=True)]
    snr = compare(reference, outputs, model.info.signature)
    one.session = session
    one.row |= {
        "runs": True,
        "device": session.device,
        "on_target": session.on_target,
        "windows": len(pieces),
        "snr_db": snr.overall,
        "worst_snr_db": snr.worst,
        "worst_label": snr.worst_label,
    }
    if session.on_target:
        one.row["cold_start_s"] = list(cold_start.facts_of(session, open_s, taken).values())
    print(f"{one.row['name']}: {snr.worst:.1f} dB", flush=True)


def _time(one: Made, number: int) -> None:
    assert one.session is not None
    started = time.process_time()
    feeds = one.feeds[number % len(one.feeds)]
    for _ in run_group(one.session, [feeds], silent(), one.seconds):
        pass
    one.cpu_seconds.append(time.process_time() - started)


def _trace(one: Made) -> None:
    """Note the share of nodes that ran as asked, where the runtime has a trace of its own."""
    assert one.session is not None
    placed = one.session.placement(one.feeds[0])
    if placed is not None:
        one.row |= {"coverage": placed.coverage, "coverage_source": placed.source}
