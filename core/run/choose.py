"""Chooses among several precisions: the first that holds the contract, or the best of all.

The target's objective says what the best is. For the fastest, the candidates are timed in turn if
they play on the device itself. If only an emulator is at hand, whose clock says nothing about the
device, the bytes that a window moves stand for its time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from core.errors import StageError
from core.measure import contract
from core.plan.candidates import Candidate
from core.plan.plan import Plan
from core.plugin.records import BudgetLine, CandidateRecord, Judged
from core.plugin.step_names import MODEL, PRECISION_CENSUS, SAMPLE
from core.plugin.values import Artifact, Metric
from core.run.benchmark import Runner, benchmark
from core.run.execute import Outcome

if TYPE_CHECKING:
    import pluggy

    from core.store.local import Store

__all__ = ["Choice", "Trial", "Tried", "best", "best_of", "first_that_holds", "why_best"]

#: A candidate that is at most this much worse than the best counts as equal to it, and the nearest
#: to FP32 of the equal ones is taken: times on busy machines differ by as much between runs.
EQUAL = 0.05
NO_CLOCK = "; bytes replace time, because no clock here measures the device"


@dataclass(frozen=True)
class Tried:
    """A candidate that ran, with what it made and how its contract was judged."""

    candidate: Candidate
    plan: Plan
    outcome: Outcome
    metrics: tuple[Metric, ...]
    budget: tuple[BudgetLine, ...]
    judged: tuple[Judged, ...]


@dataclass(frozen=True)
class Choice:
    """The chosen candidate (`tried`; None if nothing ran), all candidates, and the reason."""

    tried: Tried | None
    candidates: tuple[CandidateRecord, ...] = ()
    why: str = ""

    def lines(self) -> list[str]:
        """Return one line per precision: why it was not taken."""
        return [f"{result.precision}: {result.why or result.status}" for result in self.candidates]


@dataclass(frozen=True)
class Trial:
    """How candidates are tried: `run` runs one whole, `make` only makes and counts its graph."""

    run: Callable[[Candidate], Tried]
    make: Callable[[Plan], dict[str, Artifact]]
    store: Store
    hook: pluggy.HookRelay

    def tell(self, results: Sequence[CandidateRecord], left: int) -> None:
        """Tell the reporters the last of the results, and that at most `left` more are tried."""
        done = len(results)
        self.hook.luthier_precision_tried(record=results[-1], done=done, total=done + left)


def first_that_holds(found: Sequence[Candidate], trial: Trial) -> Choice:
    """Run one candidate after the other until one holds; if none does, take the last that ran."""
    results: list[CandidateRecord] = []
    last: Tried | None = None
    for number, candidate in enumerate(found):
        tried, result = _attempt(candidate, trial.run)
        results.append(result)
        last = tried or last
        trial.tell(results, 0 if result.status == "held" else len(found) - len(results))
        if result.status == "held":
            rest = [CandidateRecord(c.precision, "not tried") for c in found[number + 1 :]]
            why = f"{candidate.precision} is the first of the ladder that holds the contract"
            return Choice(tried, (*results, *rest), why)
    return Choice(last, tuple(results))


def best_of(found: Sequence[Candidate], trial: Trial) -> Choice:
    """Choose the best that holds; if none does, the nearest to FP32 of those that ran.

    Where a clock decides, every candidate runs and those that hold are timed in turn. Otherwise
    the order is known once the graphs are made: the best is tried first, and the first that holds
    is taken.
    """
    plans = [candidate.plan for candidate in found if candidate.plan is not None]
    target = plans[0].pipeline.target
    tries: dict[str, Tried] = {}
    timed = target.objective == "fastest" and all(p.pipeline.plays_itself for p in plans)
    results = _all_timed(found, trial, tries) if timed else _in_order(found, trial, tries)
    held = [result for result in results if result.status == "held"]
    if not held:
        nearest = max(results, key=lambda r: (r.precision in tries, nearness(r)))
        return Choice(tries.get(nearest.precision), tuple(results))
    chosen = best(held)
    why = why_best(chosen, results, target.objective)
    if not timed and target.objective == "fastest":
        why += NO_CLOCK
    return Choice(tries[chosen.precision], tuple(results), why)


def _all_timed(
    found: Sequence[Candidate], trial: Trial, tries: dict[str, Tried]
) -> list[CandidateRecord]:
    results: list[CandidateRecord] = []
    for candidate in found:
        results.append(_result_of(candidate, trial, tries))
        trial.tell(results, len(found) - len(results))
    runners = [_runner(r.precision, tries[r.precision]) for r in results if r.status == "held"]
    times = benchmark(runners, trial.store, trial.hook) if runners else {}
    return [
        replace(
            _ranked(result, measured.seconds, measured.said), spread=(measured.low, measured.high)
        )
        if (measured := times.get(result.precision))
        else result
        for result in results
    ]


def _in_order(
    found: Sequence[Candidate], trial: Trial, tries: dict[str, Tried]
) -> list[CandidateRecord]:
    """Make every graph, then try the best first; once one holds, those below it are not tried."""
    ranks: dict[str, tuple[float, str]] = {}
    results: dict[str, CandidateRecord] = {}
    told: list[CandidateRecord] = []
    for candidate in found:
        try:
            if candidate.plan is not None:
                ranks[candidate.precision] = _rank(candidate.plan, trial.make(candidate.plan))
        except StageError as error:
            results[candidate.precision] = CandidateRecord(
                candidate.precision, "refused", error.what
            )
            told.append(results[candidate.precision])
            trial.tell(told, len(found) - len(told))
    enough = math.inf
    for candidate in sorted(found, key=lambda c: ranks.get(c.precision, (0.0, ""))[0]):
        name = candidate.precision
        if name in results:
            continue
        rank, words = ranks.get(name, (None, ""))
        if rank is not None and rank > enough:
            results[name] = CandidateRecord(name, "not tried", rank=rank, ranked_by=words)
            continue
        results[name] = _ranked(_result_of(candidate, trial, tries), rank, words)
        if results[name].status == "held" and rank is not None:
            enough = min(enough, rank * (1 + EQUAL))
        told.append(results[name])
        left = [c.precision for c in found if c.precision not in results]
        trial.tell(told, sum(ranks.get(other, (0.0, ""))[0] <= enough for other in left))
    return [results[candidate.precision] for candidate in found]


def _rank(plan: Plan, artifacts: dict[str, Artifact]) -> tuple[float, str]:
    """Return what ranks a candidate where no clock decides: as a number, and in words."""
    # Only a graph says how many bytes it moves; of other artifacts the size is known.
    if plan.pipeline.target.objective == "smallest" or PRECISION_CENSUS not in artifacts:
        size = next(a.bytes for name, a in reversed(artifacts.items()) if name != PRECISION_CENSUS)
        return size, f"{size / 1e6:.1f} MB"
    moved = artifacts[PRECISION_CENSUS].number("moved_bytes")
    return moved, f"{moved / 1e6:.0f} MB of weights and activations move per window"


def _ranked(result: CandidateRecord, rank: float | None, words: str) -> CandidateRecord:
    return replace(result, rank=rank, ranked_by=words)


def best(results: Sequence[CandidateRecord]) -> CandidateRecord:
    """Return the ranked candidate that ranks first, the nearest to FP32 among equals."""
    held = [
        (result.rank, result)
        for result in results
        if result.rank is not None and result.status == "held"
    ]
    least = min(rank for rank, _ in held)
    equal = [result for rank, result in held if rank <= least * (1 + EQUAL)]
    return max(equal, key=nearness)


def nearness(result: CandidateRecord) -> float:
    """Return the lowest SNR to FP32 of a candidate; minus infinity if it has none."""
    return -math.inf if result.snr_db is None else result.snr_db


def why_best(chosen: CandidateRecord, results: Sequence[CandidateRecord], objective: str) -> str:
    """Return why `chosen` was taken: what it was ranked by, and what stands next to it."""
    said = f"{chosen.precision} is the {objective} that holds the contract: {chosen.ranked_by}"
    stands = ("held", "not tried")
    others = [r for r in results if r.rank is not None and r is not chosen and r.status in stands]
    if not others:
        return f"{said}; no other candidate holds it"
    second = min(others, key=lambda result: result.rank or 0.0)
    if not chosen.rank:
        return f"{said}; {second.precision} is the next"
    ratio = (second.rank or 0.0) / chosen.rank
    if ratio <= 1 + EQUAL:
        return f"{said}; {second.precision} is within {EQUAL:.0%} of it, and no nearer to FP32"
    said += f"; {second.precision}, the next, takes {ratio:.2f} times as much"
    return f"do not quantise: {said}" if chosen.precision == "fp32" else said


def _result_of(candidate: Candidate, trial: Trial, tries: dict[str, Tried]) -> CandidateRecord:
    """Return the record of a candidate; if it ran, add it to `tries`."""
    if candidate.misfit is not None:
        return CandidateRecord(candidate.precision, "refused", candidate.misfit.what)
    tried, result = _attempt(candidate, trial.run)
    if tried is not None:
        tries[candidate.precision] = tried
    return result


def _attempt(
    candidate: Candidate, run: Callable[[Candidate], Tried]
) -> tuple[Tried | None, CandidateRecord]:
    """Run a candidate; if a stage cannot do it, its record says so, and the choice goes on."""
    try:
        tried = run(candidate)
    except StageError as error:
        return None, CandidateRecord(candidate.precision, "refused", error.what)
    missed = contract.missed(tried.judged)
    parity = contract.lowest_parity(tried.metrics, tried.budget)
    return tried, CandidateRecord(
        candidate.precision,
        "missed" if missed else "held",
        "; ".join(contract.story(one) for one in missed),
        tried.judged,
        parity.value if parity else None,
        tried.outcome.shipped.bytes,
    )


def _runner(name: str, tried: Tried) -> Runner:
    artifacts = tried.outcome.artifacts
    context = tried.plan.context
    return Runner(
        name,
        context,
        context.pipeline.runtime,
        tried.outcome.played,
        artifacts[MODEL],
        artifacts[SAMPLE],
    )
