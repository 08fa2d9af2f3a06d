"""HTDemucs in three parts: `pre`, core and `post` together are its `forward`."""

from __future__ import annotations

import pytest
import torch
from demucs.htdemucs import HTDemucs

from plugins.model._hybrid.split import HybridCore, core_shapes, output_shapes, post, pre

STEMS = ["drums", "bass", "other", "vocals"]


def small(**options: object) -> HTDemucs:
    """Return a small HTDemucs with random weights, seeded."""
    torch.manual_seed(0)
    common = {"sources": STEMS, "channels": 12, "t_layers": 2, "t_heads": 4}
    return HTDemucs(**{**common, "use_train_segment": False, **options}).eval()


def snr_db(expected: torch.Tensor, actual: torch.Tensor) -> float:
    """Return the ratio of the power of `expected` to that of the difference, in dB."""
    error = (expected - actual).double().square().sum()
    return float(10 * torch.log10(expected.double().square().sum() / error.clamp(min=1e-60)))


@pytest.fixture(scope="module")
def model() -> HTDemucs:
    return small()


@pytest.mark.parametrize("length", [44100, 22050, 45056, 30001])
def test_three_parts_are_forward(model: HTDemucs, length: int) -> None:
    """`pre`, core and `post` together equal `forward`, with and without whole hops and strides."""
    mix = torch.randn(1, 2, length)
    with torch.no_grad():
        expected = model(mix)
        waveform, spectrogram, scale = pre(model, mix)
        actual = post(model, *HybridCore(model)(waveform, spectrogram), scale)
    assert snr_db(expected, actual) > 110


def test_six_stems_and_bottom_channels() -> None:
    """The three parts equal `forward` with six stems and a wider transformer."""
    model = small(sources=[*STEMS, "guitar", "piano"], bottom_channels=128, t_cross_first=True)
    mix = torch.randn(1, 2, 22050)
    with torch.no_grad():
        expected = model(mix)
        waveform, spectrogram, scale = pre(model, mix)
        actual = post(model, *HybridCore(model)(waveform, spectrogram), scale)
    assert snr_db(expected, actual) > 110


def test_merged_branches() -> None:
    """The three parts equal `forward` in a network whose two branches merge in the middle."""
    model = small(depth=6, channels=8, t_layers=0, norm_starts=4)
    mix = torch.randn(1, 2, 65536)
    with torch.no_grad():
        expected = model(mix)
        waveform, spectrogram, scale = pre(model, mix)
        actual = post(model, *HybridCore(model)(waveform, spectrogram), scale)
    assert snr_db(expected, actual) > 110


def test_the_core_sees_unit_variance(model: HTDemucs) -> None:
    """`pre` normalises a quiet chunk with an offset to zero mean and unit variance."""
    mix = 1e-3 * torch.randn(1, 2, 22050) + 0.1
    waveform, spectrogram, _ = pre(model, mix)
    for tensor in (waveform, spectrogram):
        assert float(tensor.mean()) == pytest.approx(0, abs=1e-3)
        assert float(tensor.std()) == pytest.approx(1, abs=0.02)


def test_silence_stays_silence(model: HTDemucs) -> None:
    """A silent chunk comes back as silence and divides by no zero."""
    with torch.no_grad():
        waveform, spectrogram, scale = pre(model, torch.zeros(1, 2, 22050))
        stems = post(model, *HybridCore(model)(waveform, spectrogram), scale)
    assert float(stems.abs().max()) == 0


def test_shapes_are_what_they_say(model: HTDemucs) -> None:
    """`core_shapes` and `output_shapes` predict the shapes, for a chunk without whole hops."""
    waveform, spectrogram, _ = pre(model, torch.randn(1, 2, 30001))
    assert core_shapes(model, 30001) == {
        "mix": tuple(waveform.shape),
        "mag": tuple(spectrogram.shape),
    }
    with torch.no_grad():
        time_out, spec_out = HybridCore(model)(waveform, spectrogram)
    assert output_shapes(model, 30001) == {
        "time_out": tuple(time_out.shape),
        "spec_out": tuple(spec_out.shape),
    }


def test_a_masking_model_is_refused() -> None:
    """A model without complex-as-channels is refused: its core gives no spectrogram."""
    with pytest.raises(ValueError, match="cac=False"):
        HybridCore(small(cac=False))
