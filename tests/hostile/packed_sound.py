"""Hostile songs in compressed formats: FLAC, Ogg Vorbis, Opus, MP3; and files of no format."""

# ruff: noqa: ARG001  # every maker takes the source of its numbers; some need none

from __future__ import annotations

import functools
import io
import random
import struct
import zipfile

from tests.hostile.kinds import Maker, collected, flipped, true_by_ffmpeg, true_sound
from tests.hostile.plain_sound import wav

__all__ = ["PACKED", "flac", "ogg_page", "ogg_pages", "silent_frames"]

PACKED: dict[str, Maker] = {}


def flac(rate: int, total: int, frames: bytes, *, channels: int = 1, blocks: bytes = b"") -> bytes:
    """Return a FLAC of 16 bits whose first block states `rate` and `total` samples."""
    told = rate << 44 | (channels - 1) << 41 | 15 << 36 | total
    info = struct.pack(">HH", 65_535, 65_535) + bytes(6) + told.to_bytes(8, "big") + bytes(16)
    last = 0x00 if blocks else 0x80
    return b"fLaC" + struct.pack(">I", last << 24 | len(info)) + info + blocks + frames


@functools.cache
def silent_frames(number: int) -> bytes:
    """Return FLAC frames of 65,535 equal samples in some 14 bytes each."""
    return b"".join(_silent_frame(index) for index in range(number))


def _silent_frame(index: int) -> bytes:
    # Fixed block size stored in 16 bits, rate from the header, mono, 16 bits.
    head = b"\xff\xf8\x70\x08" + _utf8(index) + struct.pack(">H", 65_534)
    head += bytes([_crc(head, 0x07, 8)])
    body = head + b"\x00\x00\x00"  # a constant subframe of the value 0
    return body + struct.pack(">H", _crc(body, 0x8005, 16))


def _utf8(number: int) -> bytes:
    if number < 0x80:
        return bytes([number])
    if number < 0x800:
        return bytes([0xC0 | number >> 6, 0x80 | number & 0x3F])
    return bytes([0xE0 | number >> 12, 0x80 | number >> 6 & 0x3F, 0x80 | number & 0x3F])


@functools.cache
def _table(polynomial: int, bits: int) -> list[int]:
    table = []
    for byte in range(256):
        value = byte << (bits - 8)
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> (bits - 1) & 1 else 0)
        table.append(value & ((1 << bits) - 1))
    return table


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    """Return the checksum of FLAC (8 and 16 bits) and of Ogg (32 bits)."""
    value, table, mask = 0, _table(polynomial, bits), (1 << bits) - 1
    for byte in data:
        value = (value << 8 ^ table[value >> (bits - 8) ^ byte]) & mask
    return value


@collected(PACKED, "hours_of_silence.flac")
def _flac_bomb(source: random.Random) -> bytes:
    frames = source.randint(20_000, 30_000)
    return flac(source.choice([8000, 44100, 1001]), frames * 65_535, silent_frames(frames))


@collected(PACKED, "length_unknown.flac")
def _flac_unknown(source: random.Random) -> bytes:
    return flac(44100, 0, silent_frames(8))


@collected(PACKED, "length_lies.flac")
def _flac_lies(source: random.Random) -> bytes:
    return flac(44100, source.choice([1, 2**36 - 1, 2**35, 10**9]), silent_frames(8))


@collected(PACKED, "rate_any.flac")
def _flac_rate(source: random.Random) -> bytes:
    return flac(source.choice([0, 1, 655_350, 2**20 - 1]), 8 * 65_535, silent_frames(8))


@collected(PACKED, "channels_lie.flac")
def _flac_channels(source: random.Random) -> bytes:
    return flac(44100, 8 * 65_535, silent_frames(8), channels=source.randint(2, 8))


@collected(PACKED, "blocks_lie.flac")
def _flac_blocks(source: random.Random) -> bytes:
    kind = source.randrange(1, 127)
    block = struct.pack(">I", kind << 24 | 2**24 - 1) + source.randbytes(1000)
    return flac(44100, 8 * 65_535, silent_frames(8), blocks=block)


@collected(PACKED, "comments_lie.flac")
def _flac_comments(source: random.Random) -> bytes:
    comment = struct.pack("<II", 0, source.choice([2**31, 2**32 - 1])) + bytes(64)
    block = struct.pack(">I", 0x84 << 24 | len(comment)) + comment
    return flac(44100, 8 * 65_535, silent_frames(8), blocks=block)


@collected(PACKED, "picture_lies.flac")
def _flac_picture(source: random.Random) -> bytes:
    picture = struct.pack(">III", 3, 2**32 - 1, 2**32 - 1) + bytes(64)
    block = struct.pack(">I", 0x86 << 24 | len(picture)) + picture
    return flac(44100, 8 * 65_535, silent_frames(8), blocks=block)


@collected(PACKED, "no_frames.flac")
def _flac_bare(source: random.Random) -> bytes:
    return flac(44100, source.choice([0, 10**6]), b"")


def ogg_pages(data: bytes) -> list[bytes]:
    """Return the pages of an Ogg file."""
    pages, at = [], 0
    while at < len(data):
        segments = data[at + 26]
        size = 27 + segments + sum(data[at + 27 : at + 27 + segments])
        pages.append(data[at : at + size])
        at += size
    return pages


def ogg_page(page: bytes, changes: dict[int, bytes]) -> bytes:
    """Return an Ogg page with other bytes at the given places, and a correct checksum."""
    changed = bytearray(page)
    for place, content in changes.items():
        changed[place : place + len(content)] = content
    changed[22:26] = bytes(4)
    changed[22:26] = struct.pack("<I", _crc(bytes(changed), 0x04C11DB7, 32))
    return bytes(changed)


def _ogg_position(ending: str) -> Maker:
    def make(source: random.Random) -> bytes:
        *first, last = ogg_pages(true_sound(ending))
        position = source.choice([2**63 - 1, 2**62, 2**40, -1, -(2**63), 0])
        return b"".join(first) + ogg_page(last, {6: struct.pack("<q", position)})

    return make


def _ogg_repeated(ending: str) -> Maker:
    def make(source: random.Random) -> bytes:
        return true_sound(ending) * source.randint(20, 200)

    return make


def _ogg_header(ending: str) -> Maker:
    def make(source: random.Random) -> bytes:
        head, *rest = ogg_pages(true_sound(ending))
        return ogg_page(head, {28 + source.randrange(7, 18): source.randbytes(4)}) + b"".join(rest)

    return make


def _ogg_comments(ending: str) -> Maker:
    def make(source: random.Random) -> bytes:
        head, second, *rest = ogg_pages(true_sound(ending))
        at = 27 + second[26] + (8 if ending == "opus" else 7)
        return head + ogg_page(second, {at: struct.pack("<I", 2**32 - 1)}) + b"".join(rest)

    return make


for _ending in ("ogg", "opus"):
    PACKED[f"position_lies.{_ending}"] = _ogg_position(_ending)
    PACKED[f"chained.{_ending}"] = _ogg_repeated(_ending)
    PACKED[f"header_any.{_ending}"] = _ogg_header(_ending)
    PACKED[f"comments_lie.{_ending}"] = _ogg_comments(_ending)

#: MPEG 1 layer III, 32 kbit/s, 44.1 kHz, stereo: 104 bytes that decode to 1,152 silent frames.
_MP3_FRAME = b"\xff\xfb\x10\x00" + bytes(100)


@collected(PACKED, "minutes_of_silence.mp3")
def _mp3_bomb(source: random.Random) -> bytes:
    return _MP3_FRAME * source.randint(5000, 20_000)


@collected(PACKED, "tag_huge.mp3")
def _mp3_tag(source: random.Random) -> bytes:
    return b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(source.randint(0, 5000)) + true_sound("mp3")


@collected(PACKED, "tags_many.mp3")
def _mp3_tags(source: random.Random) -> bytes:
    return b"ID3\x04\x00\x00\x00\x00\x00\x00" * source.randint(1000, 50_000) + true_sound("mp3")


@collected(PACKED, "tag_frames_lie.mp3")
def _mp3_tag_frames(source: random.Random) -> bytes:
    frame = b"TIT2" + source.choice([b"\xff" * 4, b"\x7f" * 4, bytes(4)]) + b"\x00\x00\x03title"
    return b"ID3\x03\x00\x00\x00\x00\x01\x00" + frame.ljust(128, b"\x00") + true_sound("mp3")


@collected(PACKED, "count_lies.mp3")
def _mp3_count(source: random.Random) -> bytes:
    count = source.choice([0, 1, 2**31, 2**32 - 1])
    xing = b"Xing" + struct.pack(">III", 3, count, source.choice([0, 2**32 - 1]))
    return b"\xff\xfb\x90\x00" + bytes(32) + xing + bytes(417 - 36 - len(xing)) + _MP3_FRAME * 50


@collected(PACKED, "heads_alone.mp3")
def _mp3_heads(source: random.Random) -> bytes:
    return b"".join(b"\xff\xfb" + source.randbytes(2) for _ in range(5000))


@collected(PACKED, "rates_change.mp3")
def _mp3_rates(source: random.Random) -> bytes:
    heads = [b"\xff\xfb\x10\x00", b"\xff\xfb\x14\x00", b"\xff\xf3\x10\xc0", b"\xff\xe3\x10\xc4"]
    return b"".join(source.choice(heads) + bytes(100) for _ in range(500))


def _flips(ending: str, first: int, last: int | None) -> Maker:
    return lambda source: flipped(true_sound(ending), source, first, last)


for _ending in ("wav", "flac", "ogg", "opus", "mp3", "aiff", "aifc", "au", "caf", "w64", "rf64"):
    PACKED[f"head_flipped.{_ending}"] = _flips(_ending, 0, 128)
    PACKED[f"bits_flipped.{_ending}"] = _flips(_ending, 0, None)


def _flips_by_ffmpeg(container: str, codec: str) -> Maker:
    return lambda source: flipped(true_by_ffmpeg(container, codec), source)


for _ending, _container, _codec in (
    ("m4a", "ipod", "aac"),
    ("aac", "adts", "aac"),
    ("mka", "matroska", "libopus"),
    ("wv", "wv", "wavpack"),
):
    PACKED[f"bits_flipped.{_ending}"] = _flips_by_ffmpeg(_container, _codec)


@collected(PACKED, "cut_anywhere.flac")
def _flac_cut(source: random.Random) -> bytes:
    return true_sound("flac")[: source.randrange(1, len(true_sound("flac")))]


@collected(PACKED, "cut_anywhere.ogg")
def _ogg_cut(source: random.Random) -> bytes:
    return true_sound("ogg")[: source.randrange(1, len(true_sound("ogg")))]


@collected(PACKED, "noise.mp3")
def _noise(source: random.Random) -> bytes:
    return source.randbytes(source.randint(1, 10_000))


@collected(PACKED, "archive.wav")
def _archive(source: random.Random) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../song.wav", wav())
    return file.getvalue()


@collected(PACKED, "text.flac")
def _text(source: random.Random) -> bytes:
    return b"fLaC is what this text begins with\n" * source.randint(1, 100)


@collected(PACKED, "another_format.flac")
def _another(source: random.Random) -> bytes:
    return true_sound(source.choice(["wav", "ogg", "mp3", "caf"]))
