"""Several precisions of one recipe: the first that holds the contract, or the best."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.machine.machine_load import Load
from core.plugin.records import CandidateRecord
from core.run.benchmark import BenchmarkResult
from core.run.choose import best, nearness, why_best
from tests import toy
from tests.conftest import RECIPE, Command


@pytest.fixture
def ladder(tmp_path: Path) -> Path:
    """Return a recipe that leaves the quantizer to the precision, and the runtime to the target."""
    left_out = ("quantizer", "runtime", "host")
    lines = [line for line in RECIPE.splitlines() if line.partition(":")[0] not in left_out]
    file = tmp_path / "toy.yaml"
    file.write_text("\n".join([*lines, "target: pocket", "precision: fine", ""]))
    return file


def report(tmp_path: Path) -> dict[str, Any]:
    """Return the report of the newest run."""
    newest = max((tmp_path / "outputs" / "toy").glob("*/report.json"))
    content: dict[str, Any] = json.loads(newest.read_text())
    return content


def statuses(tmp_path: Path) -> dict[str, str]:
    """Return what became of every precision."""
    return {result["precision"]: result["status"] for result in report(tmp_path)["candidates"]}


def test_a_recipe_without_a_runtime_gets_that_of_its_target(
    command: Command, ladder: Path, tmp_path: Path
) -> None:
    """One line of YAML moves a recipe to another device, with the runtime of that target."""
    assert command(f"recipe={ladder}").code == 0
    assert report(tmp_path)["played_on"] == "a pocket calculator"


def test_a_ladder_steps_down_to_the_first_that_holds(
    command: Command, ladder: Path, tmp_path: Path
) -> None:
    """The report holds the precisions that were tried, with reasons; later ones were not run."""
    done = command(f"recipe={ladder}", "ladder=[rough,middling,fine]", "contract.min_snr_db=35")
    assert (done.code, done.err) == (0, "")
    assert statuses(tmp_path) == {"rough": "missed", "middling": "held", "fine": "not tried"}
    found = report(tmp_path)
    assert found["precision"] == "middling"
    said = "20 dB for first of line on a pocket calculator, 15 dB off"
    assert said in found["candidates"][0]["why"]
    assert found["chosen"] == "middling is the first of the ladder that holds the contract"
    assert toy.RAN.count("model") == 1
    assert toy.RAN.count("quantizer") == 2


def test_a_stage_that_fails_is_a_rung_that_does_not_hold(
    command: Command, ladder: Path, tmp_path: Path
) -> None:
    """A failed stage is reported, and the next precision is tried."""
    done = command(f"recipe={ladder}", "ladder=[broken,fine]")
    assert (done.code, done.err) == (0, "")
    assert statuses(tmp_path) == {"broken": "refused", "fine": "held"}


def test_a_ladder_whose_last_rung_fails_leaves_what_ran(
    command: Command, ladder: Path, tmp_path: Path
) -> None:
    """The report is that of the last precision that ran, with a reason for each one."""
    done = command(f"recipe={ladder}", "ladder=[rough,broken]", "contract.min_snr_db=35")
    assert done.code == 3
    assert "rough: `min_snr_db` asks for at least 35 dB: 20 dB" in done.err
    assert "broken: " in done.err
    assert statuses(tmp_path) == {"rough": "missed", "broken": "refused"}
    assert report(tmp_path)["precision"] == "rough"


def test_a_ladder_of_which_nothing_can_be_tried_is_told(command: Command, ladder: Path) -> None:
    """A ladder without any runnable precision leaves no report."""
    done = command(f"recipe={ladder}", "ladder=[broken]")
    assert done.code == 3
    assert "no precision could be tried" in done.err
    assert "broken: " in done.err


def test_a_ladder_that_nothing_holds_ships_nothing(
    command: Command, ladder: Path, tmp_path: Path
) -> None:
    """A missed ladder ends in exit code 3, a line per precision, and the last report, no bundle."""
    done = command(f"recipe={ladder}", "ladder=[rough,middling]", "contract.min_snr_db=90")
    assert done.code == 3
    assert "no precision holds the contract" in done.err
    assert "rough: `min_snr_db` asks for at least 90 dB: 20 dB" in done.err
    assert "middling: `min_snr_db` asks for at least 90 dB: 40 dB" in done.err
    assert report(tmp_path)["precision"] == "middling"
    assert not list((tmp_path / "outputs" / "toy").glob("*/bundle"))


def test_auto_chooses_among_what_holds(command: Command, ladder: Path, tmp_path: Path) -> None:
    """Of two equally fast precisions that hold, `auto` takes the one nearest to FP32."""
    done = command(
        f"recipe={ladder}", "auto=true", "contract.min_snr_db=35", "measure.budget_windows=1"
    )
    assert (done.code, done.err) == (0, "")
    assert statuses(tmp_path) == {
        "broken": "refused", "rough": "missed", "fine": "held", "middling": "held",
    }  # fmt: skip
    found = report(tmp_path)
    assert found["precision"] in {"fine", "middling"}
    assert f"{found['precision']} is the fastest that holds the contract" in found["chosen"]
    assert "timed in turn" in found["chosen"]
    (taken,) = (
        result for result in found["candidates"] if result["precision"] == found["precision"]
    )
    low, high = taken["spread"]
    assert low <= taken["rank"] <= high


def test_auto_for_the_smallest(command: Command, ladder: Path, tmp_path: Path) -> None:
    """A target may make `auto` choose the smallest precision instead of the fastest."""
    arguments = ["auto=true", "target.objective=smallest", "contract.min_snr_db=35"]
    done = command(f"recipe={ladder}", *arguments)
    assert (done.code, done.err) == (0, "")
    # The size of what each makes grows with the digits of its gain.
    assert statuses(tmp_path) == {
        "broken": "refused", "rough": "missed", "middling": "held", "fine": "not tried",
    }  # fmt: skip
    assert "middling is the smallest that holds the contract" in report(tmp_path)["chosen"]


def test_a_plan_of_a_ladder_shows_every_rung_and_runs_nothing(
    command: Command, ladder: Path
) -> None:
    """A plan lists every precision of the ladder and executes nothing."""
    done = command(f"recipe={ladder}", "ladder=[rough,fine]", "mode=plan")
    assert done.code == 0
    assert "precision rough" in done.out
    assert "precision fine" in done.out
    assert toy.RAN == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ladder=[rough,nonsense]"], "nonsense"),
        (["ladder=[int8]"], "does not run precision `int8`"),
        (["ladder=[fine]", "auto=true"], "both choose the precision"),
        (["auto=true", "target.objective=prettiest"], "objectives: fastest, smallest"),
        (["ladder=[../../evil]"], "is no name of a precision"),
        (["auto=true", "target.precisions=[/evil]"], "is no name of a precision"),
        (["~runtime", "target.runtime=../evil"], "is no name of a precision or plugin"),
    ],
)
def test_a_ladder_that_cannot_be_is_refused_before_anything_runs(
    command: Command, ladder: Path, arguments: list[str], said: str
) -> None:
    """An impossible ladder ends in exit code 2, and nothing ran."""
    done = command(f"recipe={ladder}", *arguments)
    assert done.code == 2, done.err
    assert said in done.err
    assert toy.RAN == []


def test_a_precision_on_the_command_line_is_the_only_rung(
    command: Command, ladder: Path, tmp_path: Path
) -> None:
    """A precision on the command line replaces the recipe's ladder."""
    assert command(f"recipe={ladder}", "ladder=[rough,middling]", "precision=fine").code == 0
    assert statuses(tmp_path) == {"fine": "held"}


def held(precision: str, rank: float, snr_db: float) -> CandidateRecord:
    """Return a candidate that holds."""
    return CandidateRecord(precision, "held", rank=rank, snr_db=snr_db, ranked_by=f"{rank:g} ms")


def test_the_best_is_the_least_and_the_nearest_among_equals() -> None:
    """Speeds within five per cent are equal, and then the nearest to FP32 wins."""
    results = [held("int8", 100, 30), held("w8a16", 104, 50), held("fp32", 130, 200)]
    assert best(results).precision == "w8a16"
    assert best([results[0], results[2], CandidateRecord("fp16", "missed")]).precision == "int8"


def test_the_reason_names_the_next_best() -> None:
    """The reason names the next best, which may be not quantising."""
    results = [held("fp32", 100, 200), held("int8", 180, 30)]
    assert why_best(results[0], results, "fastest") == (
        "do not quantise: fp32 is the fastest that holds the contract: 100 ms; int8, the next, "
        "takes 1.80 times as much"
    )
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


def test_a_precision_without_an_snr_is_nearer_than_none() -> None:
    """A precision with a negative SNR is nearer than one without an SNR."""
    results = [CandidateRecord("a8w8", "missed", snr_db=-3.0), CandidateRecord("int8", "missed")]
    assert max(results, key=nearness) is results[0]


def test_a_time_is_told_with_its_spread_and_its_load() -> None:
    """A time is shown with its spread and its load, because a median shows no uncertainty."""
    quiet = BenchmarkResult(0.0704, 0.0651, 0.0921, "CPU", Load(0.01, 2, heavy=False))
    assert quiet.said == "70 ms per window (65 to 92) on CPU, timed in turn"
    busy = BenchmarkResult(0.00123, 0.00119, 0.0031, "CPU", Load(1.3, 2, heavy=True))
    assert busy.said == (
        "1.2 ms per window (1.2 to 3.1) on CPU, timed in turn under load "
        "(other processes kept 1.3 of 2 cores busy)"
    )
