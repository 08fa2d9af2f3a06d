"""The sentence on the error budget agrees with the table beside it."""

from __future__ import annotations

import dataclasses
import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from core.measure.error_budget import CUT, ROUNDING_DB, losses, worst
from core.plugin.records import BudgetLine, RunRecord
from plugins.reporter._html_run.budget import budget as budget_page
from plugins.reporter._reading import costliest, decibels
from plugins.reporter._terminal.run import show

STAGES = (CUT, "exporter", "graph.onnxsim", "quantizer", "runtime", "probe")
LABELS = ("drums", "bass")


def row(stage: str, step: float, *labels: float, total: float | None = 20.0) -> BudgetLine:
    """Return a row that is compared on two windows."""
    names = LABELS[: len(labels)]
    totals = labels if total is not None else ()
    return BudgetLine(stage, step, "a CPU", 2, names, labels, None, step, labels, total, totals)


def of(record: RunRecord, *lines: BudgetLine) -> RunRecord:
    """Return a run with this budget and without quality metrics."""
    return dataclasses.replace(record, budget=lines, metrics=())


def least(line: BudgetLine) -> float:
    """Return the figure of a row's loss: its worst label, or all labels together."""
    return min((*line.label_step_db, line.step_db or 0.0))


#: Rows that no real run gives: steps and totals in any order, labels far apart.
ROWS = st.lists(st.sampled_from(STAGES), min_size=1, unique=True).flatmap(
    lambda stages: st.tuples(
        *(
            st.builds(
                row,
                st.just(stage),
                db := st.floats(-40, 200).map(lambda value: round(value, 1)),
                db,
                db,
                total=st.one_of(st.none(), db),
            )
            for stage in stages
        )
    )
)


@settings(max_examples=200, deadline=None)
@given(ROWS)
def test_the_stage_that_is_named_is_the_row_with_the_largest_loss(
    rows: tuple[BudgetLine, ...],
) -> None:
    """The sentence names the row with the largest loss by its worst label, cutting included.

    If every row is only rounding, no stage is named.
    """
    record = BARE.replace(rows)
    lowest = min(map(least, rows))
    said = costliest(record)
    if lowest >= ROUNDING_DB:
        assert said == "No stage lost anything beyond the rounding of FP32."
        return
    named = said.split()[0]
    assert least(next(r for r in rows if r.stage == named)) == lowest
    phrase = "makes the largest difference" if named == CUT else "cost the most"
    assert said.count("cost the most") + said.count("largest difference") == 1
    assert phrase in said
    assert f"it leaves an SNR of {decibels(lowest)}" in said
    following = re.search(r"next is (\S+) with", said)
    rest = [least(r) for r in rows if r.stage != named]
    second = min(rest, default=ROUNDING_DB)
    assert bool(following) == (second < ROUNDING_DB)
    if following:
        assert least(next(r for r in rows if r.stage == following[1])) == second


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_every_figure_of_the_sentence_stands_in_the_table(rows: tuple[BudgetLine, ...]) -> None:
    """Every figure of the sentence is in the table, in the terminal and on the page."""
    record = BARE.replace(rows)
    out = io.StringIO()
    show(record, Console(file=out, width=300, highlight=False))
    lines = [line for line in out.getvalue().splitlines() if line.split(":")[0] in STAGES]
    page = str(budget_page(record))
    table = page[page.index("<ol") :].replace("\N{NO-BREAK SPACE}", " ")
    figures = re.findall(r"(?:\N{MINUS SIGN})?[\d.]+ dB", costliest(record))
    for figure in figures:
        assert any(figure in line for line in lines)
        assert figure in table
    assert page.count("bar largest") == (1 if any(losses(rows)) else 0)


class _Bare:
    """A run with its budget replaced; hypothesis does not take pytest's fixtures."""

    record: RunRecord

    def replace(self, rows: tuple[BudgetLine, ...]) -> RunRecord:
        return of(self.record, *rows)


BARE = _Bare()


@pytest.fixture(autouse=True, scope="module")
def _bare(record: RunRecord) -> None:
    BARE.record = record


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row("exporter", 126.5), row(CUT, 14.5)],
         ("chunk (input cut into windows) makes the largest difference: "
          "it leaves an SNR of 14.5 dB.")),
        ([row(CUT, 12.7, 2.3, 15.0), row("quantizer", 31.3, 14.1, 40.0, total=16.0)],
         ("chunk (input cut into windows) makes the largest difference: it leaves an SNR of "
         "2.3 dB in drums, 12.7 dB over all; next is quantizer with 14.1 dB in drums, "
         "31.3 dB over all. "
         "Together: 16.0 dB, drums 14.1 dB.")),
        ([row("quantizer", 29.4), row("probe", 53.5, total=None)],
         ("quantizer (numbers rounded to int8) cost the most: it leaves an SNR of 29.4 dB; next is "
         "probe with 53.5 dB. Together up to quantizer: 20.0 dB.")),
        ([row("runtime", -3.2)],
         "runtime (compiled model) cost the most: it leaves an SNR of \N{MINUS SIGN}3.2 dB."),
        ([row("exporter", 200.0, 200.0, 109.0)],
         "No stage lost anything beyond the rounding of FP32."),
    ],
)  # fmt: skip
def test_the_sentence_is_read_off_the_rows(
    record: RunRecord, rows: list[BudgetLine], said: str
) -> None:
    """The sentence has the largest loss, the next one, and the total of both."""
    assert costliest(of(record, *rows)) == said


def test_a_dead_label_outweighs_a_loud_one(record: RunRecord) -> None:
    """A row with one lost label is the largest loss, although it has 60 dB over all labels."""
    rows = row(CUT, 14.5, 13.0, 16.0), row("quantizer", 60.0, 0.0, 61.0)
    assert costliest(of(record, *rows)).startswith("quantizer")
    assert "0.0 dB in drums, 60.0 dB over all" in costliest(of(record, *rows))


def test_what_ran_fewer_windows_says_so_in_the_sentence(record: RunRecord) -> None:
    """A loss on fewer windows names the number of windows in the sentence."""
    few = dataclasses.replace(row("probe", 5.0, total=None), windows=1)
    said = costliest(of(record, row("quantizer", 30.0), few))
    assert "cost the most: it leaves an SNR of 5.0 dB (on 1 of the 2 windows)" in said


def test_a_run_without_comparisons_says_nothing(record: RunRecord) -> None:
    """A run without comparisons has no sentence on losses."""
    whole = BudgetLine("play", 30.0, "a CPU", total_db=30.0)
    assert costliest(of(record)) == costliest(of(record, whole)) == ""


def test_cutting_is_no_loss_against_fp32_in_the_same_windows() -> None:
    """Against FP32 in the same windows, a stage is blamed and never the cutting."""
    rows = row(CUT, 3.0), row("exporter", 120.0), row("quantizer", 30.0)
    blamed, largest = worst(rows), worst(rows, cutting=True)
    assert blamed is not None
    assert largest is not None
    assert (blamed.line.stage, largest.line.stage) == ("quantizer", CUT)
    assert blamed.before is rows[1]
