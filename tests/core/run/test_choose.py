"""Several precisions of one recipe, in whole commands: the first that holds, or the best."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.plan.candidates import Candidate
from core.run import choose
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


def test_a_ladder_that_is_stopped_shows_what_it_tried(
    command: Command, ladder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After Ctrl-C the precisions that were tried are compared; the message follows."""
    run = choose._attempt

    def stopped(candidate: Candidate, how: Any) -> Any:
        if candidate.precision == "fine":
            raise KeyboardInterrupt
        return run(candidate, how)

    monkeypatch.setattr(choose, "_attempt", stopped)
    words = (f"recipe={ladder}", "ladder=[rough,middling,fine]", "contract.min_snr_db=90")
    done = command(*words, "reporter=[terminal,json]")
    assert done.code == 130
    assert "interrupted" in done.err
    assert "1 of 3 precisions tried, rough missed" in done.out
    assert "2 of 3 precisions tried, middling missed, about " in done.out
    rows = [line.split()[:2] for line in done.out.partition("Precisions")[2].splitlines()]
    assert [row for row in rows if "missed" in row] == [["rough", "missed"], ["middling", "missed"]]


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
