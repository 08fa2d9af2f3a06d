"""The measures that hold for any model."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest

from core import Signature, TensorSpec
from core.inference.windows import spread
from core.machine.memory import peak_memory
from core.measure.metrics import compare, latency, percentiles, snr_db
from tests import toy


def test_snr_is_the_ratio_of_energies_in_db() -> None:
    """An error of a tenth of the amplitude gives 20 dB."""
    signal = np.ones(1000, dtype=np.float32)
    assert snr_db(signal, signal * np.float32(1.1)) == pytest.approx(20, abs=1e-3)


@pytest.mark.parametrize(
    ("reference", "estimate", "expected"),
    [(0.0, 0.0, 200.0), (1.0, 1.0, 200.0), (0.0, 1.0, -200.0), (1.0, math.nan, -200.0)],
)
def test_snr_is_finite_for_silence_and_nonsense(
    reference: float, estimate: float, expected: float
) -> None:
    """Equal silences have the highest SNR; a NaN in the estimate gives the lowest."""
    pair = (np.full(4, value, dtype=np.float32) for value in (reference, estimate))
    assert snr_db(*pair) == expected


def test_shapes_must_agree() -> None:
    """Arrays of different shapes are refused, since broadcasting would hide a wrong length."""
    with pytest.raises(ValueError, match="shapes differ"):
        snr_db(np.ones((2, 3), dtype=np.float32), np.ones(3, dtype=np.float32))


def stems(*levels: float) -> dict[str, Any]:
    """Return the outputs of a model whose first and second label have these levels."""
    return {"y": np.stack([np.full(50, level) for level in levels]).astype(np.float32)}


def test_compare_gives_every_label_its_own_snr() -> None:
    """An error in one row lowers the SNR of that row only."""
    snr = compare([stems(1.0, 1.0)], [stems(1.0, 1.1)], toy.SIGNATURE)
    assert snr.labels == ("first", "second")
    assert snr.per_label == (200.0, pytest.approx(20, abs=1e-3))
    assert snr.overall == pytest.approx(23, abs=0.1)
    assert (snr.worst, snr.worst_label) == (pytest.approx(20, abs=1e-3), "second")


TWO = Signature(
    (), (TensorSpec("loud", ("place",), ("place",)), TensorSpec("quiet", ("place",), ("place",)))
)


def outputs(loud: float, quiet: float) -> dict[str, Any]:
    """Return two outputs without labels, each of one value."""
    return {"loud": np.full(9, loud, np.float32), "quiet": np.full(9, quiet, np.float32)}


@pytest.mark.parametrize("level", [1e-3, 1e-9])
def test_a_loud_output_hides_no_dead_one(level: float) -> None:
    """Every output is compared with its own level, however small its values are."""
    snr = compare([outputs(1.0, level)], [outputs(1.001, 0.0)], TWO)
    assert (snr.worst, snr.worst_label) == (pytest.approx(0, abs=1e-6), "quiet")
    assert snr.overall == pytest.approx(0, abs=1e-6)


def test_a_loud_stem_hides_no_dead_one() -> None:
    """A lost stem 20 dB below the loudest has 0 dB, although all stems together have 20 dB."""
    snr = compare([stems(1.0, 0.1)], [stems(1.0, 0.0)], toy.SIGNATURE)
    assert (snr.worst, snr.worst_label) == (pytest.approx(0, abs=1e-4), "second")
    assert snr.overall == pytest.approx(20, abs=0.1)


def test_an_absent_stem_is_judged_as_if_it_were_a_quiet_one() -> None:
    """Noise 40 dB below the loudest stem counts as 20 dB below a stem that is quieter by 20 dB."""
    noise = compare([stems(1.0, 0.0)], [stems(1.0, 0.01)], toy.SIGNATURE)
    assert noise.per_label == (200.0, pytest.approx(20, abs=1e-4))
    loud = compare([stems(1.0, 0.0)], [stems(1.0, 1.0)], toy.SIGNATURE)
    assert loud.worst == pytest.approx(-20, abs=1e-4)
    silent = compare([stems(1.0, 0.0)], [stems(1.0, 0.0)], toy.SIGNATURE)
    assert silent.worst == 200.0


def test_the_border_of_a_quiet_stem_is_no_cliff() -> None:
    """The same noise gives the same SNR slightly above and below the limit of a quiet stem."""
    found = [
        compare([stems(1.0, level)], [stems(1.0, level + 0.001)], toy.SIGNATURE).worst
        for level in (0.1001, 0.1, 0.0999)
    ]
    assert found == pytest.approx([40, 40, 40], abs=0.02)


def test_an_output_that_is_silent_as_a_whole_is_compared_with_the_loudest() -> None:
    """In a silent output, noise a millionth of the loudest breaks no contract; equal noise does."""
    assert compare([outputs(1.0, 0.0)], [outputs(1.0, 1e-6)], TWO).worst == pytest.approx(100)
    assert compare([outputs(1.0, 0.0)], [outputs(1.0, 1.0)], TWO).worst == pytest.approx(-20)
    assert compare([outputs(0.0, 0.0)], [outputs(0.0, 1e-6)], TWO).worst == -200.0
    assert compare([outputs(0.0, 0.0)], [outputs(0.0, 0.0)], TWO).worst == 200.0


def test_an_estimate_that_is_no_number_is_the_worst() -> None:
    """A NaN in one label of several windows gives the lowest SNR."""
    broken = stems(1.0, math.nan)
    snr = compare([stems(1.0, 1.0)] * 2, [stems(1.0, 1.0), broken], toy.SIGNATURE)
    assert (snr.per_label, snr.overall) == ((200.0, -200.0), -200.0)


def test_two_outputs_with_the_same_labels_are_told_apart() -> None:
    """Labels that two outputs share get the name of their output in front."""
    labels = {"stem": ("drums", "bass")}
    specs = [TensorSpec(n, ("stem", "t"), (2, "t"), labels=labels) for n in ("wave", "mask")]
    values = {n: np.ones((2, 4), np.float32) for n in ("wave", "mask")}
    snr = compare([values], [values], Signature((), tuple(specs)))
    assert snr.labels == ("wave.drums", "wave.bass", "mask.drums", "mask.bass")


def test_outputs_of_other_shapes_are_not_compared() -> None:
    """Outputs of other shapes are not compared, as broadcasting would hide a wrong length."""
    with pytest.raises(ValueError, match="shapes differ"):
        compare([outputs(1, 1)], [outputs(1, 1) | {"quiet": np.ones(1, np.float32)}], TWO)


def test_a_time_has_its_spread_beside_it() -> None:
    """A hundred windows of 1 to 100 ms give the median, and the 5th and 95th percentile."""
    taken = [number / 1000 for number in range(100, 0, -1)]
    metrics = {(m.name, m.statistic): m.value for m in latency(taken, 20.0, "here")}
    assert metrics == pytest.approx({
        ("latency", "median"): 50.5, ("latency", "p5"): 5.0, ("latency", "p95"): 96.0,
        ("real_time_factor", ""): 5.05 / 20, ("real_time_factor", "p5"): 0.5 / 20,
        ("real_time_factor", "p95"): 9.6 / 20,
    })  # fmt: skip


def test_of_a_few_windows_the_ends_are_the_spread() -> None:
    """With few windows, the percentiles are times that were measured."""
    assert percentiles([0.3, 0.1, 0.2]) == (0.1, 0.2, 0.3)
    assert percentiles([0.1]) == (0.1, 0.1, 0.1)
    assert percentiles([n / 1 for n in range(21)]) == (1, 10, 19)
    assert percentiles([n / 1 for n in range(41)]) == (2, 20, 38)


def test_what_does_not_last_has_a_time_per_input() -> None:
    """Four windows of 0.1 s for two images give the time per image."""
    metrics = {(m.name, m.statistic): m.value for m in latency([0.1] * 4, None, "here", 2.0)}
    assert metrics["time_per_input", ""] == pytest.approx(200)
    assert metrics["time_per_input", "p95"] == pytest.approx(200)
    assert "real_time_factor" not in {name for name, _ in metrics}
    assert {m.name for m in latency([0.1], None, "here")} == {"latency"}


def test_peak_memory_sees_what_is_gone_again() -> None:
    """An array that lived for a moment counts for the peak of memory."""
    with peak_memory(0.005) as before:
        time.sleep(0.05)
    with peak_memory(0.005) as peak:
        array = np.ones(40_000_000, dtype=np.float32)
        time.sleep(0.1)
        del array
    assert peak.mb > before.mb + 100


@pytest.mark.parametrize("overlap", [0, 3])
def test_windows_to_compare_on_do_not_depend_on_the_overlap(overlap: int) -> None:
    """Windows to compare on stay the same when the overlap changes, so results are reused."""
    chunker = toy.Even(toy.EvenOptions(4, overlap))
    inputs = {"x": np.zeros((2, 18), dtype=np.float32)}
    windows = spread(2, inputs, chunker, toy.SIGNATURE)
    assert [(w.start["place"], w.stop["place"]) for w in windows] == [(4, 8), (12, 16)]


def test_a_short_input_gives_one_window() -> None:
    """An input shorter than a window gives one window to compare on."""
    chunker = toy.Even(toy.EvenOptions(8))
    windows = spread(3, {"x": np.zeros((2, 1), dtype=np.float32)}, chunker, toy.SIGNATURE)
    assert [(w.start["place"], w.stop["place"]) for w in windows] == [(0, 1)]
