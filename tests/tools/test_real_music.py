"""`tools.real_music`: the evaluation set from Debian packages."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from plugins.dataset.files import Files, FilesOptions
from plugins.dataset.musdb import Musdb, MusdbOptions
from tools import midi_stems, real_music
from tools.real_music_pieces import PIECES, Recording, Rendering, Source

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from numpy.typing import NDArray

RATE = real_music.RATE


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the packages by one sound of 22.05 kHz, and fluidsynth by one tone per channel."""
    rng = np.random.default_rng(0)
    sound = tmp_path / "music-1.16.wav"
    soundfile.write(sound, rng.uniform(-0.5, 0.5, (5 * 22050, 1)), 22050, subtype="FLOAT")
    (tmp_path / "song.mid").write_bytes(b"MThd")
    (tmp_path / "font.sf2").write_bytes(b"")

    def render(
        _file: Path, _soundfont: Path, channels: Collection[int], samplerate: int
    ) -> NDArray[np.float32]:
        time = np.arange(4 * samplerate) / samplerate
        tone = sum(np.sin(2 * np.pi * 100.0 * channel * time) for channel in channels)
        return np.stack([tone, tone]).astype(np.float32)

    recorded = Source("some-music", f"{tmp_path}/music-*.wav", "CC0")
    written = Source("some-midi", f"{tmp_path}/song.mid", "CC0")
    pieces = (
        Recording("song", "a song", recorded, 2.0),
        Rendering("band", "a band", written, 1.0, {"drums": (10,), "other": (1, 2)}, recorded, 0.5),
    )
    monkeypatch.setattr(real_music, "PIECES", pieces)
    monkeypatch.setattr(real_music, "SOUNDFONT", Source("font", f"{tmp_path}/font.sf2", "CC0"))
    monkeypatch.setattr(real_music, "PLAYERS", {})
    monkeypatch.setattr(real_music, "SECONDS", 2.0)
    monkeypatch.setattr(real_music, "_version", lambda _package: "1.0-1")
    monkeypatch.setattr(midi_stems, "render", render)
    return tmp_path / "set"


def test_the_set_lies_as_the_datasets_read_it(small: Path) -> None:
    """`files` reads every piece, and `musdb` the pieces with stems, which add up to the mixture."""
    real_music.make(small)
    files = Files(FilesOptions(str(small / "pieces")))
    assert [source.name for source in files.sources()] == ["band.wav", "song.wav"]
    musdb = Musdb(MusdbOptions(str(small / "stems")))
    assert musdb.identity("evaluation") == files.identity("evaluation")[:1]
    folder = small / "stems" / "test" / "band"
    stems = [soundfile.read(folder / f"{name}.wav")[0] for name in real_music.STEMS]
    mixture, rate = soundfile.read(folder / "mixture.wav")
    assert (rate, mixture.shape) == (RATE, (2 * RATE, 2))
    np.testing.assert_allclose(sum(stems), mixture, atol=1e-6)
    np.testing.assert_allclose(np.abs(mixture).max(), 0.5, rtol=1e-3)
    assert not stems[1].any(), "no channel plays the bass"
    band = np.mean((stems[0] + stems[2]) ** 2)
    np.testing.assert_allclose(np.mean(stems[3] ** 2), band, rtol=1e-3)


def test_an_excerpt_begins_where_the_table_says(small: Path) -> None:
    """An excerpt begins at the second of its table, at 44.1 kHz and equal on both channels."""
    real_music.make(small)
    excerpt, rate = soundfile.read(small / "pieces" / "song.wav")
    whole, old = soundfile.read(small.parent / "music-1.16.wav")
    assert (rate, old) == (RATE, 22050)
    np.testing.assert_array_equal(excerpt[:, 0], excerpt[:, 1])
    inside = slice(100, 8000)  # away from the cut: the resampler sees the samples beyond it
    np.testing.assert_allclose(excerpt[::2][inside, 0], whole[2 * old :][inside], atol=0.2)


def test_the_same_packages_give_the_same_bytes(small: Path) -> None:
    """The same packages give the same manifest, with the version and the files of every piece."""
    first = real_music.make(small)
    again = real_music.make(small)
    assert again == first == json.loads((small / "manifest.json").read_text())
    assert first[0]["sources"][0]["version"] == "1.0-1"
    assert first[0]["second"] == 2.0
    assert set(first[1]["files"]) == {
        "pieces/band.wav",
        *(f"stems/test/band/{name}.wav" for name in ("mixture", *real_music.STEMS)),
    }


def test_missing_packages_are_told_with_the_command(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All missing packages and programs are in one install command, and nothing is written."""
    monkeypatch.setattr(real_music, "PLAYERS", {"some-player": "a-program-that-nobody-has"})
    (small.parent / "song.mid").unlink()
    with pytest.raises(SystemExit, match=r"apt-get install .* some-midi some-player$"):
        real_music.main([str(small)])
    assert not small.exists()


def test_a_folder_of_other_files_is_left_alone(small: Path) -> None:
    """A folder with a person's own files is refused, and the files stay unchanged."""
    own = small / "pieces" / "mine.wav"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    with pytest.raises(SystemExit, match="holds other files"):
        real_music.make(small)
    assert own.read_bytes() == b"mine"


def test_the_table_names_each_piece_once_and_every_kind_of_music() -> None:
    """The table has ten different names or more, three pieces with true stems, and a voice."""
    names = [piece.name for piece in PIECES]
    assert len(set(names)) == len(names) >= 10
    rendered = [piece for piece in PIECES if isinstance(piece, Rendering)]
    assert len(rendered) >= 3
    assert any(piece.voice for piece in rendered)
    for piece in rendered:
        channels = [channel for part in piece.stems.values() for channel in part]
        assert len(set(channels)) == len(channels), "a channel that sounds in two stems"
        assert set(piece.stems) <= set(real_music.STEMS)


@pytest.mark.skipif(
    not (shutil.which("fluidsynth") and real_music._files(real_music.SOUNDFONT)),
    reason="fluidsynth and timgm6mb-soundfont are not installed",
)
def test_fluidsynth_plays_one_channel(tmp_path: Path) -> None:
    """Fluidsynth plays a note of one channel, and is silent without this channel."""
    note = b"\x00\x90\x45\x7f\x60\x80\x45\x00\x00\xff\x2f\x00"
    file = tmp_path / "note.mid"
    header = b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x00\x60"
    file.write_bytes(header + b"MTrk" + len(note).to_bytes(4, "big") + note)
    (font,) = real_music._files(real_music.SOUNDFONT)
    sound = midi_stems.render(file, font, (1,), RATE)
    assert sound.shape[0] == 2
    assert np.abs(sound).max() > 0.01
    assert np.abs(midi_stems.render(file, font, (2,), RATE)).max() < 1e-3
