"""The dataset `musdb` reads a local MUSDB18-HQ folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from core import InputError, Signature
from core.inference.items import checked_items
from plugins.dataset.files import Files, FilesOptions
from plugins.dataset.musdb import Musdb, MusdbOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Write = Callable[..., Path]
    Separation = Callable[..., Signature]

TRACKS = ("mixture", "drums", "bass", "other", "vocals")


@pytest.fixture
def root(tmp_path: Path, write: Write) -> Path:
    """Write a small copy: two songs for training, two for the test."""
    seed = 0
    for song in ("train/A - One", "train/B - Two", "test/C - Three", "test/D - Four"):
        for track in TRACKS:
            seed += 1
            write(tmp_path / song / f"{track}.wav", seed)
    return tmp_path


def test_each_split_is_its_own_part(root: Path, separation: Separation) -> None:
    """Calibration songs come from `train`, evaluation songs from `test`, each within its limit."""
    dataset = Musdb(MusdbOptions(str(root), calibration_limit=1))
    for split, names in (("calibration", ["A - One"]), ("evaluation", ["C - Three", "D - Four"])):
        items = list(checked_items(dataset, split, separation()))  # type: ignore[arg-type]
        assert names == [item.name for item in items]
        assert dataset.identity(split) == tuple(item.id for item in items)  # type: ignore[arg-type]


def test_true_stems_come_in_the_order_of_the_model(root: Path, separation: Separation) -> None:
    """True stems are stacked in the order of the model's labels."""
    dataset = Musdb(MusdbOptions(str(root), limit=1))
    (item,) = dataset.items("evaluation", separation(labels=("vocals", "drums")))
    assert item.references["parts"].shape == (2, 2, 2000)
    (other,) = dataset.items("evaluation", separation(labels=("drums", "vocals")))
    np.testing.assert_array_equal(item.references["parts"][0], other.references["parts"][1])


def test_a_stem_that_musdb_lacks_leaves_no_references(root: Path, separation: Separation) -> None:
    """A model with a stem that MUSDB lacks gets no references."""
    dataset = Musdb(MusdbOptions(str(root), limit=1))
    (item,) = dataset.items("evaluation", separation(labels=(*TRACKS[1:], "piano")))
    assert item.references == {}


def test_a_song_is_known_again_as_a_file(root: Path) -> None:
    """A mixture has the same id in `files` and in `musdb`, so calibration on it is noticed."""
    mixture = root / "test" / "C - Three" / "mixture.wav"
    as_file = Files(FilesOptions(str(mixture))).identity("calibration")
    assert set(as_file) <= set(Musdb(MusdbOptions(str(root))).identity("evaluation"))


def test_a_stem_of_another_length_is_refused_by_the_plan(root: Path, write: Write) -> None:
    """A stem shorter than its mixture is refused by the plan."""
    write(root / "test" / "C - Three" / "bass.wav", frames=1999)
    dataset = Musdb(MusdbOptions(str(root), limit=1))
    with pytest.raises(InputError, match=r"`bass.wav` has 1999 samples.*2000"):
        dataset.identity("evaluation")
    assert dataset.identity("calibration"), "the other part is whole"


def test_a_stem_of_another_rate_and_length_is_refused(
    root: Path, write: Write, separation: Separation
) -> None:
    """A stem of another rate is refused if its length differs after resampling."""
    write(root / "test" / "C - Three" / "bass.wav", frames=2000, rate=48000)
    dataset = Musdb(MusdbOptions(str(root), limit=1))
    with pytest.raises(InputError, match=r"`bass.wav` has 1838 samples.*2000"):
        list(dataset.items("evaluation", separation()))


@pytest.mark.parametrize("track", ["mixture", "vocals"])
def test_a_track_that_is_cut_short_is_refused_by_the_plan(root: Path, track: str) -> None:
    """A mixture or stem that is cut short is refused before anything runs."""
    file = root / "test" / "D - Four" / f"{track}.wav"
    file.write_bytes(file.read_bytes()[:4000])
    assert len(Musdb(MusdbOptions(str(root), limit=1)).identity("evaluation")) == 1
    with pytest.raises(InputError, match=rf"`{track}\.wav` is cut short"):
        Musdb(MusdbOptions(str(root))).identity("evaluation")


@pytest.mark.parametrize(("folder", "message"), [("", "is not a MUSDB18-HQ"), ("no", "not exist")])
def test_another_folder_is_refused(tmp_path: Path, folder: str, message: str) -> None:
    """The error for another folder shows the expected layout and the dataset without stems."""
    with pytest.raises(InputError, match=message) as caught:
        Musdb(MusdbOptions(str(tmp_path / folder))).identity("evaluation")
    assert "test/<song>/mixture.wav" in str(caught.value)
    assert "dataset=files" in str(caught.value)


def test_limits_that_leave_nothing_are_refused() -> None:
    """A limit of 0 songs is refused."""
    with pytest.raises(ValueError, match="`calibration_limit` is 0"):
        MusdbOptions("musdb18hq", calibration_limit=0)
