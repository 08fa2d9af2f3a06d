"""Times several artifacts in turn, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from core import material, share
from core.compare import sampled
from core.exchange import Made, Work
from core.kinds import Runtime
from core.plan import looked_up
from core.play import run_group
from core.progress import silent
from core.run import execute
from core.steps import Bench, Inputs, Step
from core.values import Artifact, Fact

if TYPE_CHECKING:
    import pluggy

    from core.store import Store

__all__ = ["Runner", "race"]

#: Rounds over the sampled windows, after one that warms up.
ROUNDS = 4


@dataclass(frozen=True)
class Runner:
    """One artifact with all that plays it."""

    name: str
    bench: Bench
    runtime: Runtime[Any]
    artifact: Artifact
    model: Artifact
    sample: Artifact


def race(
    runners: Sequence[Runner], store: Store, hook: pluggy.HookRelay
) -> dict[str, tuple[float, str]]:
    """Return the median seconds per window of every runner, and the device that it ran on.

    The store keeps the answer, as it keeps every other measurement.
    """

    def run(_: Inputs, work: Work) -> Made:
        with share.alone(lambda why: work.progress(0, 0, why)):
            facts = _timed(runners, work)
        file = work.folder / "facts.json"
        file.write_bytes(msgspec.json.encode(facts))
        return Made(file, "facts", "fp32", facts)

    step = Step(
        "race",
        "time them in turn",
        "core",
        (),
        {
            "source": material.source_digest(__name__),
            "runners": {
                r.name: {
                    "artifact": r.artifact.sha256,
                    "sample": r.sample.sha256,
                    **r.bench.depends_on_runtime(r.runtime),
                }
                for r in runners
            },
        },
        run,
    )
    plan = looked_up(runners[0].bench, [step], store)
    ran = execute(plan, store, hook).artifacts["race"]
    return {
        r.name: (ran.number(f"{r.name}.seconds"), str(ran.facts[f"{r.name}.device"]))
        for r in runners
    }


def _timed(runners: Sequence[Runner], work: Work) -> dict[str, Fact]:
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
                    lambda runner=runner, model=model: runner.bench.open(model),  # type: ignore[misc]  # bound now, not when called
                    Work(folder, work.progress, work.lasting),
                )
            )
            transform = runner.bench.transform(model)
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
    facts: dict[str, Fact] = {}
    for name, values in seconds.items():
        facts[f"{name}.seconds"] = statistics.median(values)
        facts[f"{name}.device"] = devices[name]
    return facts
