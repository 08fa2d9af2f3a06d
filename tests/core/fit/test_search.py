"""`mode=fit`: the longest window that compiles, what is kept of the search, and what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.fit.search import longest_fitting
from tests import toy
from tests.conftest import Command, Done


@pytest.fixture
def search(command: Command, recipe: Path) -> Any:
    """Return a function that runs `mode=fit` on the toy recipe, at one precision."""

    def run(*arguments: str) -> Done:
        one = [] if any(a.startswith("fit.precisions") for a in arguments) else ["precision=int8"]
        return command(f"recipe={recipe}", "mode=fit", *one, *arguments)

    return run


def found(tmp_path: Path) -> dict[str, Any]:
    """Return what the newest search wrote."""
    (*_, file) = sorted(tmp_path.glob("outputs/toy/*/fit.json"))
    result: dict[str, Any] = json.loads(file.read_text())
    return result


@given(low=st.integers(1, 40), span=st.integers(0, 60), border=st.integers(0, 120))
def test_the_search_finds_the_border(low: int, span: int, border: int) -> None:
    """For any border, the longest comes first, no number comes twice, and few come in all."""
    high, asked = low + span, list[int]()

    def fits(number: int) -> bool:
        asked.append(number)
        return number <= border

    expected = min(border, high) if border >= low else None
    assert longest_fitting(low, high, fits) == expected
    assert asked[0] == high
    assert len(asked) == len(set(asked)) <= 2 + span.bit_length()


def test_the_longest_that_fits_is_found_and_told(search: Any, tmp_path: Path) -> None:
    """The result is a table with a line per window, a sentence, the option, JSON and a page."""
    done = search("runtime.room=5")
    assert (done.code, done.err) == (0, "")
    assert "int8: 5 along place fits, 6 does not: chunker.length=5" in done.out
    assert "no: room" in done.out
    result = found(tmp_path)
    (table,) = result["precisions"]
    rows = {row["length"]: row["verdict"] for row in table["rows"]}
    assert {length for length, verdict in rows.items() if verdict["fits"]} == {1, 4, 5}
    assert rows[8]["why"] == ["8 places do not fit", "take fewer"]
    assert rows[5]["facts"] == {"room_left_bytes": 0}
    assert rows[5]["seconds"] > 0
    assert rows[8]["peak_memory_mb"] > 0
    assert result["command"].endswith("mode=fit precision=int8 runtime.room=5")
    page = next(tmp_path.glob("outputs/toy/*/fit.md")).read_text()
    assert "| int8 | 6 | no: room | - |" in page
    assert "no device took part" in page


def test_where_the_longest_fits_nothing_else_is_tried(search: Any, tmp_path: Path) -> None:
    """Where the longest fits, only it is tried: the training window, or `fit.longest` if given."""
    done = search()
    assert "int8: 8 along place fits, the upper end of the search" in done.out
    assert len(found(tmp_path)["precisions"][0]["rows"]) == 1
    done = search("fit.longest=10", "fit.step=4")
    assert "int8: 12 along place fits" in done.out, "a multiple of the step, at or above the end"


def test_where_nothing_fits_that_is_said(search: Any) -> None:
    """Where the shortest also fails after the longest, the search ends with that result."""
    done = search("runtime.room=1", "fit.shortest=2")
    assert done.code == 0
    assert "int8: no window that was tried fits, down to 2 along place" in done.out
    assert toy.RAN.count("runtime") == 2


def test_asking_again_is_free(search: Any) -> None:
    """Refusals are kept like successes: the second search executes nothing."""
    first = search("runtime.room=5").out
    toy.RAN.clear()
    again = search("runtime.room=5").out
    assert toy.RAN == []
    assert "tried now" in first
    assert "tried now" not in again
    assert "does not fit: 8 places do not fit, cached from" in again


def test_a_limit_is_part_of_the_question(search: Any) -> None:
    """A search with a higher limit compiles again."""
    search("runtime.room=5")
    assert "int8: 7 along place fits" in search("runtime.room=7").out


def test_what_may_pass_next_time_is_not_kept(search: Any) -> None:
    """A window whose compiler the system killed is tried again."""
    search("runtime.room=1", "runtime.cacheable=false", "fit.shortest=2")
    toy.RAN.clear()
    search("runtime.room=1", "runtime.cacheable=false", "fit.shortest=2")
    assert toy.RAN.count("runtime") == 2


def test_a_stage_that_fails_is_no_verdict(search: Any) -> None:
    """A stage that fails at some lengths is shown in the table, and its failure is not kept."""
    done = search("quantizer.fail=bug")
    assert "no: a stage failed" in done.out
    assert done.code == 1, "no attempt got as far as the compiler"
    assert "int8: quantizer `coarse` failed: ZeroDivisionError" in done.err
    assert "cached from" not in search("quantizer.fail=bug").out


def test_every_precision_of_the_target_is_looked_at(search: Any, tmp_path: Path) -> None:
    """The target's precisions, or those the recipe names, are searched with their presets."""
    search("fit.precisions=[fp16,w8a16]")
    assert [t["precision"] for t in found(tmp_path)["precisions"]] == ["fp16", "w8a16"]


def test_a_sweep_searches_once_for_each_of_its_jobs(search: Any) -> None:
    """Each job of a sweep composes its precisions with its own overrides."""
    done = search("-m", "runtime.room=5,7")
    assert (done.code, done.err) == (0, "")
    assert "int8: 5 along place fits" in done.out
    assert "int8: 7 along place fits" in done.out


def test_quantizers_see_few_windows_and_that_is_said(search: Any, tmp_path: Path) -> None:
    """Quantizers get few windows with a notice: only the shape decides whether a graph fits."""
    done = search("fit.calibration_windows=1")
    assert "Quantizers saw 1 calibration window(s) at most" in done.out
    search("fit.calibration_windows=null", "runtime.room=999")
    files = tmp_path.glob("store/quantizer/*/artifact.json")
    kept = [json.loads(file.read_text())["content"]["artifact"] for file in files]
    assert sorted(a["facts"]["windows"] for a in kept) == [1, 2]


def test_ctrl_c_keeps_what_was_found(
    search: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After Ctrl-C the table so far is shown, no folder is left, and the next search goes on."""
    monkeypatch.setattr(toy, "INTERRUPTED_AT", 4)
    done = search("runtime.room=5")
    assert done.code == 130
    assert "no: room" in done.out
    assert list(tmp_path.glob("outputs/toy/*")) == []
    monkeypatch.setattr(toy, "INTERRUPTED_AT", None)
    toy.RAN.clear()
    done = search("runtime.room=5")
    assert "int8: 5 along place fits" in done.out
    assert toy.RAN.count("runtime") == 3, "4, 6 and 5; the ends are kept"


def test_a_run_that_cannot_fit_says_what_would(search: Any, command: Command, recipe: Path) -> None:
    """A run that cannot fit shows the search command, and a fitting length from the store."""
    run = [f"recipe={recipe}", "precision=int8", "runtime.room=5"]
    done = command(*run, "chunker.length=7")
    assert done.code == 1
    assert done.err.startswith("error: 7 places do not fit\n  take fewer\n")
    assert "find the longest that fits: python -m core" in done.err
    assert f"recipe={recipe} precision=int8 runtime.room=5 mode=fit" in done.err
    assert "known to fit" not in done.err
    search("runtime.room=5")
    done = command(*run, "chunker.length=7")
    assert "known to fit: 5 along place: chunker.length=5" in done.err
    assert command(*run, "chunker.length=5").code == 0


def test_what_a_run_found_the_search_need_not_try(
    search: Any, command: Command, recipe: Path
) -> None:
    """The search reuses both what a run compiled and what was refused."""
    run = [f"recipe={recipe}", "precision=int8", "runtime.room=5"]
    command(*run, "chunker.length=8")
    command(*run, "chunker.length=1")
    toy.RAN.clear()
    search("runtime.room=5")
    assert toy.RAN.count("runtime") == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["runtime=plain"], ["`plain` compiles nothing", "distant"]),
        (["chunker=whole"], ["chunker `whole` cuts no axis", "chunker=..."]),
        (["fit.axis=row"], ["cuts `place`, not `row`", "fit.axis=place"]),
        (["fit.step=0"], ["`step` cannot be 0", "at: fit"]),
        (["fit.shortest=9", "fit.longest=3"], ["`shortest` 9 is above `longest` 3"]),
        (["fit.precisions=[int9]"], ["no precision is named `int9`", "int8"]),
        (["fit.lenght=3"], ["no option `fit.lenght`", "longest"]),
    ],
)
def test_what_cannot_be_searched_is_refused_at_once(
    search: Any, arguments: list[str], said: list[str]
) -> None:
    """An impossible search gives one message with the possible values, and compiles nothing."""
    done = search(*arguments)
    assert done.code == 2, done.err
    for words in said:
        assert words in done.err
    assert "runtime" not in toy.RAN
