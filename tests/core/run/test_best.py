"""Which of several candidates is run, and which of those that ran is the best."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from core import Artifact, Metric
from core.errors import MisfitError, StageError
from core.plan.candidates import Candidate
from core.plugin.records import CandidateRecord, Judged
from core.run.choose import (
    NO_CLOCK,
    Choice,
    Trial,
    Tried,
    best,
    best_of,
    first_that_holds,
    nearness,
    why_best,
)

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from core.plan.plan import Plan
    from core.run.execute import Outcome


def held(precision: str, rank: float, snr_db: float) -> CandidateRecord:
    """Return a candidate that holds."""
    return CandidateRecord(precision, "held", rank=rank, snr_db=snr_db, ranked_by=f"{rank:g} ms")


def test_the_best_is_the_least_and_the_nearest_among_equals() -> None:
    """Speeds within five per cent are equal, and then the nearest to FP32 wins."""
    results = [held("int8", 100, 30), held("w8a16", 104, 50), held("fp32", 130, 200)]
    assert best(results).precision == "w8a16"
    assert best([results[0], results[2], CandidateRecord("fp16", "missed")]).precision == "int8"
    lighter = CandidateRecord("w4a16", "refused", rank=1.0)
    assert best([lighter, results[0], results[2]]).precision == "int8", "it holds"


def test_the_reason_names_the_next_best() -> None:
    """The reason names the next best, which may be not quantising."""
    results = [held("fp32", 100, 200), held("int8", 180, 30)]
    assert why_best(results[0], results, "fastest") == (
        "do not quantise: fp32 is the fastest that holds the contract: 100 ms; int8, the next, "
        "takes 1.80 times as much"
    )
    slower = [results[0], held("w8a16", 300, 50), results[1]]
    assert "; int8, the next, takes 1.80 times" in why_best(results[0], slower, "fastest")
    alone = [held("int8", 1, 30)]
    assert why_best(alone[0], alone, "fastest").endswith("no other candidate holds it")


def test_what_could_not_be_run_is_no_next_best() -> None:
    """A precision that missed, or whose stage failed after ranking, is no next best."""
    results = [
        held("int8", 100, 30),
        CandidateRecord("w4a16", "refused", rank=101),
        CandidateRecord("a8w8", "missed"),
    ]
    assert why_best(results[0], results, "smallest").endswith("100 ms; no other candidate holds it")


def test_between_equals_nothing_is_said_to_be_further_away() -> None:
    """Of two equally fast and equally near precisions the first is taken, and no gap is stated."""
    results = [held("fp16", 100, 60), held("fp32", 100, 60)]
    assert best(results) is results[0]
    said = "; fp32 is within 5% of it, and no nearer to FP32"
    assert why_best(results[0], results, "fastest").endswith(said)


def test_something_that_weighs_nothing_can_be_the_best() -> None:
    """A graph without weights moves no bytes, and can still be the best."""
    results = [held("fp32", 0, 200), held("fp16", 5, 60)]
    assert why_best(best(results), results, "smallest").endswith("; fp16 is the next")
    weightless = [results[0], held("fp16", 0.5, 60), held("bf16", 0, 50)]
    assert why_best(results[0], weightless, "smallest").endswith("; bf16 is the next")


def test_a_precision_without_an_snr_is_nearer_than_none() -> None:
    """A precision with a negative SNR is nearer than one without an SNR."""
    results = [CandidateRecord("a8w8", "missed", snr_db=-3.0), CandidateRecord("int8", "missed")]
    assert max(results, key=nearness) is results[0]


class Bench:
    """Candidates of known size and SNR, and a record of those that were made and run."""

    def __init__(self, objective: str = "smallest", *, plays: bool = True) -> None:
        target = SimpleNamespace(objective=objective)
        self.pipeline = SimpleNamespace(plays_itself=plays, target=target)
        self.found: list[Candidate] = []
        self.sizes: dict[str, tuple[int, float]] = {}
        self.snrs: dict[str, float] = {}
        self.ran: list[str] = []
        self.told: list[tuple[str, int, int]] = []

    def add(self, precision: str, size: int, snr_db: float, moved: float = 0.0) -> None:
        """Add a precision that the plan accepts."""
        plan = cast("Plan", SimpleNamespace(pipeline=self.pipeline, precision=precision))
        self.found.append(Candidate(precision, cast("DictConfig", None), plan))
        self.sizes[precision], self.snrs[precision] = (size, moved), snr_db

    def make(self, plan: Any) -> dict[str, Artifact]:
        """Return the artifacts of a plan; a size below 0 is a stage that fails."""
        size, moved = self.sizes[plan.precision]
        if size < 0:
            raise StageError(f"{plan.precision} cannot be made")
        made = {"exporter": artifact(7), "quantizer": artifact(size)}
        if moved:
            made["precision_census"] = artifact(0, moved_bytes=moved)
        return made

    def run(self, candidate: Candidate) -> Tried:
        """Return a run whose contract asks for 30 dB; one without an SNR is a failed stage."""
        self.ran.append(candidate.precision)
        snr = self.snrs[candidate.precision]
        if math.isnan(snr):
            raise StageError(f"{candidate.precision} cannot run")
        judged = Judged("min_snr_db", 30.0, snr, "dB", "a CPU", held=snr >= 30, is_least=True)
        metric = Metric("parity_snr", snr, "dB", "a CPU", "song", "voice", better="higher")
        outcome = SimpleNamespace(shipped=artifact(self.sizes[candidate.precision][0]))
        plan = cast("Plan", candidate.plan)
        return Tried(candidate, plan, cast("Outcome", outcome), (metric,), (), (judged,))

    def choose(self) -> Choice:
        """Return the best that holds."""
        return best_of(self.found, self.trial)

    @property
    def trial(self) -> Trial:
        """Return how candidates are tried; reporters' hooks are kept in `told`."""
        return Trial(self.run, self.make, cast("Any", None), cast("Any", self))

    def luthier_precision_tried(self, record: CandidateRecord, done: int, total: int) -> None:
        """Keep what reporters are told."""
        self.told.append((record.precision, done, total))


def artifact(size: int, **facts: float) -> Artifact:
    """Return an artifact of so many bytes."""
    return Artifact("", "", "onnx", "fp32", "0" * 64, size, (), facts=dict(facts))


def test_what_cannot_be_best_is_not_run() -> None:
    """The smallest runs first, then what is within five per cent of the smallest that holds."""
    bench = Bench()
    for precision, size, snr in (
        ("fp32", 4_000_000, 99.0), ("c", 1_060_000, 60.0), ("b", 1_040_000, 50.0),
        ("a", 1_000_000, 40.0), ("x", 900_000, 20.0),
    ):  # fmt: skip
        bench.add(precision, size, snr)
    choice = bench.choose()
    assert bench.ran == ["x", "a", "b"]
    assert {r.precision: r.status for r in choice.candidates} == {
        "fp32": "not tried", "c": "not tried", "b": "held", "a": "held", "x": "missed",
    }  # fmt: skip
    assert [r.rank for r in choice.candidates] == [4e6, 1.06e6, 1.04e6, 1e6, 9e5]
    assert choice.tried is not None
    assert choice.tried.candidate.precision == "b", "the nearest to FP32 of two equals"
    assert choice.why.startswith("b is the smallest that holds the contract: 1.0 MB; ")
    assert [r.bytes for r in choice.candidates] == [None, None, 1_040_000, 1_000_000, 900_000]


def test_bytes_replace_a_clock() -> None:
    """If no clock measures the device, the bytes that a window moves decide, and that is said."""
    bench = Bench("fastest", plays=False)
    bench.add("int8", 5, 40.0, moved=9e6)
    bench.add("fp16", 4, 50.0, moved=18e6)
    choice = bench.choose()
    assert bench.ran == ["int8"]
    moved = "9 MB of weights and activations move per window"
    assert f"int8 is the fastest that holds the contract: {moved}" in choice.why
    assert choice.why.endswith("takes 2.00 times as much" + NO_CLOCK)


def test_for_the_smallest_the_size_counts_and_not_what_moves() -> None:
    """A count of moved bytes does not rank precisions for the smallest file."""
    bench = Bench()
    bench.add("a", 2_000_000, 40.0, moved=1e6)
    bench.add("b", 1_000_000, 40.0, moved=2e6)
    choice = bench.choose()
    assert bench.ran == ["b"]
    assert choice.why.startswith("b is the smallest that holds the contract: 1.0 MB; ")


def test_what_cannot_be_made_or_run_is_refused_with_its_reason() -> None:
    """A failed stage, or a plan that does not fit, leaves a reason and does not end the choice."""
    bench = Bench()
    bench.add("unmade", -1, 40.0)
    bench.add("unrun", 1, math.nan)
    misfit = MisfitError("it does not fit")
    bench.found.append(Candidate("misfit", cast("DictConfig", None), None, misfit))
    bench.add("good", 5, 40.0)
    choice = bench.choose()
    assert [(r.precision, r.status, r.why) for r in choice.candidates] == [
        ("unmade", "refused", "unmade cannot be made"),
        ("unrun", "refused", "unrun cannot run"),
        ("misfit", "refused", "it does not fit"),
        ("good", "held", ""),
    ]
    assert bench.ran == ["unrun", "good"]
    assert bench.told == [("unmade", 1, 4), ("misfit", 2, 4), ("unrun", 3, 4), ("good", 4, 4)]
    assert choice.why.endswith("no other candidate holds it")


def test_if_none_holds_the_nearest_of_those_that_ran_is_there() -> None:
    """Without a winner the nearest to FP32 is reported, and it must have run."""
    bench = Bench()
    bench.add("unmade", -1, 99.0)
    bench.add("near", 2, 29.0)
    bench.add("far", 1, 3.0)
    choice = bench.choose()
    assert choice.tried is not None
    assert choice.tried.candidate.precision == "near"
    assert choice.why == ""
    assert choice.lines()[0] == "unmade: unmade cannot be made"
    assert choice.lines()[2].startswith("far: `min_snr_db` asks for at least 30 dB: 3 dB")
    nothing = Bench()
    nothing.add("unmade", -1, 99.0)
    assert nothing.choose().tried is None


def test_a_precision_on_the_bound_of_equality_is_still_to_be_tried() -> None:
    """One that is exactly five per cent worse than the best is tried, and counted before."""
    bench = Bench()
    bench.add("a", 100, 40.0)
    bench.add("b", 105, 50.0)
    bench.choose()
    assert bench.told == [("a", 1, 2), ("b", 2, 2)]


def test_a_ladder_ends_at_the_first_that_holds() -> None:
    """Later precisions are not tried, and without a winner the last that ran is reported."""
    bench = Bench()
    for precision, snr in (("a", 10.0), ("b", 40.0), ("c", 50.0), ("d", 60.0)):
        bench.add(precision, 1, snr)
    choice = first_that_holds(bench.found, bench.trial)
    assert bench.told == [("a", 1, 4), ("b", 2, 2)]
    assert [r.status for r in choice.candidates] == ["missed", "held", "not tried", "not tried"]
    assert choice.why == "b is the first of the ladder that holds the contract"
    bench.snrs = dict.fromkeys("abcd", 10.0) | {"d": math.nan}
    choice = first_that_holds(bench.found, bench.trial)
    assert choice.tried is not None
    assert (choice.tried.candidate.precision, choice.why) == ("c", "")
