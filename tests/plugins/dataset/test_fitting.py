"""Sound is fitted to a model: rate, channels, stems."""

from __future__ import annotations

import numpy as np
import pytest

from core import InputError, Signature, TensorSpec
from plugins.dataset._audio.fitting import fit, references
from plugins.dataset._audio.reading import Sound

STEREO = TensorSpec("mix", ("channel", "time"), (2, "time"), rates={"time": 44100.0})
MONO = TensorSpec("mix", ("channel", "time"), (1, "time"), rates={"time": 44100.0})


def tone(rate: int, hertz: float, seconds: float = 0.5) -> np.ndarray:
    """Return a sine (1, time)."""
    phase = 2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate
    return np.sin(phase).astype(np.float32)[None]


@pytest.mark.parametrize("old", [8000, 192000])
def test_one_sample_stays_a_sound(old: int) -> None:
    """A sound of one sample has at least one sample at the new rate."""
    samples, _ = fit(Sound(np.ones((1, 1), np.float32), old), STEREO, "tick.wav")
    assert samples.shape[0] == 2
    assert samples.shape[1] >= 1
    assert np.isfinite(samples).all()


def test_what_fits_passes_untouched() -> None:
    """A sound that fits the model is not changed and causes no notice."""
    stereo = np.ones((2, 50), np.float32)
    samples, notices = fit(Sound(stereo, 44100), STEREO, "song.wav")
    assert samples is stereo
    assert notices == ()


def test_mono_goes_to_both_channels_and_back() -> None:
    """Mono is copied to both channels, stereo is averaged to mono, and a notice says so."""
    mono = tone(44100, 440.0)
    doubled, first = fit(Sound(mono, 44100), STEREO, "song.wav")
    np.testing.assert_array_equal(doubled, np.concatenate([mono, mono]))
    back, second = fit(Sound(doubled, 44100), MONO, "song.wav")
    np.testing.assert_array_equal(mono, back)
    assert "is mono" in first[0].text
    assert "is stereo" in second[0].text


def test_resampling_is_said() -> None:
    """A notice says the old and the new rate of a resampled song."""
    _, notices = fit(Sound(np.ones((2, 50), np.float32), 48000), STEREO, "song.wav")
    assert [n.text for n in notices] == ["`song.wav` was resampled from 48000 to 44100 Hz"]


def test_surround_is_refused_with_what_to_do() -> None:
    """Six channels are refused, and the message has the command that mixes them to two."""
    with pytest.raises(InputError, match="6 channels") as caught:
        fit(Sound(np.ones((6, 50), np.float32), 44100), STEREO, "song.wav")
    assert "ffmpeg -i song.wav -ac 2" in str(caught.value)


def test_references_follow_the_order_of_the_model() -> None:
    """Stems are stacked in the order of the model's labels; an unknown label gives none at all."""
    stems = {name: np.full((2, 3), n, np.float32) for n, name in enumerate(("bass", "vocals"))}

    def signature(*labels: str) -> Signature:
        output = TensorSpec(
            "stems", ("stem", "channel", "time"), (len(labels), 2, "time"), labels={"stem": labels}
        )
        return Signature((STEREO,), (output,))

    ordered = references(stems, signature("vocals", "bass"))["stems"]
    assert ordered.shape == (2, 2, 3)
    assert ordered[:, 0, 0].tolist() == [1.0, 0.0]
    assert references(stems, signature("vocals", "piano")) == {}
