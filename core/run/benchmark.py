"""Times several artifacts in turn, so that other load on the machine affects all of them alike."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from core.inference.context import RunContext
from core.inference.windows import run_group
from core.machine import cores
from core.machine.machine_load import Load, Watch, facts_of, load_in
from core.measure.metrics import percentiles
from core.plan.plan import looked_up
from core.plugin.kinds import Runtime
from core.plugin.progress import silent
from core.plugin.stages import Session, StageContext, StageResult
from core.plugin.values import Artifact, Fact
from core.run.execute import execute
from core.steps.compare import sampled
from core.steps.step import Inputs, Step

if TYPE_CHECKING:
    import pluggy

    from core.store.local import Store

__all__ = ["BenchmarkResult", "Runner", "benchmark"]

#: Rounds over the sampled windows, after one that warms up.
ROUNDS = 4
#: The fact that says whether this machine computed, until its load is known.
HERE = "here"


@dataclass(frozen=True)
class Runner:
    """One artifact with everything that it takes to play it."""

    name: str
    context: RunContext
    runtime: Runtime[Any]
    artifact: Artifact
    model: Artifact
    sample: Artifact


@dataclass(frozen=True)
class BenchmarkResult:
    """The time of a window of one runner: the median in seconds, with its 5th and 95th percentile.

    `load` is what else this machine did during the benchmark; None if it is unknown.
    """

    seconds: float
    low: float
    high: float
    device: str
    load: Load | None = None

    @property
    def said(self) -> str:
        """Return it in words: "70 ms per window (65 to 92) on this CPU, timed in turn"."""
        median, low, high = (1000 * value for value in (self.seconds, self.low, self.high))
        digits = 0 if median >= 10 else 1 if median >= 1 else 3  # noqa: PLR2004  # of milliseconds
        said = f"{median:.{digits}f} ms per window ({low:.{digits}f} to {high:.{digits}f}) on "
        said += f"{self.device}, timed in turn"
        return f"{said} under load ({self.load.said})" if self.load and self.load.heavy else said


def benchmark(
    runners: Sequence[Runner], store: Store, hook: pluggy.HookRelay
) -> dict[str, BenchmarkResult]:
    """Return the time of a window of every runner, by the name of the runner.

    The store keeps the answer, as it keeps every other measurement.
    """

    def run(_: Inputs, work: StageContext) -> StageResult:
        with cores.exclusive(lambda why: work.progress(0, 0, why)):
            watch = Watch()
            facts = _timed(runners, work)
            # If another machine computes, this machine's load says nothing about the times.
            facts |= facts_of(watch.load()) if facts.pop(HERE) else {}
        file = work.folder / "facts.json"
        file.write_bytes(msgspec.json.encode(facts))
        return StageResult(file, "facts", "fp32", facts)

    step = Step(
        "benchmark",
        "time them in turn",
        "core",
        (),
        {
            "runners": {
                r.name: {
                    "artifact": r.artifact.sha256,
                    "sample": r.sample.sha256,
                    **r.context.depends_on_runtime(r.runtime),
                }
                for r in runners
            },
        },
        run,
        calls=(RunContext.open, RunContext.transform, Session),
    )
    plan = looked_up(runners[0].context, [step], store)
    ran = execute(plan, store, hook).artifacts["benchmark"]
    return {
        r.name: BenchmarkResult(
            ran.number(f"{r.name}.seconds"),
            ran.number(f"{r.name}.low"),
            ran.number(f"{r.name}.high"),
            str(ran.facts[f"{r.name}.device"]),
            load_in(ran.facts),
        )
        for r in runners
    }


def _timed(runners: Sequence[Runner], work: StageContext) -> dict[str, Fact]:
    seconds: dict[str, list[float]] = {runner.name: [] for runner in runners}
    devices: dict[str, str] = {}
    with ExitStack() as stack:
        opened = []
        for runner in runners:
            model, folder = runner.model, work.folder / runner.name
            folder.mkdir()
            session = stack.enter_context(
                runner.runtime.open(
                    runner.artifact,
                    lambda runner=runner, model=model: runner.context.open(model),  # type: ignore[misc]  # bound now, not when called
                    StageContext(folder, work.progress, work.state_dir),
                )
            )
            transform = runner.context.transform(model)
            feeds = [transform.forward(piece)[0] for piece in sampled(runner.sample)[0]]
            opened.append((runner.name, session, feeds))
            devices[runner.name] = session.device
        for number in range(ROUNDS + 1):
            for name, session, feeds in opened:
                taken: list[float] = []
                for _ in run_group(session, feeds, silent(), taken):
                    pass
                seconds[name] += taken if number else []
                work.progress(number, ROUNDS + 1, name)
        facts: dict[str, Fact] = {HERE: all(session.here for _, session, _ in opened)}
    for name, values in seconds.items():
        low, median, high = percentiles(values)
        facts |= {f"{name}.seconds": median, f"{name}.low": low, f"{name}.high": high}
        facts[f"{name}.device"] = devices[name]
    return facts
