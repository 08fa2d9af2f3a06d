"""What a recipe must hold: judged on what was measured, and nothing is shipped that does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.contract import Limit, limits_of, missed, story
from core.record import Judged
from tests import toy
from tests.conftest import Command


def folders(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "outputs" / "toy").glob("*"))


def test_a_contract_that_holds_changes_nothing(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """Exit code 0, a bundle, and every limit in the report with what was measured."""
    done = command(f"recipe={recipe}", "contract.min_snr_db=50", "contract.max_largest=100")
    assert (done.code, done.err) == (0, "")
    (folder,) = folders(tmp_path)
    assert (folder / "bundle").is_dir()
    judged = json.loads((folder / "report.json").read_text())["contract"]
    assert [(one["name"], one["held"]) for one in judged] == [
        ("min_snr_db", True),
        ("max_largest", True),
    ]


def test_a_breach_is_exit_code_3_and_ships_nothing(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """The number, by how much it is off, the stage that lost it; a report but no bundle."""
    done = command(f"recipe={recipe}", "quantizer.loss=0.1", "contract.min_snr_db=30")
    assert done.code == 3
    assert "`min_snr_db` asks for at least 30 dB: 20 dB on a pocket calculator" in done.err
    assert "10 dB off; lost by quantizer" in done.err
    assert "Traceback" not in done.err
    (folder,) = folders(tmp_path)
    assert (folder / "report.json").is_file()
    assert not (folder / "bundle").exists()


def test_what_an_evaluator_measures_can_be_a_limit(command: Command, recipe: Path) -> None:
    """The toy evaluator offers `max_largest`."""
    done = command(f"recipe={recipe}", "contract.max_largest=1")
    assert done.code == 3
    assert "`max_largest` asks for at most 1" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["contract.min_snr=30"], ["`contract.min_snr`", "did you mean `min_snr_db`"]),
        (["contract.min_snr_db=high"], ["contract.min_snr_db"]),
        (
            ["contract.max_largest=1", "evaluator=[]"],
            ["no evaluator of the recipe measures it", "evaluator=[largest]"],
        ),
        (
            ["contract.max_chunk_ms=5"],
            ["runtime `distant` is no measure of the device's speed", "contract.max_chunk_ms=null"],
        ),
    ],
)
def test_a_limit_that_cannot_be_judged_is_refused_before_anything_runs(
    command: Command, recipe: Path, arguments: list[str], said: list[str]
) -> None:
    """Exit code 2, and what would do."""
    done = command(f"recipe={recipe}", *arguments)
    assert done.code == 2, done.err
    for words in said:
        assert words in done.err
    assert toy.RAN == []


def test_time_is_judged_where_the_device_plays(command: Command, recipe: Path) -> None:
    """A runtime that plays whole inputs answers for its speed and its memory."""
    arguments = ["runtime=plain", "~runtime@host", "contract.max_memory_mb=1"]
    done = command(f"recipe={recipe}", *arguments)
    assert done.code == 3
    assert "`max_memory_mb` asks for at most 1 MB" in done.err


def test_a_fallen_limit_in_words() -> None:
    """Silence is no proof: what nothing measured is not held."""
    silent = Judged("min_npu_coverage", 1.0, None, "", "", held=False)
    assert missed([silent]) == [silent]
    assert "nothing measured it" in story(silent)
    over = Judged("max_size_mb", 2.0, 2.5, "MB", "the file", held=False, guilty="made by runtime")
    assert story(over) == (
        "`max_size_mb` asks for at most 2 MB: 2.5 MB on the file, 0.5 MB off; made by runtime"
    )


def test_limits_without_a_bound_are_none() -> None:
    """A limit is switched off by null."""
    assert limits_of({"min_snr_db": None, "max_size_mb": 2.0}) == (Limit("max_size_mb", 2.0),)
