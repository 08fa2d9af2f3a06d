"""The dsp `stft` equals demucs's transform and is the inverse of itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from demucs.htdemucs import HTDemucs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import Array, ModelInfo, Signature, StageError, TensorSpec, Transform
from core.measure.metrics import snr_db
from plugins.dsp._spectral.frames import spectrogram, waveform
from plugins.dsp.stft import Edges, Nyquist, Stft, StftOptions
from plugins.model._hybrid.split import post, pre

FEW = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SIZES = st.sampled_from([16, 64, 512])
SEEDS = st.integers(0, 2**32 - 1)
EXACT_DB = 100.0


def info(nfft: int, channels: int = 2, stems: int = 1, normalise: bool = False) -> ModelInfo:
    """Describe a hybrid model as its plugin does."""
    labels = tuple(f"stem{n}" for n in range(stems))
    rates = {"time": 44100.0}
    signature = Signature(
        (TensorSpec("mix", ("channel", "time"), (channels, "time"), rates=rates),),
        (
            TensorSpec(
                "stems",
                ("stem", "channel", "time"),
                (stems, channels, "time"),
                rates=rates,
                labels={"stem": labels},
            ),
        ),
    )
    return ModelInfo(
        signature,
        ("mix", "mag"),
        ("time_out", "spec_out"),
        dsp_facts={
            "nfft": nfft,
            "hop": nfft // 4,
            "input": "mix",
            "spec_input": "mag",
            "time_output": "time_out",
            "spec_output": "spec_out",
            "output": "stems",
            "normalise": normalise,
        },
    )


def bound(nfft: int, nyquist: Nyquist, edges: Edges, channels: int = 2) -> Transform:
    """Bind the plugin to a model without normalisation."""
    return Stft(StftOptions(nyquist, edges)).bind(info(nfft, channels))


def through(transform: Transform, x: Array) -> Array:
    """Send a waveform through the transform and a core that returns the spectrogram."""
    feeds, remembered = transform.forward({"mix": x})
    outputs = {"time_out": np.zeros_like(feeds["mix"])[:, None], "spec_out": feeds["mag"][:, None]}
    result: Array = transform.inverse(outputs, remembered)["stems"][0]
    return result


def noise(seed: int, channels: int, length: int) -> Array:
    """Return white noise, which has energy in every bin."""
    return np.random.default_rng(seed).standard_normal((channels, length)).astype(np.float32)


def tones(seed: int, length: int, channels: int = 2) -> Array:
    """Return a few tones below a quarter of the sample rate: nothing at Nyquist.

    They are flat at both ends, because a slope that is reflected is a kink, which has energy
    everywhere (94 dB below the signal at Nyquist in six hops of sines).
    """
    rng = np.random.default_rng(seed)
    half_cycles = rng.integers(1, length // 2, (6, 1))
    gains = rng.uniform(0.05, 0.3, (channels, 6))
    phase = np.pi * half_cycles * np.arange(length) / (length - 1)
    return (gains @ np.cos(phase)).astype(np.float32)


def small_model(nfft: int = 512, channels: int = 2) -> HTDemucs:
    """Return demucs's own model, small, with random weights."""
    torch.manual_seed(0)
    model = HTDemucs(
        ["drums", "bass"],
        audio_channels=channels,
        channels=8,
        nfft=nfft,
        t_layers=1,
        t_heads=2,
        bottom_channels=16,
        use_train_segment=False,
    )
    return model.eval()


MODEL = small_model()


@FEW
@given(length=st.integers(1, 6000), seed=SEEDS)
def test_spectrogram_is_the_one_of_demucs(length: int, seed: int) -> None:
    """Frames, bins and values of the spectrogram equal `HTDemucs._spec` for any length."""
    x = noise(seed, 2, length)
    expected = MODEL._spec(torch.from_numpy(x)[None])[0].numpy()
    actual = spectrogram(x, 512)
    assert expected.shape == actual.shape
    assert snr_db(expected.real, actual.real) > EXACT_DB
    assert snr_db(expected.imag, actual.imag) > EXACT_DB


@FEW
@given(length=st.integers(1, 6000), seed=SEEDS)
def test_waveform_is_the_one_of_demucs(length: int, seed: int) -> None:
    """Any spectrogram, even one that no signal has, gives the waveform of `HTDemucs._ispec`."""
    frames = -(-length // 128)
    real, imaginary = noise(seed, 3 * 256, frames), noise(seed + 1, 3 * 256, frames)
    spectrum = (real + 1j * imaginary).reshape(3, 256, frames).astype(np.complex64)
    expected = MODEL._ispec(torch.from_numpy(spectrum)[None], length)[0].numpy()
    assert snr_db(expected, waveform(spectrum, 512, length)) > EXACT_DB


@pytest.mark.parametrize("length", [1, 700, 44100])
def test_core_inputs_and_stems_are_those_of_the_hybrid_split(length: int) -> None:
    """With normalisation, `forward` is the model's own `pre` and `inverse` its `post`."""
    transform = Stft(StftOptions()).bind(info(512, stems=2, normalise=True))
    x = 0.1 * noise(3, 2, length) + 0.02
    feeds, remembered = transform.forward({"mix": x})
    mix, mag, scale = pre(MODEL, torch.from_numpy(x)[None])
    assert (mix.shape, mag.shape) == (feeds["mix"].shape, feeds["mag"].shape)
    assert snr_db(mix.numpy(), feeds["mix"]) > EXACT_DB
    assert snr_db(mag.numpy(), feeds["mag"]) > EXACT_DB
    time_out, spec_out = torch.randn(1, 2, *mix.shape[1:]), torch.randn(1, 2, *mag.shape[1:])
    expected = post(MODEL, time_out, spec_out, scale)[0].numpy()
    outputs = {"time_out": time_out.numpy(), "spec_out": spec_out.numpy()}
    actual = transform.inverse(outputs, remembered)["stems"]
    assert actual.dtype == np.float32
    assert snr_db(expected, actual) > EXACT_DB


def test_full_size_window_equals_demucs() -> None:
    """The published model's sizes, window 4096 and hop 1024, agree with demucs too."""
    model = small_model(4096)
    x = noise(7, 2, 44100)
    expected = model._spec(torch.from_numpy(x)[None])
    actual = spectrogram(x, 4096)
    assert actual.shape == (2, 2048, 44)
    assert snr_db(expected[0].abs().numpy(), np.abs(actual)) > EXACT_DB
    back = model._ispec(expected, 44100)[0].numpy()
    assert snr_db(back, waveform(actual, 4096, 44100)) > EXACT_DB


@FEW
@given(length=st.integers(1, 5000), nfft=SIZES, channels=st.integers(1, 3), seed=SEEDS)
def test_any_signal_comes_back_with_nyquist(
    length: int, nfft: int, channels: int, seed: int
) -> None:
    """With Nyquist kept and whole edges, any signal of 1 sample or more comes back unchanged."""
    x = noise(seed, channels, length)
    assert snr_db(x, through(bound(nfft, Nyquist.keep, Edges.whole, channels), x)) > EXACT_DB


@FEW
@given(hops=st.floats(3, 60), seed=SEEDS)
def test_a_signal_without_nyquist_comes_back_without_it(hops: float, seed: int) -> None:
    """Tones far below Nyquist lose nothing when the highest bin is dropped.

    Below 5/2 hop, demucs pads with zeros, which make a step with energy at Nyquist.
    """
    x = tones(seed, int(hops * 1024))
    assert snr_db(x, through(bound(4096, Nyquist.drop, Edges.whole), x)) > EXACT_DB


@FEW
@given(hops=st.floats(6, 60), seed=SEEDS)
def test_demucs_fades_only_the_outer_hops(hops: float, seed: int) -> None:
    """With demucs's edges, a window comes back except for its outer 3/2 hop, as in demucs."""
    x = tones(seed, int(hops * 1024))
    y = through(bound(4096, Nyquist.drop, Edges.demucs), x)
    inner = slice(1536, x.shape[-1] - 1536)
    assert snr_db(x[:, inner], y[:, inner]) > EXACT_DB
    np.testing.assert_allclose(x[:, 0] / 2, y[:, 0], atol=1e-3)


def test_ten_minutes_come_back() -> None:
    """A song of ten minutes comes back in one piece.

    It is mono: the spectrogram is four times as large as the signal, so an hour of it would be 2.5
    GB.
    """
    x = np.tile(tones(1, 44100, channels=1), 600)
    x *= np.linspace(0.1, 1.0, x.shape[-1], dtype=np.float32)
    spectrum = spectrogram(x, 4096, keep_nyquist=True)
    assert snr_db(x, waveform(spectrum, 4096, x.shape[-1], whole_edges=True)) > EXACT_DB


def test_silence_stays_silence_and_finite() -> None:
    """A silent window has no spread to divide by, and still gives zeros."""
    transform = Stft(StftOptions()).bind(info(64, normalise=True))
    assert (through(transform, np.zeros((2, 500), np.float32)) == 0).all()


def test_one_mono_sample_is_finite() -> None:
    """The spread of one sample, which is NaN in torch, counts as zero."""
    transform = Stft(StftOptions()).bind(info(64, channels=1, normalise=True))
    feeds, _ = transform.forward({"mix": np.full((1, 1), 0.5, np.float32)})
    assert all(np.isfinite(array).all() for array in feeds.values())


def test_missing_facts_are_named() -> None:
    """A model without the sizes gets an error that lists the missing facts."""
    facts = dict(info(64).dsp_facts)
    del facts["hop"], facts["spec_input"]
    lacking = ModelInfo(info(64).signature, ("mix",), ("out",), dsp_facts=facts)
    with pytest.raises(StageError, match="hop, spec_input"):
        Stft(StftOptions()).bind(lacking)


@pytest.mark.parametrize(("nfft", "hop"), [(4096, 512), (12, 3)])
def test_sizes_that_demucs_cannot_frame_are_refused(nfft: int, hop: int) -> None:
    """A hop that is not an even quarter of the window is refused."""
    facts = {**info(64).dsp_facts, "nfft": nfft, "hop": hop}
    odd = ModelInfo(info(64).signature, ("mix",), ("out",), dsp_facts=facts)
    with pytest.raises(StageError, match=f"nfft {nfft} and hop {hop}"):
        Stft(StftOptions()).bind(odd)
