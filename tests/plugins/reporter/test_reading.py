"""Sentences and tables from a record."""

from __future__ import annotations

import dataclasses
from typing import Literal

import pytest

from core import Metric, SavedFile, Target
from core.plugin.records import RunRecord
from plugins.reporter._reading import (
    average,
    decibels,
    duration,
    factor,
    headline,
    listed,
    others,
    places,
    spread,
    stage_in_words,
    tables,
    took_part,
    value,
)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.00004, "40 µs"), (0.0004, "0.4 ms"), (0.038, "38 ms"), (0.9996, "1.0 s"), (2.44, "2.4 s"),
     (38.2, "38 s"), (59.7, "1 min"), (170, "2 min 50 s"), (7380, "2 h 3 min")],
)  # fmt: skip
def test_durations_read_as_a_person_says_them(seconds: float, said: str) -> None:
    """A duration has no more digits than a person needs."""
    assert duration(seconds) == said


def test_no_difference_is_no_number() -> None:
    """200 dB is shown as `no difference`, and -200 dB as `nothing in common`."""
    assert (decibels(200.0), decibels(35.94)) == ("no difference", "35.9 dB")
    assert decibels(-200.0) == "nothing in common"


def test_what_is_not_zero_is_not_shown_as_zero() -> None:
    """A small value gets more decimals, or `≈ 0 dB` if these would say nothing."""
    assert [decibels(db) for db in (0.04, -0.004, 0.0, 1e-6)] == (
        ["0.04 dB", "\N{MINUS SIGN}0.004 dB", "0.0 dB", "≈ 0 dB"]
    )


def test_the_real_time_factor_reads_as_a_speed() -> None:
    """A real-time factor is shown as a speed, faster or slower than real time."""
    assert (factor(0.25), factor(2.0)) == ("4.0× real time", "2.0× slower than real time")


def test_names_are_listed_in_words() -> None:
    """Names are joined by commas and a final `and`."""
    assert (listed(["a"]), listed(["a", "b", "c"])) == ("a", "a, b and c")


def test_a_target_that_did_not_compute_took_no_part(record: RunRecord) -> None:
    """If the target did not compute, the sentence says so and names the emulator and the CPU."""
    said = took_part(record)
    assert said.startswith("Samsung Galaxy S24 (Snapdragon 8 Gen 3) took no part in this run")
    assert record.probed_on in said
    assert record.played_on in said
    assert places(record)[-1].numbers == "none"


def test_a_target_that_played_is_said_to_have_played(on_target: RunRecord) -> None:
    """If the target played the input, the sentence says so."""
    assert (
        took_part(on_target) == f"This machine's CPU played the whole input: {on_target.played_on}."
    )


def test_a_target_that_was_probed_is_credited_with_no_more(record: RunRecord) -> None:
    """If the target ran a few windows only, the sentence says so and names the player."""
    said = took_part(dataclasses.replace(record, target_took_part=True))
    assert "a few windows ran on" in said
    assert f"What you hear was played on {record.played_on}" in said


def test_a_model_that_was_never_run_is_said_to_be_compiled(record: RunRecord) -> None:
    """The sentence and the table of devices say why nothing ran the compiled model."""
    never = dataclasses.replace(record, never_run="its GPU is not here", probed_on="")
    said = "compiled, never run: its GPU is not here"
    assert said in took_part(never)
    assert places(never)[-1].did == said
    assert said in took_part(dataclasses.replace(never, target=Target()))
    assert "never run" not in took_part(record)


def test_metrics_become_one_table_per_item(record: RunRecord) -> None:
    """Metrics become one table per item, whose last row has the means and values of all labels."""
    metrics = (
        Metric("sdr", 4.0, "dB", "CPU", "Suite: No. 1", "drums"),
        Metric("sdr", 6.0, "dB", "CPU", "Suite: No. 1", statistic="mean"),
        Metric("parity_snr", 30.0, "dB", "CPU", "Suite: No. 1"),
        Metric("latency", 5.0, "ms", "CPU", statistic="median"),
    )
    (table,) = tables(metrics)
    assert table.item == "Suite: No. 1"
    assert list(table.rows) == ["drums", "overall"]
    assert table.rows["overall"] == (metrics[1], metrics[2])
    assert others(metrics) == [metrics[3]]
    assert len(tables(record.metrics)) == 2


def test_the_average_is_over_items() -> None:
    """The average is over items, and its title says how many."""
    pair = [Metric("sdr", db, "dB", "CPU", item, "drums") for item, db in (("a", 4), ("b", 8))]
    mean = average(pair)
    assert mean is not None
    assert mean.item == "Mean of 2 items"
    (drums,) = mean.rows["drums"]
    assert drums is not None
    assert drums.value == 6.0


@pytest.mark.parametrize(
    ("number", "unit", "said"),
    [(1.1e-8, "dB", "≈ 0 dB"), (-1.1e-8, "dB", "≈ 0 dB"), (0.0, "dB", "0.00 dB"),
     (0.0042, "dB", "0.004 dB"), (-0.0042, "dB", "\N{MINUS SIGN}0.004 dB"),
     (-8.08183, "dB", "\N{MINUS SIGN}8.08 dB"),
     (0.4, "ms", "0.4 ms"), (55.97, "ms", "56 ms"), (0.0012, "", "0.0012"),
     (0.07573, "×", "0.08×"), (-21.04, "dBFS", "\N{MINUS SIGN}21.0 dBFS"),
     (-200.0, "dBFS", "silent")],
)  # fmt: skip
def test_a_metric_shows_the_digits_it_deserves(number: float, unit: str, said: str) -> None:
    """Metrics have suitable digits, without powers of ten and false zeros, with a true minus."""
    assert value(Metric("x", number, unit, "CPU")) == said


def test_a_measure_of_an_item_without_a_label_is_quality_too() -> None:
    """A metric of an item without a label is in the item's table; speed is not."""
    metrics = (
        Metric("psnr", 31.0, "dB", "CPU", "cat"),
        Metric("latency", 5.0, "ms", "CPU", statistic="p95"),
    )
    (table,) = tables(metrics)
    assert (table.item, table.columns[0].title) == ("cat", "PSNR")
    assert table.rows == {"overall": (metrics[0],)}


def test_an_error_in_a_place_is_no_headline() -> None:
    """The headline is the first metric with a better direction.

    The SNR to FP32, the seam error and a level are never the headline.
    """

    def song(name: str, better: Literal["higher", "lower", "neither"]) -> Metric:
        return Metric(name, -3.0, "dB", "CPU", "song", better=better)

    aside = (song("parity_snr", "higher"), song("seam_error", "lower"), song("level", "neither"))
    assert headline(aside) is None
    found = headline((*aside, song("residual", "lower")))
    assert found is not None
    assert found.name == "residual"


def test_a_time_has_its_spread_beside_it() -> None:
    """A time shows its 5th to 95th percentile; these are not listed as metrics."""
    times = tuple(
        Metric("latency", ms, "ms", "CPU", statistic=statistic)
        for statistic, ms in (("median", 121.4), ("p5", 109.6), ("p95", 148.9))
    )
    assert spread(times, "latency") == "90 % between 110 ms and 149 ms"
    assert [m.statistic for m in others(times)] == ["median"]
    assert spread(times[:1], "latency") == ""


def test_every_row_of_the_budget_reads_without_knowing_the_stages(record: RunRecord) -> None:
    """Each budget row is described by its format, its precision and the target's stand-in."""
    assert [stage_in_words(record, line) for line in record.budget] == [
        "input cut into windows",
        "model exported to ONNX",
        "graph rewritten by onnxsim",
        "numbers rounded to int8",
        "compiled model on the emulator",
        "whole input, as played",
    ]


def test_only_a_run_that_saved_sound_speaks_of_hearing(record: RunRecord) -> None:
    """Only a run that saved sound uses the words `hear` and `play`."""
    images = dataclasses.replace(record, saved=(SavedFile("cat.png", "upscaled", "cat"),))
    said = took_part(images) + "".join(place.did for place in places(images))
    assert f"The results were computed on {record.played_on}" in said
    assert not [word for word in ("hear", "play") if word in said]
