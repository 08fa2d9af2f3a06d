"""Identifies a file by its content: its format, where its sound lies, and which library reads it.

A file extension may be wrong, and so may a diagnosis based on it. Signatures follow the formats'
own specifications; `libav` is FFmpeg's name of the demuxer of a container.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from plugins.dataset._audio import mpeg
from plugins.dataset._audio.octets import Octets

__all__ = ["Kind", "identify"]


_Native = Literal["", "plain", "flac", "ogg", "mpeg"]


@dataclass(frozen=True)
class Kind:
    """A file's format: its title, and which library may read it.

    `native` says how the file is passed to libsndfile, and `libav` names FFmpeg's demuxer; where
    both are empty the file is not sound. The sound lies from byte `start` up to `end`.
    """

    title: str
    native: _Native = ""
    libav: str = ""
    start: int = 0
    end: int = 0


#: Codecs in WAV that libsndfile does not read (RFC 2361), and their names.
_WAV_CODECS = {
    0x0020: "Yamaha ADPCM",
    0x0022: "TrueSpeech",
    0x0045: "G.726",
    0x0050: "MPEG audio",
    0x0055: "MP3",
    0x00FF: "AAC",
    0x0160: "WMA 1",
    0x0161: "WMA 2",
    0x0162: "WMA Pro",
    0x0163: "WMA Lossless",
    0x0270: "ATRAC3",
    0x028F: "G.722",
    0x1602: "AAC",
    0x1610: "AAC",
    0x2000: "AC-3",
    0x2001: "DTS",
    0x706D: "AAC",
}
#: Codecs in CAF that libsndfile does not read.
_CAF_CODECS = {b"aac ": "AAC", b"opus": "Opus", b"ima4": "IMA ADPCM", b".mp3": "MP3"}
#: Files that libsndfile reads: their first bytes, and bytes at a later offset; title, how the file
#: is passed to libsndfile, FFmpeg's demuxer.
_NATIVE: tuple[tuple[bytes, int, bytes, str, _Native, str], ...] = (
    (b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb", 0, b"", "Wave64", "plain", "w64"),
    (b"FORM", 8, b"AIFF", "AIFF", "plain", "aiff"),
    (b"FORM", 8, b"AIFC", "AIFF-C", "plain", "aiff"),
    (b".snd", 0, b"", "AU", "plain", "au"),
    (b"dns.", 0, b"", "AU", "plain", "au"),
    (b"fLaC", 0, b"", "FLAC", "flac", "flac"),
    (b"OggS", 28, b"Speex   ", "Speex in Ogg", "", "ogg"),
    (b"OggS", 0, b"", "Ogg", "ogg", "ogg"),
)
#: Files that begin with these bytes: title and FFmpeg's demuxer.
_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c", "WMA in ASF", "asf"),
    (b"wvpk", "WavPack", "wv"),
    (b"MAC ", "Monkey's Audio", "ape"),
    (b"MPCK", "Musepack 8", "mpc8"),
    (b"MP+", "Musepack 7", "mpc"),
    (b"TTA1", "TTA", "tta"),
    (b"DSD ", "DSD in DSF", "dsf"),
    (b"FRM8", "DSD in DSDIFF", "iff"),
    (b"\x0b\x77", "AC-3", "ac3"),
    (b"\x7f\xfe\x80\x01", "DTS", "dts"),
    (b"#!AMR", "AMR", "amr"),
    (b"FLV\x01", "Flash video", "flv"),
    (b"\x00\x00\x01\xba", "an MPEG programme stream", "mpeg"),
    (b".RMF", "RealMedia", "rm"),
    (b"RIFF", "a RIFF file without WAV in it, AVI perhaps", "avi"),
)
#: Files that hold no sound: their first bytes, and their description.
_NO_SOUND: tuple[tuple[bytes, str], ...] = (
    (b"MThd", "MIDI: notes, not sound"),
    (b"Extended Module: ", "a tracker module: notes and instruments, not a recording"),
    (b"IMPM", "a tracker module: notes and instruments, not a recording"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ\x00", "compressed with xz"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"GIF8", "a picture (GIF)"),
    (b"\x7fELF", "a program"),
    (b"version https://git-lfs", "a Git LFS pointer instead of the file: run git lfs pull"),
)
_TEXT = re.compile(rb"[\t\n\r\f\x1b\x20-\x7e\x80-\xff]*\Z")
#: AAC: twelve bits of sync, and two for a layer that is always 0; LOAS: eleven bits of sync.
_ADTS, _LOAS = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]"), re.compile(rb"\x56[\xe0-\xff]")
_ADTS_HEAD, _IN_A_ROW = 7, 4
#: Most bytes before the first AAC frame at the start of a recording.
_NEAR = 4096
#: Bytes of a packet of a transport stream.
_PACKET = 188
_LOOKED_AT = 4096
_MOST_CHUNKS = 100_000
#: Sample entries of MP4 (ISO/IEC 14496-12 and the MP4 registration authority), and their names.
_MP4_CODECS = {
    b"mp4a": "AAC",
    b"alac": "ALAC",
    b"Opus": "Opus",
    b"fLaC": "FLAC",
    b"ac-3": "AC-3",
    b"ec-3": "E-AC-3",
    b".mp3": "MP3",
    b"samr": "AMR",
    b"sawb": "AMR",
    b"drms": "AAC under copy protection",
    b"enca": "sound under copy protection",
}
#: Boxes of MP4 on the way to a sample entry.
_MP4_PATH = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
_MOST_BOXES = 100
_MATROSKA = {
    b"A_OPUS": "Opus",
    b"A_VORBIS": "Vorbis",
    b"A_AAC": "AAC",
    b"A_FLAC": "FLAC",
    b"A_MPEG/L3": "MP3",
    b"A_AC3": "AC-3",
    b"A_PCM": "PCM",
}


def identify(octets: Octets) -> Kind:
    """Return what a file is."""
    start = mpeg.after_tags(octets)
    # libsndfile knows more formats than this module: it may well know this one.
    other = Kind("of an unknown format", "plain", "", 0, octets.size)
    kind = _kind(octets, start, octets.size) or other
    return kind if kind.end else replace(kind, start=start, end=octets.size)


def _kind(octets: Octets, start: int, end: int) -> Kind | None:
    """Return the format of a range; None where no signature fits."""
    head = octets.at(start, _LOOKED_AT)
    if found := _by_codec(octets, head, start, end):
        return found
    for mark, at, more, title, native, libav in _NATIVE:
        if head.startswith(mark) and head[at:].startswith(more):
            return Kind(title, native, libav, start, end)
    for mark, title, libav in _SIGNATURES:
        if head.startswith(mark):
            return Kind(title, libav=libav)
    for mark, title in _NO_SOUND:
        if head.startswith(mark):
            return Kind(title)
    return _by_frames(octets, start, end) or _text(head)


def _by_codec(octets: Octets, head: bytes, start: int, end: int) -> Kind | None:
    """Return the format of a container that may hold several codecs; None for any other file."""
    if head[:4] in {b"RIFF", b"RIFX", b"RF64", b"BW64"} and head[8:12] == b"WAVE":
        return _wav(octets, start, end)
    if head[:4] == b"caff":
        return _caf(head, start, end)
    if head[4:8] in {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}:
        return Kind(_mp4(octets, start, end), libav="mov")
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return Kind(_matroska(octets, start, end), libav="matroska")
    return None


def _by_frames(octets: Octets, start: int, end: int) -> Kind | None:
    """Return the format of frames without a signature: MPEG audio, AAC, a transport stream."""
    head = octets.at(start, 2 * _PACKET + 1)
    if _adts(octets, start, end):
        return Kind("AAC in ADTS", libav="aac")
    if _LOAS.match(head):
        return Kind("AAC in LOAS", libav="loas")
    if head[0:1] == head[_PACKET : _PACKET + 1] == head[2 * _PACKET :] == b"\x47":
        return Kind("an MPEG transport stream", libav="mpegts")
    if mpeg.starts(octets, start, end):
        return Kind("MPEG audio", "mpeg", "mp3", start, end)
    # A recording may begin within a frame.
    first = octets.find(_ADTS, start, min(end, start + _NEAR))
    if first >= 0 and _adts(octets, first, end):
        return Kind("AAC in ADTS", libav="aac")
    if start > 0:  # MP3 usually follows a tag
        return Kind("MPEG audio", "mpeg", "mp3", start, end)
    return None


def _adts(octets: Octets, place: int, end: int) -> bool:
    """Return whether AAC frames follow each other, up to the end (ISO/IEC 13818-7, 6.2)."""
    for number in range(_IN_A_ROW):
        head = octets.at(place, _ADTS_HEAD)
        if number > 0 and place >= end:
            return True
        if not _ADTS.match(head) or len(head) < _ADTS_HEAD:
            return False
        size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        if size <= _ADTS_HEAD:
            return False
        place += size
    return True


def _wav(octets: Octets, start: int, end: int) -> Kind:
    """Return the content of a WAV; for MP3 and Ogg inside it, where they lie."""
    order: Literal["big", "little"] = "big" if octets.at(start, 4) == b"RIFX" else "little"
    place, tag = start + 12, 0
    for _ in range(_MOST_CHUNKS):
        head = octets.at(place, 8)
        if len(head) < 8:  # noqa: PLR2004  # name and size of a chunk
            break
        size = int.from_bytes(head[4:], order)
        if head[:4] == b"fmt ":
            tag = int.from_bytes(octets.at(place + 8, 2), order)
        if head[:4] == b"data":
            stop = min(place + 8 + size, end) if size else end
            inner = octets.at(place + 8, 4)
            if inner == b"OggS":
                return Kind("Ogg in WAV", "ogg", "", place + 8, stop)
            if tag in {0x50, 0x55} and mpeg.starts(octets, place + 8, stop):
                return Kind("MP3 in WAV", "mpeg", "wav", place + 8, stop)
            break
        place += 8 + size + size % 2
    if tag in _WAV_CODECS:
        return Kind(f"{_WAV_CODECS[tag]} in WAV", libav="wav")
    return Kind("WAV", "plain", "wav", start, end)


def _caf(head: bytes, start: int, end: int) -> Kind:
    codec = head[28:32] if head[8:12] == b"desc" else b""
    if codec in _CAF_CODECS:
        return Kind(f"{_CAF_CODECS[codec]} in CAF", libav="caf")
    return Kind("CAF", "plain", "caf", start, end)


def _mp4(octets: Octets, start: int, end: int) -> str:
    """Return the codec of the first track of sound in an MP4."""
    inside = [(start, end)]
    for name in _MP4_PATH:
        inside = [box for one in inside[:_MOST_BOXES] for box in _boxes(octets, *one, name)]
    # A box of sample entries begins with a version, flags and a number; an entry with its size.
    codecs = [octets.at(first + 12, 4) for first, _ in inside]
    names = [_MP4_CODECS[codec] for codec in codecs if codec in _MP4_CODECS]
    return f"{names[0]} in MP4" if names else "MP4"


def _boxes(octets: Octets, start: int, end: int, name: bytes) -> list[tuple[int, int]]:
    """Return the contents of every box of a name in a range."""
    found = []
    for _ in range(_MOST_CHUNKS):
        head = octets.at(start, 16)
        if len(head) < 8 or start >= end:  # noqa: PLR2004  # size and name of a box
            break
        size, inner = int.from_bytes(head[:4], "big"), 8
        if size == 1:
            size, inner = int.from_bytes(head[8:16], "big"), 16
        if size == 0:
            size = end - start
        if size < inner:
            break
        if head[4:8] == name:
            found.append((start + inner, min(start + size, end)))
        start += size
    return found


def _matroska(octets: Octets, start: int, end: int) -> str:
    head = octets.at(start, min(1 << 16, end - start))
    title = "WebM" if b"webm" in head[:64] else "Matroska"
    names = [name for codec, name in _MATROSKA.items() if codec in head]
    return f"{names[0]} in {title}" if names else title


def _text(head: bytes) -> Kind | None:
    if not head or _TEXT.match(head) is None:
        return None
    page = b"<html" in head.lower() or b"<!doctype" in head.lower()
    return Kind("an HTML page, perhaps from a failed download" if page else "text")
