"""Damaged files play the part that can be decoded.

The files are cut short, damaged, laid end to end, or have a wrong count.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from core import Array, InputError
from plugins.dataset._audio import libav, vorbis
from plugins.dataset._audio.mpeg import after_tags, runs
from plugins.dataset._audio.octets import Octets
from plugins.dataset._audio.reading import check, read
from tests.hostile.packed_sound import ogg_page, ogg_pages

if TYPE_CHECKING:
    from pathlib import Path


RATE = 44100


@pytest.fixture(autouse=True)
def _without_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide FFmpeg's libraries: these tests need only the base installation."""
    monkeypatch.setattr(libav, "installed", lambda: False)


def music(seconds: float, seed: int = 0, rate: int = RATE) -> Array:
    """Return stereo (time, channel) of changing loudness and pitch: no two blocks are alike."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    tones = [
        random.uniform(0.05, 0.2) * np.sin(2 * np.pi * (f * time + 30 * np.sin(time * f / 99)))
        for f in random.uniform(100, 4000, 6)
    ]
    return np.stack([sum(tones[:4]), sum(tones[2:])], 1).astype(np.float32)


def written(file: Path, samples: Array, rate: int = RATE, **how: object) -> bytes:
    """Write a file and return its bytes."""
    soundfile.write(file, samples, rate, **how)
    return file.read_bytes()


def snr(expected: Array, actual: Array) -> float:
    """Return the SNR in dB."""
    error = np.sum(np.square(expected - actual, dtype=np.float64))
    return float(10 * np.log10(np.sum(np.square(expected, dtype=np.float64)) / (error + 1e-20)))


def tell(file: Path) -> str:
    """Return the text of all notices about a file."""
    return "\n".join(notice.text for notice in read(file).notices)


@pytest.mark.parametrize("ending", ["wav", "flac", "aiff", "w64", "au", "mp3"])
@pytest.mark.parametrize("share", [0.9, 0.4])
def test_a_file_that_is_cut_short_plays_what_is_there(
    tmp_path: Path, ending: str, share: float
) -> None:
    """A file that is cut short plays its remaining samples, with a warning on the missing part."""
    file = tmp_path / f"song.{ending}"
    data = written(file, music(4))
    whole = read(file)
    assert (whole.notices, whole.whole) == ((), True)
    file.write_bytes(data[: int(share * len(data))])
    sound = read(file)
    frames = sound.samples.shape[1]
    assert frames == pytest.approx(share * 4 * RATE, rel=0.12)
    assert snr(whole.samples[:, : frames - 2000], sound.samples[:, : frames - 2000]) > 60
    missing = (whole.samples.shape[1] - frames) / RATE
    (notice,) = sound.notices
    assert notice.severity == "warning"
    text = f"is cut short or damaged: {frames / RATE:.1f} s of 4.0 s can be decoded and are played"
    assert text in notice.text
    assert float(notice.text.rpartition("; ")[2].split()[0]) == pytest.approx(missing, abs=0.06)
    assert not sound.whole
    assert check(file) > 0


@pytest.mark.parametrize(("ending", "rate"), [("ogg", RATE), ("opus", 48000)])
def test_an_ogg_that_breaks_off_says_that_nobody_knows(
    tmp_path: Path, ending: str, rate: int
) -> None:
    """A notice says that an Ogg file breaks off and that the missing length is unknown."""
    file = tmp_path / f"song.{ending}"
    how = {"format": "OGG", "subtype": "OPUS"} if ending == "opus" else {}
    data = written(file, music(4, rate=rate), rate, **how)
    file.write_bytes(data[: len(data) * 2 // 3])
    sound = read(file)
    assert rate < sound.samples.shape[1] < 3.5 * rate
    assert "ends within a page: an Ogg file does not tell how much is missing" in tell(file)


@pytest.mark.parametrize("more", [32, 104, 4409])
def test_an_ogg_whose_count_is_off_by_the_encoders_padding_is_whole(
    tmp_path: Path, more: int
) -> None:
    """An Ogg file is whole although its count of samples is up to a tenth of a second too high.

    3 of 17 tracks of one package have a count that is 104 samples too high.
    """
    file = tmp_path / "song.ogg"
    data = written(file, music(2))
    *first, last = ogg_pages(data)
    position = struct.unpack("<q", last[6:14])[0] + more
    file.write_bytes(b"".join(first) + ogg_page(last, {6: struct.pack("<q", position)}))
    with soundfile.SoundFile(file) as opened:
        assert opened.frames == 2 * RATE + more, "the file is not what the test means"
    sound = read(file)
    assert 2 * RATE <= sound.samples.shape[1] <= 2 * RATE + more
    assert sound.notices == ()
    assert check(file) > 0


def test_an_ogg_that_promises_much_more_than_there_is_says_so(tmp_path: Path) -> None:
    """An Ogg file whose count is a second too high is played, and a notice says what is missing."""
    file = tmp_path / "song.ogg"
    *first, last = ogg_pages(written(file, music(2)))
    position = struct.unpack("<q", last[6:14])[0] + RATE
    file.write_bytes(b"".join(first) + ogg_page(last, {6: struct.pack("<q", position)}))
    assert "2.0 s of 3.0 s can be decoded and are played; 1.0 s are missing" in tell(file)


@pytest.mark.parametrize(("ending", "rate"), [("ogg", RATE), ("opus", 48000)])
def test_every_link_of_a_chain_is_read(tmp_path: Path, ending: str, rate: int) -> None:
    """Two songs in one Ogg file are both read; libsndfile reads only the first."""
    how = {"format": "OGG", "subtype": "OPUS"} if ending == "opus" else {}
    one = written(tmp_path / f"one.{ending}", music(2, 1, rate), rate, **how)
    two = written(tmp_path / f"two.{ending}", music(1, 2, rate), rate, **how)
    file = tmp_path / f"both.{ending}"
    file.write_bytes(one + two)
    expected = [read(tmp_path / f"{name}.{ending}").samples for name in ("one", "two")]
    sound = read(file)
    np.testing.assert_array_equal(np.concatenate(expected, axis=1), sound.samples)
    assert "consists of 2 pieces (a chained Ogg)" in tell(file)
    assert (sound.whole, check(file)) == (True, 3 * rate)


@pytest.mark.parametrize("shared", [2, 9])
def test_sound_on_the_page_of_the_headers_is_read(tmp_path: Path, shared: int) -> None:
    """Sound that begins on the page where the headers end is read.

    libsndfile loses this whole page; one of 511 files in Debian's packages has this form.
    """
    file = tmp_path / "song.ogg"
    pages = ogg_pages(written(file, music(3)))
    whole = read(file)
    # Move the last segments of the headers to the first page of sound.
    (head, lengths, body), (sound, more, rest) = (_taken_apart(p) for p in pages[1:3])
    moved = sum(lengths[-shared:])
    kept = vorbis.page(head, lengths[:-shared], body[:-moved])
    own = sound[:5] + bytes([sound[5] | 1]) + sound[6:]
    mixed = vorbis.page(own, lengths[-shared:] + more, body[-moved:] + rest)
    file.write_bytes(b"".join((pages[0], kept, mixed, *pages[3:])))
    assert soundfile.info(file).frames < whole.samples.shape[1] - 1000
    sound_of_all = read(file)
    np.testing.assert_array_equal(sound_of_all.samples, whole.samples)
    assert (sound_of_all.whole, check(file)) == (True, whole.samples.shape[1])


def _taken_apart(page: bytes) -> tuple[bytes, bytes, bytes]:
    body = 27 + page[26]
    return page[:27], page[27:body], page[body:]


def test_pages_that_are_not_there_are_told(tmp_path: Path) -> None:
    """A notice says how many seconds of an Ogg file are missing in its middle.

    Page numbers show the gap, for example a part of a download that was never written.
    """
    file = tmp_path / "song.ogg"
    pages = ogg_pages(written(file, music(20)))
    gone = pages[4:-2]
    assert gone
    file.write_bytes(b"".join((*pages[:4], *pages[-2:])))
    first, last = (struct.unpack("<q", page[6:14])[0] for page in (pages[3], pages[-3]))
    (told,) = (n.text for n in read(file).notices if "in its middle are missing" in n.text)
    seconds = float(told.split("about ")[1].split()[0])
    assert seconds == pytest.approx((last - first) / RATE, abs=1.0)


def test_links_of_other_rates_and_channels_become_one_sound(tmp_path: Path) -> None:
    """Chained songs get the first song's rate, and become stereo if one of them is stereo."""
    one = written(tmp_path / "one.ogg", music(1, 1)[:, :1])
    two = written(tmp_path / "two.ogg", music(1, 2, 22050), 22050)
    file = tmp_path / "both.ogg"
    file.write_bytes(one + two)
    sound = read(file)
    assert (sound.rate, sound.samples.shape) == (RATE, (2, 2 * RATE))
    np.testing.assert_array_equal(sound.samples[0, :RATE], sound.samples[1, :RATE])
    assert np.abs(sound.samples[0, RATE:] - sound.samples[1, RATE:]).max() > 0.01


def test_sound_between_pages_of_something_else_is_read(tmp_path: Path) -> None:
    """A stream of text or pictures in the same Ogg file is skipped."""
    file = tmp_path / "song.ogg"
    pages = ogg_pages(written(file, music(2)))
    whole = read(file)
    text = ogg_page(pages[0], {14: b"\1\2\3\4", 27 + pages[0][26]: b"\x80kate\0\0\0"})
    more = ogg_page(pages[2], {14: b"\1\2\3\4"})
    file.write_bytes(pages[0] + text + b"".join(pages[1:3]) + more + b"".join(pages[3:]))
    np.testing.assert_array_equal(whole.samples, read(file).samples)


def test_damage_in_a_flac_is_silence_in_its_place(tmp_path: Path) -> None:
    """Damage in a FLAC file becomes silence of the same length, and later samples do not move.

    Other players also continue after the damage.
    """
    file = tmp_path / "song.flac"
    data = bytearray(written(file, music(4)))
    whole = read(file).samples
    at = len(data) // 2
    data[at : at + 200] = bytes(200)
    file.write_bytes(data)
    sound = read(file)
    assert sound.samples.shape == whole.shape
    silent = np.flatnonzero((sound.samples == 0).all(0) & (whole != 0).any(0))
    assert 1000 < len(silent) < 10_000
    kept = np.ones(whole.shape[1], bool)
    kept[silent.min() : silent.max() + 1] = False
    np.testing.assert_array_equal(whole[:, kept], sound.samples[:, kept])
    seconds = (silent.max() + 1 - silent.min()) / RATE
    place = f"0:{silent.min() / RATE:06.3f}"
    assert f"is damaged: {seconds:.2f} s at {place} are lost and silent" in tell(file)
    assert not sound.whole


def _variable(file: Path, seconds: float) -> tuple[bytes, bytes]:
    """Write an MP3 of variable rate; return the frame with the count, and the other frames."""
    quiet = music(seconds)
    quiet[: len(quiet) // 3] *= 1e-3  # so that an estimate from the first frames is far off
    data = written(file, quiet, bitrate_mode="VARIABLE", compression_level=0.1)
    with file.open("rb") as opened:
        octets = Octets(opened)
        (run,) = runs(octets, after_tags(octets), octets.size)
    return run.info, b"".join(data[start:stop] for start, stop in run.ranges)


def test_an_mp3_of_variable_rate_is_read_to_its_end(tmp_path: Path) -> None:
    """An MP3 of variable rate without a count of frames is read to its end.

    libsndfile estimates the length and stops there.
    """
    file = tmp_path / "song.mp3"
    _, frames = _variable(file, 6)
    file.write_bytes(frames)
    with soundfile.SoundFile(file) as opened:
        alone = len(opened.read())
    sound = read(file)
    assert sound.samples.shape[1] / RATE == pytest.approx(6, abs=0.1)
    assert alone < 0.9 * sound.samples.shape[1] or alone == sound.samples.shape[1]
    assert np.abs(sound.samples[:, -RATE:]).max() > 0.1
    assert sound.notices == ()


@pytest.mark.parametrize("count", [100, 3])
def test_an_mp3_that_says_fewer_frames_than_it_has_is_read_to_its_end(
    tmp_path: Path, count: int
) -> None:
    """An MP3 whose count of frames is too low is read to its end, as other players do."""
    file = tmp_path / "song.mp3"
    info, frames = _variable(file, 6)
    at = info.index(b"Xing" if b"Xing" in info else b"Info")
    file.write_bytes(info[: at + 8] + struct.pack(">I", count) + info[at + 12 :] + frames)
    assert read(file).samples.shape[1] / RATE == pytest.approx(6, abs=0.1)


def test_mp3_files_laid_end_to_end_are_all_read(tmp_path: Path) -> None:
    """MP3 files laid end to end are all read, each without the padding of its encoder."""
    one = written(tmp_path / "one.mp3", music(2, 1))
    two = written(tmp_path / "two.mp3", music(1, 2))
    file = tmp_path / "both.mp3"
    file.write_bytes(one + two)
    expected = [read(tmp_path / f"{name}.mp3").samples for name in ("one", "two")]
    np.testing.assert_array_equal(np.concatenate(expected, axis=1), read(file).samples)
    assert "consists of 2 files, end to end" in tell(file)


def test_damage_in_an_mp3_is_passed_over(tmp_path: Path) -> None:
    """Damage in an MP3 is skipped and the rest is read; libsndfile stops at the damage."""
    file = tmp_path / "song.mp3"
    data = bytearray(written(file, music(6)))
    at = len(data) // 3
    data[at : at + 6000] = bytes(6000)
    file.write_bytes(data)
    sound = read(file)
    assert 5.0 < sound.samples.shape[1] / RATE < 6.0
    assert "in its middle are not MPEG audio and are left out" in tell(file)


def test_a_tag_between_files_and_one_behind_them_is_no_damage(tmp_path: Path) -> None:
    """Large tags between and behind MP3 files do not count as damage.

    A cover may be larger than a second of the song, and parts of it may look like frames.
    """
    one = written(tmp_path / "one.mp3", music(2, 1))
    two = written(tmp_path / "two.mp3", music(1, 2))
    picture = b"ID3\4\0\0\0\x40\0\0" + (b"\xff\xfb\x90\x64" + bytes(60)) * (1 << 14)
    ape = b"APETAGEX" + (bytes(99) + b"\xff\xfb\x90\x64") * 2000
    file = tmp_path / "both.mp3"
    file.write_bytes(one + picture + two + ape)
    expected = [read(tmp_path / f"{name}.mp3").samples for name in ("one", "two")]
    sound = read(file)
    np.testing.assert_array_equal(np.concatenate(expected, axis=1), sound.samples)
    assert sound.whole
    assert [notice.severity for notice in sound.notices] == ["info"]


@pytest.mark.parametrize("size", range(36, 60))
def test_an_mp3_that_breaks_off_within_its_header_is_one_clear_error(
    tmp_path: Path, size: int
) -> None:
    """An MP3 that breaks off anywhere within its first header is one clear error."""
    file = tmp_path / "song.mp3"
    data = written(file, music(1))
    with file.open("rb") as opened:
        start = after_tags(Octets(opened))
    file.write_bytes(data[start : start + size])
    with pytest.raises(InputError, match="song"):
        read(file)


@pytest.mark.parametrize("junk", [b"\0" * 5000, b"ID3\4\0\0\0\x40\0\0" + bytes(1 << 20)])
def test_an_mp3_begins_where_its_frames_do(tmp_path: Path, junk: bytes) -> None:
    """A tag of any size, or other bytes, before the first MP3 frame are skipped."""
    file = tmp_path / "song.mp3"
    data = written(file, music(1))
    whole = read(file).samples
    file.write_bytes(junk + data)
    np.testing.assert_array_equal(whole, read(file).samples)


def test_a_tag_before_a_flac_is_passed_over(tmp_path: Path) -> None:
    """An ID3 tag before a FLAC is skipped; some programs write one before any format."""
    file = tmp_path / "song.flac"
    data = written(file, music(1))
    whole = read(file).samples
    file.write_bytes(b"ID3\4\0\0\0\0\2\0" + bytes(256) + data)
    np.testing.assert_array_equal(whole, read(file).samples)


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
def test_a_file_of_nothing_but_a_header_is_refused(tmp_path: Path, ending: str) -> None:
    """A file that holds only a header is refused."""
    file = tmp_path / f"song.{ending}"
    file.write_bytes(written(file, music(1))[:44])
    for look in (check, read):
        with pytest.raises(
            InputError, match=rf"`song\.{ending}` (holds no samples|cannot be read)"
        ):
            look(file)
