"""The figures of a run that a sweep compares its points by."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import pytest

from core import Metric, Signature, Target
from core.measure.metrics import latency
from core.measure.placement import Coverage
from core.plugin.records import BudgetLine, RunRecord
from core.sweep.metrics import catalogue, measured, spreads_of

CPU, PHONE = "this CPU", "a phone"


def record(*metrics: Metric) -> RunRecord:
    """Return the record of a run for a phone that measured `metrics`."""
    return RunRecord(
        recipe="toy",
        title="",
        started="",
        seconds=1.0,
        target=Target(name="phone", title=PHONE),
        precision="int8",
        signature=Signature((), ()),
        weights="",
        parameters=0,
        licence="",
        notices=(),
        stages=(),
        budget=(),
        metrics=metrics,
        saved=(),
        played_on=CPU,
        probed_on="",
        target_took_part=False,
        config="",
        versions={},
        machine="",
    )


def of(
    name: str, value: float, subject: str, better: Literal["higher", "lower", "neither"]
) -> Metric:
    """Return a metric of `<item>: <label>`, or of an item as a whole."""
    item, colon, label = subject.rpartition(": ")
    whole = not colon or label in ("all", "mean")
    return Metric(
        name, value, "dB", CPU, item if colon else label, "" if whole else label, better=better
    )


def sdr(value: float, subject: str, name: str = "sdr") -> Metric:
    """Return a metric of an evaluator, of which more is better."""
    return of(name, value, subject, "higher")


def parity(value: float, subject: str) -> Metric:
    """Return the SNR to FP32 of one item."""
    return of("parity_snr", value, subject, "higher")


def test_every_figure_names_the_device_that_it_was_measured_on() -> None:
    """Every figure names its device; size and coverage belong to the file and the target."""
    metrics = (
        Metric("latency", 12.0, "ms", PHONE, statistic="median", better="lower"),
        Metric("latency", 19.0, "ms", PHONE, statistic="p90", better="lower"),
        Metric("cold_start", 412.0, "ms", CPU, better="lower"),
        Metric("cold_start", 380.0, "ms", CPU, statistic="open", better="lower"),
        Metric("peak_memory", 300.0, "MB", CPU, better="lower"),
        Metric("real_time_factor", 0.4, "×", CPU, better="lower"),
    )
    assert measured(record(*metrics), 2_500_000, Coverage(0.75, PHONE, "")) == {
        "latency": (12.0, PHONE),
        "cold_start": (412.0, CPU),
        "memory": (300.0, CPU),
        "real_time_factor": (0.4, CPU),
        "size": (2.5, "the file"),
        "accelerator_coverage": (0.75, PHONE),
    }


def test_what_was_not_measured_is_not_there() -> None:
    """A figure that was not measured is absent, not zero."""
    assert measured(record(), 1_000_000, None) == {"size": (1.0, "the file")}


def test_the_snr_of_a_run_is_that_of_its_worst_label() -> None:
    """The SNR of a run is its worst label's, as in the contract, of any item and device."""
    metrics = (parity(40.0, "a: all"), parity(31.0, "b: all"), parity(9.0, "b: drums"))
    run = record(*metrics)
    assert measured(run, 0, None)["snr"] == (9.0, CPU)
    probe = BudgetLine("probe", 8.0, PHONE, 2, ("drums",), (3.0,))
    assert measured(replace(run, budget=(probe,)), 0, None)["snr"] == (3.0, PHONE)


def test_of_a_loss_the_worst_counts() -> None:
    """The worst loss counts, as in a contract, because a mean over songs would hide it."""
    drops = {"a: drums": 0.1, "a: bass": 0.4, "a: mean": 0.25, "b: drums": -0.2, "b: mean": -0.2}
    metrics = [of("sdr_drop", v, s, "lower") for s, v in drops.items()]
    assert measured(record(*metrics), 0, None)["sdr_drop"] == (0.4, CPU)
    (figure,) = catalogue([metrics], {"sdr_drop"})
    assert figure.title == "worst SDR drop"
    metrics.append(of("sdr_drop", math.nan, "c: drums", "lower"))
    assert "sdr_drop" not in measured(record(*metrics), 0, None)


def test_times_have_their_spread_beside_them() -> None:
    """The compared times, per window and per second, have their spread."""
    metrics = latency([0.1, 0.2, 0.3], 3.0, CPU)
    found = spreads_of(metrics)
    assert found["latency"] == pytest.approx((100, 300))
    assert found["real_time_factor"] == pytest.approx((0.1, 0.3))
    assert len(found) == 2
    assert measured(record(*metrics), 0, None)["real_time_factor"] == (pytest.approx(0.2), CPU)
    assert spreads_of([metric for metric in metrics if metric.statistic != "p5"]) == {}


def test_where_windows_differ_time_is_that_of_a_second_of_input() -> None:
    """Points with different windows are timed per second of input, or per input."""
    known = {"snr", "latency", "real_time_factor", "memory"}
    figures = catalogue([[]], known, windows=True)
    assert [f.name for f in figures if f.objective] == ["snr", "real_time_factor", "memory"]
    figures = catalogue([[]], {"snr", "latency", "time_per_input"}, windows=True)
    assert [f.name for f in figures if f.objective] == ["snr", "time_per_input"]
    # Where none was measured, none is compared.
    assert [f.name for f in catalogue([[]], {"snr", "latency"}, windows=True) if f.objective] == [
        "snr"
    ]


def test_a_metric_of_an_evaluator_is_its_mean_over_items() -> None:
    """An evaluator's figure is the mean over items, of the means over labels where they exist."""
    plain = record(sdr(4.0, "a"), sdr(8.0, "b"))
    assert measured(plain, 0, None)["sdr"] == (6.0, CPU)
    labelled = record(
        sdr(1.0, "a: drums"), sdr(4.0, "a: mean"), sdr(2.0, "b: drums"), sdr(8.0, "b: mean")
    )
    assert measured(labelled, 0, None)["sdr"] == (6.0, CPU)


def test_a_metric_that_is_neither_good_nor_bad_is_no_figure() -> None:
    """A metric without a better direction is no figure, because it compares nothing."""
    assert "largest" not in measured(record(Metric("largest", 3.0, "1", CPU)), 0, None)


def test_the_first_metric_of_which_more_is_better_is_the_quality() -> None:
    """The first metric that should be high is the quality, and the front uses it with the costs."""
    drop = of("sdr_drop", 0.1, "a", "lower")
    metrics = [drop, sdr(8.0, "a"), sdr(20.0, "a", "sir")]
    figures = catalogue([metrics], {"snr", "latency", "memory", "size", "sdr", "sir", "sdr_drop"})
    assert [figure.name for figure in figures if figure.objective] == ["sdr", "latency", "memory"]
    assert [figure.name for figure in figures] == [
        *("sdr", "snr", "latency", "memory", "size", "sdr_drop", "sir"),
    ]


def test_without_such_a_metric_the_snr_is_the_quality() -> None:
    """The SNR is the quality of a recipe without an evaluator."""
    figures = catalogue([[]], {"snr", "latency", "size"})
    assert [figure.name for figure in figures if figure.objective] == ["snr", "latency"]
    assert figures[0].name == "snr"


def test_a_figure_that_no_run_measured_is_not_listed() -> None:
    """A figure that no run measured has no column."""
    assert [figure.name for figure in catalogue([[sdr(1.0, "a")]], {"sdr", "size"})] == [
        *("sdr", "size"),
    ]
    assert catalogue([], set()) == ()


def test_a_figure_that_some_run_measured_is_listed_once() -> None:
    """A figure is listed once, whichever point measured it first."""
    runs = [[], [sdr(8.0, "a")], [sdr(7.0, "a"), sdr(3.0, "a", "sir")]]
    figures = catalogue(runs, {"sdr", "sir"})
    assert [(figure.name, figure.better) for figure in figures] == [
        *(("sdr", "higher"), ("sir", "higher")),
    ]


@pytest.mark.parametrize(
    ("name", "title"),
    [("sdr", "SDR"), ("sdr_drop", "SDR drop"), ("psnr", "PSNR"), ("edge_error", "edge error")],
)
def test_a_title_is_a_name_as_a_person_writes_it(name: str, title: str) -> None:
    """Titles have capital abbreviations and spaces, and say which of several values they mean."""
    figures = catalogue([[sdr(1.0, "a", name)]], {name})
    assert [figure.title for figure in figures] == [title]
    figures = catalogue([[sdr(1.0, "a: x", name), sdr(1.0, "a: mean", name)]], {name})
    assert [figure.title for figure in figures] == [f"mean {title}"]
