"""The device code reads and writes songs as WAV files, with NumPy alone."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from core import ModelInfo, Signature, TensorSpec
from plugins.dataset.synthetic import Synthetic

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
def medium() -> dict[str, Any]:
    """Return the names that the shipped file defines."""
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


@pytest.mark.parametrize(
    ("channels", "rate", "kind", "said"),
    [
        (2, 48000, "PCM_16", "resample"),
        (3, 44100, "PCM_16", "3 channels"),
        (2, 44100, "PCM_U8", "16"),
    ],
)
def test_other_songs_end_in_a_sentence(
    medium: dict[str, Any], tmp_path: Path, channels: int, rate: int, kind: str, said: str
) -> None:
    """A file of another rate, channel count or format ends in one sentence with what to give."""
    soundfile.write(tmp_path / "song.wav", song(channels), rate, kind)
    with pytest.raises(SystemExit, match=said):
        medium["read"](tmp_path / "song.wav", METADATA)


def test_what_is_no_wav_is_refused(medium: dict[str, Any], tmp_path: Path) -> None:
    """A file that is no WAV is refused, even if its name ends in `.wav`."""
    (tmp_path / "song.wav").write_text("a letter")
    with pytest.raises(SystemExit, match="not a WAV"):
        medium["read"](tmp_path / "song.wav", METADATA)


def test_stems_are_written_by_name(medium: dict[str, Any], tmp_path: Path) -> None:
    """Each stem is written to a file of its name, as 32-bit floats that clip nothing."""
    stems = np.stack([song().T, 2 * song().T])
    medium["write"](tmp_path, {"stems": stems}, METADATA)
    for name, expected in zip(("drums", "bass"), stems, strict=True):
        found, rate = soundfile.read(tmp_path / f"{name}.wav", dtype="float32")
        assert rate == 44100
        np.testing.assert_array_equal(expected, found.T)
