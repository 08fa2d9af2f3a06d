"""The device code reads and writes songs as WAV files, with NumPy alone."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import core
from core import ModelInfo, Signature, TensorSpec
from core.measure.metrics import snr_db
from plugins.dataset._audio import __file__ as audio
from plugins.dataset._audio.resampling import resample
from plugins.dataset.synthetic import Synthetic

OWN = Path(core.__file__).parent / "bundle" / "on_device" / "python"
MEDIUM = Path(audio).parent / "on_device" / "python" / "medium.py"
RATES = {"time": 44100.0}
SIGNATURE = Signature(
    (TensorSpec("mix", ("channel", "time"), (2, "time"), rates=RATES),),
    (TensorSpec("stems", ("stem", "channel", "time"), (2, 2, "time"), rates=RATES),),
)
METADATA: dict[str, Any] = {
    "signature": {
        "inputs": [
            {"name": "mix", "axes": ["channel", "time"], "shape": [2, "time"], "rates": RATES}
        ],
        "outputs": [
            {
                "name": "stems",
                "axes": ["stem", "channel", "time"],
                "rates": RATES,
                "labels": {"stem": ["drums", "bass"]},
            }
        ],
    }
}


@pytest.fixture
def medium(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the names that the shipped file defines."""
    monkeypatch.syspath_prepend(OWN)
    info = ModelInfo(SIGNATURE, ("mix",), ("stems",))
    file = Synthetic(Synthetic.Options()).ships(info).sources["python/medium.py"]
    return runpy.run_path(str(file))


def song(channels: int = 2) -> np.ndarray[Any, np.dtype[np.float32]]:
    return (
        (0.3 * np.random.default_rng(0).standard_normal((501, channels)))
        .clip(-0.9, 0.9)
        .astype(np.float32)
    )


@pytest.mark.parametrize("kind", ["PCM_16", "PCM_24", "PCM_32", "FLOAT"])
@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
def test_every_usual_wav_reads_as_with_libsndfile(
    medium: dict[str, Any], tmp_path: Path, kind: str, container: str
) -> None:
    """The device code reads the usual WAV files to the same bits as libsndfile.

    A lost digit could move a quantised model by a whole step.
    """
    file = tmp_path / "song.wav"
    soundfile.write(file, song(), 44100, kind, format=container)
    expected, _ = soundfile.read(file, dtype="float32")
    np.testing.assert_array_equal(expected.T, medium["read"](file, METADATA)["mix"])


def test_mono_goes_to_every_channel(medium: dict[str, Any], tmp_path: Path) -> None:
    """A mono file is copied to every channel, as in Luthier."""
    soundfile.write(tmp_path / "mono.wav", song(1), 44100, "FLOAT")
    left, right = medium["read"](tmp_path / "mono.wav", METADATA)["mix"]
    np.testing.assert_array_equal(song(1)[:, 0], left)
    np.testing.assert_array_equal(left, right)


def test_floats_of_64_bits_read_as_with_libsndfile(medium: dict[str, Any], tmp_path: Path) -> None:
    """Doubles become the same float32 as with libsndfile."""
    file = tmp_path / "song.wav"
    soundfile.write(file, song().astype(np.float64) / 3, 44100, "DOUBLE")
    expected, _ = soundfile.read(file, dtype="float32")
    np.testing.assert_array_equal(expected.T, medium["read"](file, METADATA)["mix"])


@settings(max_examples=30, deadline=None)
@given(
    old=st.sampled_from([8000, 11025, 22050, 32000, 44100, 48000, 88200, 96000, 192000]),
    new=st.sampled_from([8000, 16000, 44100, 48000]),
    length=st.integers(1, 3000),
)
def test_another_rate_is_resampled_as_in_luthier(old: int, new: int, length: int) -> None:
    """Any usual rate is resampled like a run does it, to 120 dB, and to the same length."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(OWN)
        resampled = runpy.run_path(str(MEDIUM))["resampled"]
    sound = np.random.default_rng(length).standard_normal((2, length)).astype(np.float32)
    made = sound if old == new else resampled(Path("song.wav"), sound, old, new)
    assert snr_db(resample(sound, old, new), made) > 120


def test_a_song_of_another_rate_is_read(
    medium: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A song at 48 kHz is read at the model's rate, and a line says so."""
    soundfile.write(tmp_path / "song.wav", song(), 48000, "PCM_24")
    made = medium["read"](tmp_path / "song.wav", METADATA)["mix"]
    assert made.shape == (2, -(-501 * 44100 // 48000))
    assert "song.wav was resampled from 48000 to 44100 Hz" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("channels", "rate", "kind", "said"),
    [
        (2, 44099, "PCM_16", "ffmpeg -i song.wav -ar 44100"),
        (3, 44100, "PCM_16", "3 channels"),
        (2, 44100, "PCM_U8", "16, 24 and 32 bits"),
    ],
)
def test_other_songs_end_in_a_sentence(
    medium: dict[str, Any], tmp_path: Path, channels: int, rate: int, kind: str, said: str
) -> None:
    """A file of an odd rate, channel count or format ends in one sentence with what to do."""
    soundfile.write(tmp_path / "song.wav", song(channels), rate, kind)
    with pytest.raises(medium["BundleError"], match=said):
        medium["read"](tmp_path / "song.wav", METADATA)


@pytest.mark.parametrize("content", ["a letter", "", "RIFF\0\0\0\0WAVE", "RIFF\0\0\0\0WAVEfmt "])
def test_what_is_no_wav_is_refused(medium: dict[str, Any], tmp_path: Path, content: str) -> None:
    """A file that is no whole WAV is refused, even if its name ends in `.wav`."""
    (tmp_path / "song.wav").write_text(content)
    with pytest.raises(medium["BundleError"], match=r"song\.wav is (not|a damaged) (a )?WAV"):
        medium["read"](tmp_path / "song.wav", METADATA)


def test_stems_are_written_by_name(medium: dict[str, Any], tmp_path: Path) -> None:
    """Each stem is written to a file of its name, as 32-bit floats that clip nothing."""
    stems = np.stack([song().T, 2 * song().T])
    medium["write"](tmp_path, {"stems": stems}, METADATA)
    for name, expected in zip(("drums", "bass"), stems, strict=True):
        found, rate = soundfile.read(tmp_path / f"{name}.wav", dtype="float32")
        assert rate == 44100
        np.testing.assert_array_equal(expected, found.T)
