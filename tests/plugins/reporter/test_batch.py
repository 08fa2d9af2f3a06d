"""The summary of a batch in the terminal."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from core import Notice
from core.plugin.records import BatchRecord, Failed
from plugins.reporter._terminal.batch import show_batch

RECORD = BatchRecord(
    recipe="toy",
    title="a toy",
    started="2026-01-01T00:00:00+00:00",
    seconds=30.0,
    items=12,
    played=7,
    done_before=3,
    failed=(Failed("[b]/x.flac", "`x` is [red] damaged; at: /x", 2), Failed("y.flac", "empty")),
    covered_s=60.0,
    processes=2,
    device="CPU [x86]",
    notices=(Notice("danger", "the small model stood in"),),
)


def shown(record: BatchRecord, width: int = 100) -> str:
    out = io.StringIO()
    show_batch(record, "/out/batch-1 [a]", Console(file=out, width=width, highlight=False))
    return out.getvalue()


def test_a_batch_is_told_in_counts_and_speed() -> None:
    """The summary says the counts, the speed, the device, the notices and the folder."""
    text = shown(RECORD)
    for words in (
        "12 items: 7 played, 3 done before, 2 failed",
        "1 min of sound in 30 s, 2.0× real time, on CPU [x86], in 2 processes",
        "danger: the small model stood in",
        "items   /out/batch-1 [a]",
    ):
        assert words in text


@pytest.mark.parametrize("width", [40, 100])
def test_a_song_that_failed_is_named_with_its_reason(width: int) -> None:
    """A failed song is named with its reason, and brackets in the name are plain text."""
    flat = "".join(shown(RECORD, width).split())
    assert "[b]/x.flac" in flat
    assert "`x`is[red]damaged(tried3times)" in flat
    assert "at:/x" not in flat


def test_inputs_without_a_rate_have_no_speed() -> None:
    """Inputs without a rate, such as images, are counted and timed, without a speed."""
    text = shown(dataclasses.replace(RECORD, covered_s=0.0, processes=1, device="CPU", failed=()))
    assert "in 30 s, on CPU\n" in text
    assert "Not played" not in text


def test_a_long_list_does_not_scroll_the_summary_away() -> None:
    """A list of 25 failures shows 20, and the manifest has the others."""
    many = tuple(Failed(f"{number}.flac", "empty") for number in range(25))
    text = shown(dataclasses.replace(RECORD, failed=many))
    assert text.count("empty") == 20
    assert "5 more are in manifest.jsonl" in " ".join(text.split())
