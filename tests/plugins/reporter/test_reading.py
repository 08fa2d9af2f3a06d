"""Sentences and tables made of a record."""

from __future__ import annotations

import dataclasses

import pytest

from core.record import RunRecord
from core.values import Metric
from plugins.reporter.reading import (
    average,
    decibels,
    duration,
    factor,
    listed,
    others,
    places,
    tables,
    took_part,
)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.038, "38 ms"), (2.44, "2.4 s"), (38.2, "38 s"), (59.7, "1 min"), (170, "2 min 50 s"),
     (7380, "2 h 3 min")],
)  # fmt: skip
def test_durations_read_as_a_person_says_them(seconds: float, said: str) -> None:
    """No more digits than one needs."""
    assert duration(seconds) == said


def test_no_difference_is_no_number() -> None:
    """200 dB stands for equality in the core and is not shown as a measured value."""
    assert (decibels(200.0), decibels(35.94)) == ("no difference", "35.9 dB")


def test_the_real_time_factor_reads_as_a_speed() -> None:
    """Below 1 is faster than the music."""
    assert (factor(0.25), factor(2.0)) == ("4.0× real time", "2.0× slower than real time")


def test_names_are_listed_in_words() -> None:
    """Commas, then `and`."""
    assert (listed(["a"]), listed(["a", "b", "c"])) == ("a", "a, b and c")


def test_a_target_that_did_not_compute_took_no_part(record: RunRecord) -> None:
    """The emulator and the CPU are named, the phone is not credited."""
    said = took_part(record)
    assert said.startswith("Samsung Galaxy S24 (Snapdragon 8 Gen 3) took no part in this run")
    assert record.probed_on in said
    assert record.played_on in said
    assert places(record)[-1].numbers == "none"


def test_a_target_that_played_is_said_to_have_played(on_target: RunRecord) -> None:
    """A run on the CPU for the CPU needs no excuse."""
    assert (
        took_part(on_target)
        == f"This machine's CPU played the whole input ({on_target.played_on})."
    )


def test_a_target_that_was_probed_is_credited_with_no_more(record: RunRecord) -> None:
    """A phone that ran a few windows did not play what one hears."""
    said = took_part(dataclasses.replace(record, target_took_part=True))
    assert "a few windows ran on" in said
    assert f"What you hear was played on {record.played_on}" in said


def test_metrics_become_one_table_per_item(record: RunRecord) -> None:
    """Item names may hold colons; `all` and `mean` share the last row."""
    metrics = (
        Metric("sdr", 4.0, "dB", "CPU", "Suite: No. 1: drums"),
        Metric("sdr", 6.0, "dB", "CPU", "Suite: No. 1: mean"),
        Metric("parity_snr", 30.0, "dB", "CPU", "Suite: No. 1: all"),
        Metric("latency", 5.0, "ms", "CPU", "median"),
    )
    (table,) = tables(metrics)
    assert table.item == "Suite: No. 1"
    assert list(table.rows) == ["drums", "overall"]
    assert table.rows["overall"] == (metrics[1], metrics[2])
    assert others(metrics) == [metrics[3]]
    assert len(tables(record.metrics)) == 2


def test_the_average_is_over_items() -> None:
    """Two songs with 4 and 8 dB have a mean of 6 dB, and the table says of how many."""
    pair = [Metric("sdr", db, "dB", "CPU", f"{item}: drums") for item, db in (("a", 4), ("b", 8))]
    mean = average(pair)
    assert mean is not None
    assert mean.item == "Mean of 2 items"
    (drums,) = mean.rows["drums"]
    assert drums is not None
    assert drums.value == 6.0
