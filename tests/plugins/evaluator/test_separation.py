"""The evaluator `separation` gives the figures that follow by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from core import Array, EvaluatedItem, Item, Metric, Signature, StageError, TensorSpec
from plugins.chunker.overlap_add import OverlapAdd, OverlapAddOptions
from plugins.evaluator.separation import (
    Separation,
    SeparationOptions,
    level,
    residual,
    sdr,
    seam_error,
    si_sdr,
)

SIGNATURE = Signature(
    (TensorSpec("mix", ("channel", "time"), (2, "time")),),
    (
        TensorSpec(
            "stems", ("stem", "channel", "time"), (2, 2, "time"), labels={"stem": ("voice", "rest")}
        ),
    ),
)
TOTAL = 4000


def noise(seed: int, *shape: int) -> Array:
    """Return white noise of power 1."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def played(truth: bool = True) -> EvaluatedItem:
    """Return two stems of equal power; the shipped graph errs by -20 dB, FP32 PyTorch by -30 dB."""
    stems, error = noise(0, 2, 2, TOTAL), noise(1, 2, 2, TOTAL)
    item = Item("id", "song", {"mix": stems.sum(axis=0)}, {"stems": stems} if truth else {})
    fp32 = stems + np.float32(10 ** (-30 / 20)) * error
    windows = OverlapAdd(OverlapAddOptions(1000, 0.25)).split({"time": TOTAL})
    outputs = {"stems": stems + np.float32(0.1) * error}
    return EvaluatedItem(item, outputs, {"stems": fp32}, {"stems": fp32}, windows, "a test")


def values(metrics: list[Metric]) -> dict[tuple[str, str], float]:
    """Return the numbers by name and by stem, statistic or `all`."""
    return {(m.name, m.label or m.statistic or "all"): m.value for m in metrics}


def evaluated(
    of: EvaluatedItem, signature: Signature = SIGNATURE, *, add_up: bool | None = None
) -> dict[tuple[str, str], float]:
    """Run the plugin."""
    return values(list(Separation(SeparationOptions(add_up)).evaluate(of, signature)))


def test_every_figure_is_what_the_errors_say() -> None:
    """An error of -20 dB gives an SDR of 20 dB, 10 dB below the reference's 30 dB.

    The SDR of the mixture has the other stem as its error.
    """
    found = evaluated(played())
    for stem in ("voice", "rest", "mean"):
        assert found["sdr", stem] == pytest.approx(20, abs=0.3)
        assert found["si_sdr", stem] == pytest.approx(20, abs=0.3)
        assert found["sdr_reference", stem] == pytest.approx(30, abs=0.3)
        assert found["sdr_drop", stem] == pytest.approx(10, abs=0.01)
        assert found["sdr_mixture", stem] == pytest.approx(0, abs=0.3)
        assert found["sdr_improvement", stem] == pytest.approx(20, abs=0.5)
        assert found["seam_error", stem] == pytest.approx(0, abs=0.5)


def test_a_mean_is_the_mean_of_the_stems() -> None:
    """Every metric has one more line, with the mean of the stems."""
    found = evaluated(played())
    for name in {name for name, _ in found}:
        mean = (found[name, "voice"] + found[name, "rest"]) / 2
        assert found[name, "mean"] == pytest.approx(mean)


def test_what_another_machine_computed_is_not_ascribed_to_the_device() -> None:
    """The SDR of the reference names PyTorch as its device, and that of the mixture no device."""
    devices = {
        m.name: m.device for m in Separation(SeparationOptions()).evaluate(played(), SIGNATURE)
    }
    assert devices["sdr"] == devices["sdr_drop"] == devices["seam_error"] == "a test"
    assert devices["sdr_reference"] == "PyTorch FP32"
    assert devices["sdr_mixture"] == "no device"


def test_without_true_stems_the_residual_and_the_levels_take_the_place_of_sdr() -> None:
    """Without true stems, the residual and the level of each stem replace the SDR.

    A note says that SDR needs true stems.
    """
    song = played(truth=False)
    found = evaluated(song)
    assert {name for name, _ in found} == {"residual", "residual_reference", "level", "seam_error"}
    # Two stems of power 1 err by -20 dB each, and FP32 by -30 dB.
    assert found["residual", "all"] == pytest.approx(-20, abs=0.3)
    assert found["residual_reference", "all"] == pytest.approx(-30, abs=0.3)
    assert found["level", "voice"] == pytest.approx(3.05, abs=0.1)
    assert ("level", "mean") not in found, "a mean of levels is no level"
    said = Separation(SeparationOptions()).evaluate(song, SIGNATURE)
    assert all("SDR needs true stems" in m.note for m in said if m.name in ("residual", "level"))
    assert {m.name: m.better for m in said}["residual"] == "lower"


def test_with_true_stems_there_is_no_substitute() -> None:
    """With true stems, neither the residual nor the level is reported."""
    assert not {"residual", "level"} & {name for name, _ in evaluated(played())}


@pytest.mark.parametrize(
    ("axis", "labels"), [("speaker", ("voice", "rest")), ("stem", ("voice",)), ("stem", ())]
)
def test_what_is_no_part_of_the_mixture_has_no_residual(axis: str, labels: tuple[str, ...]) -> None:
    """Outputs that are no stems, or a single stem, do not add up and have no residual."""
    song, count = played(truth=False), len(labels)
    spec = TensorSpec(
        "stems",
        (axis, "channel", "time"),
        (count or 2, 2, "time"),
        labels={axis: labels} if labels else {},
    )
    taken = {"stems": song.outputs["stems"][: count or 2]}
    song = replace(song, outputs=taken, reference=taken, ideal=taken)
    found = evaluated(song, Signature(SIGNATURE.inputs, (spec,)))
    assert "residual" not in {name for name, _ in found}
    assert "level" in {name for name, _ in found}


def test_a_recipe_can_say_whether_stems_add_up() -> None:
    """A recipe can say whether outputs add up to the input.

    It is an error for outputs of another shape.
    """
    song = played(truth=False)
    speakers = replace(
        SIGNATURE.outputs[0], axes=("speaker", "channel", "time"), labels={"speaker": ("a", "b")}
    )
    signature = Signature(SIGNATURE.inputs, (speakers,))
    assert ("residual", "all") in evaluated(song, signature, add_up=True)
    assert ("residual", "all") not in evaluated(song, add_up=False)
    mono = replace(song, item=replace(song.item, inputs={"mix": song.item.inputs["mix"][:1]}))
    assert ("residual", "all") not in evaluated(mono)
    with pytest.raises(StageError, match="cannot add up to the input"):
        evaluated(mono, add_up=True)


def test_the_residual_is_a_level_in_relation_to_the_mixture() -> None:
    """The residual is -200 dB for nothing left, 0 dB for everything, and undefined for silence."""
    mixture = noise(7, 2, TOTAL)
    assert residual(mixture, mixture) == -200
    assert residual(mixture, np.zeros_like(mixture)) == pytest.approx(0)
    assert residual(mixture, mixture / 2) == pytest.approx(-6.02, abs=0.01)
    assert residual(np.zeros_like(mixture), mixture) is None


def test_a_full_scale_sine_has_0_dbfs() -> None:
    """A full-scale sine has 0 dBFS, as in AES17, a square wave 3 dB more, and silence -200 dB."""
    sine = np.sin(2 * np.pi * np.arange(48_000) / 480).astype(np.float32)[None]
    assert level(sine) == pytest.approx(0, abs=1e-3)
    assert level(sine / 10) == pytest.approx(-20, abs=1e-3)
    assert level(np.sign(sine + 1e-6)) == pytest.approx(3.01, abs=0.01)
    assert level(np.zeros_like(sine)) == -200


def test_sdr_is_the_one_of_the_challenge() -> None:
    """SDR sums over channels and time together and adds 1e-7 to each sum."""
    true = np.array([[1.0, 1.0], [0.0, 0.0]], np.float32)
    heard = np.array([[1.0, 0.5], [0.5, 0.0]], np.float32)
    assert sdr(true, heard) == pytest.approx(10 * np.log10((2 + 1e-7) / (0.5 + 1e-7)))
    assert sdr(true, true) == pytest.approx(10 * np.log10((2 + 1e-7) / 1e-7))


@pytest.mark.parametrize(("level_db", "measured"), [(0, True), (-59, True), (-61, False)])
def test_a_stem_that_is_silent_in_the_song_has_no_sdr(level_db: float, measured: bool) -> None:
    """A stem 61 dB below the loudest has no SDR, because its leakage would break any contract.

    The other stem is judged as before.
    """
    of = played()
    stems = of.item.references["stems"].copy()
    stems[1] *= np.float32(10 ** (level_db / 20))
    found = evaluated(replace(of, item=replace(of.item, references={"stems": stems})))
    assert (("sdr_drop", "rest") in found) is measured
    assert (("sdr_improvement", "rest") in found) is measured
    assert ("sdr_drop", "voice") in found
    if not measured:
        assert found["sdr", "mean"] == found["sdr", "voice"]


def test_a_song_of_silence_has_no_sdr_at_all() -> None:
    """A song whose stems are all silent has no SDR."""
    of = played()
    silence = np.zeros_like(of.item.references["stems"])
    found = evaluated(replace(of, item=replace(of.item, references={"stems": silence})))
    assert not [name for name, _ in found if name.startswith("sdr")]


def test_what_is_compared_says_with_which_windows() -> None:
    """The drop and the reference name the windows that they compare with."""
    of = replace(played(), against="windows of 9 along time")
    notes = {m.name: m.note for m in Separation(SeparationOptions()).evaluate(of, SIGNATURE)}
    assert notes["sdr_drop"] == "loss of SDR against FP32 PyTorch with windows of 9 along time"
    assert notes["sdr_reference"] == "windows of 9 along time"


def test_sdr_of_silence_is_finite() -> None:
    """Silence for a silent stem has an SDR of 0 dB, by the challenge's definition."""
    silence = np.zeros((2, 10), np.float32)
    assert sdr(silence, silence) == 0


def test_si_sdr_ignores_the_gain_and_sdr_does_not() -> None:
    """Half the level leaves the SI-SDR unchanged; the SDR of a stem at half level is 6 dB."""
    true = noise(4, 2, TOTAL)
    heard = true + np.float32(0.1) * noise(5, 2, TOTAL)
    assert si_sdr(true, heard) == pytest.approx(si_sdr(true, heard / 2))
    assert sdr(true, true / 2) == pytest.approx(6.02, abs=0.01)


def test_si_sdr_at_its_limits() -> None:
    """SI-SDR is undefined for a silent stem, and finite for a silent and for a perfect output."""
    true = noise(6, 2, 100)
    assert si_sdr(np.zeros_like(true), true) is None
    assert si_sdr(true, np.zeros_like(true)) == -200
    assert si_sdr(true, true) == 200


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.75])
def test_a_louder_error_at_the_joins_is_heard(overlap: float) -> None:
    """Ten times the error energy at the joins is a seam error of 10 dB, with any overlap."""
    windows = OverlapAdd(OverlapAddOptions(1000, overlap)).split({"time": 5000})
    near = {0.0: 62, 0.25: 125, 0.75: 62}[overlap]
    energy = np.ones(5000)
    for before, after in pairwise(windows):
        centre = (before.stop["time"] + after.start["time"]) // 2
        if after.stop["time"] < 5000:  # the last windows are cut short
            energy[centre - near : centre + near] = 10
    kept = [w for w in windows if w.stop["time"] < 5000]
    assert seam_error(energy[: kept[-1].stop["time"]], kept) == pytest.approx(10, abs=0.5)


def test_an_error_in_the_middle_of_windows_is_no_seam() -> None:
    """A seam error is -10 dB where the overlap is 10 dB quieter than the middles."""
    windows = OverlapAdd(OverlapAddOptions(1000, 0.25)).split({"time": 4000})[:2]
    energy = np.ones(1750)
    energy[750:1000] = 0.1
    assert seam_error(energy, windows) == pytest.approx(-10)


def test_seams_are_found_at_a_multiple_of_the_rate() -> None:
    """Seams are found in an output of twice the input's rate."""
    windows = OverlapAdd(OverlapAddOptions(1000, 0.25)).split({"time": 4000})[:2]
    energy = np.ones(3500)
    energy[1500:2000] = 100
    assert seam_error(energy, windows) == pytest.approx(20)


def test_one_window_or_no_error_has_no_seam() -> None:
    """One window, or an output without error, has no seam error."""
    song = played()
    alone = replace(song, windows=song.windows[:1])
    assert not [key for key in evaluated(alone) if key[0] == "seam_error"]
    exact = replace(song, ideal=song.outputs)
    assert not [key for key in evaluated(exact) if key[0] == "seam_error"]
