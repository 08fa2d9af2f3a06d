"""Hostile songs in containers of plain samples: WAV, RF64, W64, AU, AIFF, CAF."""

# ruff: noqa: ARG001, ARG005  # every maker takes the source of its numbers; some need none

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any

from tests.hostile.kinds import Maker, collected, true_sound

__all__ = ["PLAIN", "wav"]

PLAIN: dict[str, Maker] = {}

#: Valid samples, to follow a header that is not valid.
_PCM = bytes(range(256)) * 16


def wav(
    rate: int = 44100,
    channels: int = 2,
    bits: int = 16,
    *,
    tag: int = 1,
    align: int | None = None,
    data: bytes = _PCM,
    data_size: int | None = None,
    riff_size: int | None = None,
    before: bytes = b"",
    magic: bytes = b"RIFF",
) -> bytes:
    """Return a WAV with these numbers, true or false; sizes come from the data if not given."""
    align = channels * bits // 8 if align is None else align
    speed = min(rate * align, 2**32 - 1)
    form = struct.pack("<HHIIHH", tag, channels, rate, speed, align & 0xFFFF, bits)
    body = b"WAVE" + before + _chunk(b"fmt ", form)
    body += b"data" + struct.pack("<I", len(data) if data_size is None else data_size) + data
    return magic + struct.pack("<I", len(body) if riff_size is None else riff_size) + body


def _chunk(kind: bytes, content: bytes, size: int | None = None, order: str = "<") -> bytes:
    size = len(content) if size is None else size
    return kind + struct.pack(f"{order}I", size) + content + bytes(len(content) % 2)


def _samples(*values: float, count: int = 500) -> bytes:
    return struct.pack(f"<{len(values)}f", *values) * count


def _prime(source: random.Random) -> int:
    while True:
        number = source.randrange(1001, 768_000, 2)
        if all(number % d for d in range(3, int(number**0.5) + 1, 2)):
            return number


def _huge(source: random.Random) -> int:
    """Return a number near one of the ends of 32 bits."""
    return source.choice([2**31 - 1, 2**31, 2**32 - 1, 2**32 - 2, 0x7FFF0000]) - source.randrange(1)


_WAVS: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "rate_0": lambda r: {"rate": 0},
    "rate_small": lambda r: {"rate": r.randint(1, 999)},
    "rate_highest": lambda r: {"rate": 2**32 - 1 - r.randrange(9)},
    "rate_767999": lambda r: {"rate": 767_999},
    "rate_768001": lambda r: {"rate": 768_001 + r.randrange(9)},
    "rate_prime": lambda r: {"rate": _prime(r)},
    "rate_any": lambda r: {"rate": r.randint(1000, 768_000)},
    "channels_0": lambda r: {"channels": 0},
    "channels_65535": lambda r: {"channels": 65_535},
    "channels_many": lambda r: {"channels": r.randint(3, 1024)},
    "bits_0": lambda r: {"bits": 0},
    "bits_65535": lambda r: {"bits": 65_535},
    "bits_odd": lambda r: {"bits": r.choice([1, 7, 9, 23, 33, 63, 65])},
    "align_0": lambda r: {"align": 0},
    "align_65535": lambda r: {"align": 65_535},
    "data_size_huge": lambda r: {"data_size": _huge(r)},
    "data_size_0": lambda r: {"data_size": 0},
    "data_size_short": lambda r: {"data_size": r.randrange(len(_PCM))},
    "riff_size_0": lambda r: {"riff_size": 0},
    "riff_size_huge": lambda r: {"riff_size": _huge(r)},
    "tag_any": lambda r: {"tag": r.randrange(65_536)},
    "adpcm": lambda r: {"tag": r.choice([2, 0x11]), "bits": 4, "align": r.choice([1, 36, 65_535])},
    "gsm": lambda r: {"tag": 0x31, "bits": 0, "align": r.choice([0, 65])},
    "nan": lambda r: {"tag": 3, "bits": 32, "data": _samples(0.1, float("nan"))},
    "infinite": lambda r: {"tag": 3, "bits": 32, "data": _samples(0.1, float("-inf"))},
    "loud": lambda r: {"tag": 3, "bits": 32, "data": _samples(3e38, -3e38)},
    "denormal": lambda r: {"tag": 3, "bits": 32, "data": _samples(1e-42, -1e-45)},
    "constant": lambda r: {"data": struct.pack("<h", r.randint(-32768, 32767)) * 2000},
    "one_sample": lambda r: {"data": b"\x01\x00\x01\x00"},
    "half_a_sample": lambda r: {"data": b"\x01"},
    "chunk_of_4_gb": lambda r: {"before": _chunk(b"junk", b"", 2**32 - 1 - r.randrange(9))},
    "thousands_of_chunks": lambda r: {"before": _chunk(b"junk", b"") * 50_000},
    "fact_huge": lambda r: {"before": _chunk(b"fact", struct.pack("<I", 2**32 - 1))},
    "list_lies": lambda r: {"before": _chunk(b"LIST", b"INFO" + _chunk(b"INAM", b"x", 2**31))},
    "cue_many": lambda r: {"before": _chunk(b"cue ", struct.pack("<I", 2**32 - 1) + bytes(24))},
    "sampler_loops": lambda r: {
        "before": _chunk(b"smpl", bytes(28) + struct.pack("<II", 2**32 - 1, 0))
    },
    "title_escapes": lambda r: {
        "before": _chunk(b"LIST", b"INFO" + _chunk(b"INAM", b"\x1b]0;owned\x07\x1b[2J"))
    },
    "big_endian": lambda r: {"magic": b"RIFX"},
    "no_magic": lambda r: {"magic": bytes(r.randrange(256) for _ in range(4))},
}
for _name, _numbers in _WAVS.items():
    PLAIN[f"{_name}.wav"] = lambda r, n=_numbers: wav(**n(r))


@collected(PLAIN, "extensible_lies.wav")
def _extensible(source: random.Random) -> bytes:
    mask = struct.pack("<HHI", 22, source.randrange(65_536), 2**32 - 1)
    form = struct.pack("<HHIIHH", 0xFFFE, 2, 44100, 176400, 4, 16) + mask + source.randbytes(16)
    body = b"WAVE" + _chunk(b"fmt ", form) + _chunk(b"data", _PCM)
    return _chunk(b"RIFF", body)


@collected(PLAIN, "no_format.wav")
def _no_format(source: random.Random) -> bytes:
    return _chunk(b"RIFF", b"WAVE" + _chunk(b"data", _PCM))


@collected(PLAIN, "no_data.wav")
def _no_data(source: random.Random) -> bytes:
    return wav()[:36]


@collected(PLAIN, "format_of_4_gb.wav")
def _long_format(source: random.Random) -> bytes:
    return _chunk(b"RIFF", b"WAVE" + _chunk(b"fmt ", bytes(16), 2**32 - 1) + _PCM)


@collected(PLAIN, "nested.wav")
def _nested(source: random.Random) -> bytes:
    return _chunk(b"RIFF", b"WAVE" + wav() * source.randint(2, 9))


@collected(PLAIN, "cut.wav")
def _cut(source: random.Random) -> bytes:
    return wav()[: source.randrange(1, 4000)]


@collected(PLAIN, "empty.wav")
def _empty(source: random.Random) -> bytes:
    return b""


@collected(PLAIN, "lengths_lie.rf64")
def _rf64(source: random.Random) -> bytes:
    sizes = [source.choice([0, 1, 2**31, 2**62, 2**63 - 1, 2**64 - 1]) for _ in range(3)]
    ds64 = _chunk(b"ds64", struct.pack("<QQQI", *sizes, source.choice([0, 2**32 - 1])))
    form = _chunk(b"fmt ", struct.pack("<HHIIHH", 1, 2, 44100, 176400, 4, 16))
    data = b"data\xff\xff\xff\xff" + _PCM
    return b"RF64\xff\xff\xff\xffWAVE" + ds64 + form + data


@collected(PLAIN, "without_ds64.rf64")
def _rf64_bare(source: random.Random) -> bytes:
    return wav(magic=b"RF64", riff_size=2**32 - 1, data_size=2**32 - 1)


@collected(PLAIN, "length_lies.w64")
def _w64(source: random.Random) -> bytes:
    data = bytearray(true_sound("w64"))
    at = source.choice([16, data.index(b"data") + 16])
    data[at : at + 8] = struct.pack("<Q", source.choice([0, 1, 2**62, 2**63, 2**64 - 1]))
    return bytes(data)


def _au(offset: int, size: int, encoding: int, rate: int, channels: int) -> bytes:
    return b".snd" + struct.pack(">IIIII", offset, size, encoding, rate, channels) + _PCM


_AUS: dict[str, Callable[[random.Random], tuple[int, int, int, int, int]]] = {
    "length_unknown": lambda r: (24, 2**32 - 1, 3, 44100, 2),
    "length_huge": lambda r: (24, 2**32 - 2, 3, 44100, 2),
    "offset_huge": lambda r: (2**32 - 1 - r.randrange(99), 4096, 3, 44100, 2),
    "rate_any": lambda r: (24, 4096, 3, r.choice([0, 1, 2**31, 2**32 - 1]), 2),
    "channels_any": lambda r: (24, 4096, 3, 44100, r.choice([0, 1025, 65_536, 2**32 - 1])),
    "encoding_any": lambda r: (24, 4096, r.randrange(2**16), 44100, 2),
}
for _name, _fields in _AUS.items():
    PLAIN[f"{_name}.au"] = lambda r, f=_fields: _au(*f(r))


def _aiff(
    frames: int, channels: int = 2, bits: int = 16, rate: bytes = b"", offset: int = 0
) -> bytes:
    rate = rate or bytes.fromhex("400eac44000000000000")  # 44100 as an 80-bit number
    common = struct.pack(">HIH", channels, frames, bits) + rate
    sound = struct.pack(">II", offset, 0) + _PCM
    body = b"AIFF" + _chunk(b"COMM", common, order=">") + _chunk(b"SSND", sound, order=">")
    return _chunk(b"FORM", body, order=">")


_AIFFS: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "frames_huge": lambda r: {"frames": _huge(r)},
    "frames_0": lambda r: {"frames": 0},
    "channels_any": lambda r: {"frames": 1024, "channels": r.choice([0, 3, 1025, 65_535])},
    "bits_any": lambda r: {"frames": 1024, "bits": r.choice([0, 1, 33, 65_535])},
    "offset_huge": lambda r: {"frames": 1024, "offset": 2**32 - 1 - r.randrange(99)},
    "rate_no_number": lambda r: {"frames": 1024, "rate": b"\x7f\xff" + r.randbytes(8)},
    "rate_any": lambda r: {"frames": 1024, "rate": r.randbytes(10)},
}
for _name, _numbers in _AIFFS.items():
    PLAIN[f"{_name}.aiff"] = lambda r, n=_numbers: _aiff(**n(r))


@collected(PLAIN, "compression_unknown.aifc")
def _aifc(source: random.Random) -> bytes:
    data = bytearray(true_sound("aifc"))
    at = data.index(b"COMM") + 26
    data[at : at + 4] = source.randbytes(4)
    return bytes(data)


def _caf(
    rate: float, *, packet: int = 4, frames: int = 1, channels: int = 2, bits: int = 16
) -> bytes:
    form = struct.pack(">d4sIIIII", rate, b"lpcm", 2, packet, frames, channels, bits)
    data = b"data" + struct.pack(">q", len(_PCM) + 4) + bytes(4) + _PCM
    return b"caff\x00\x01\x00\x00desc" + struct.pack(">q", len(form)) + form + data


_CAFS: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "rate_nan": lambda r: {"rate": float("nan")},
    "rate_infinite": lambda r: {"rate": float("inf")},
    "rate_any": lambda r: {"rate": r.choice([0.0, -44100.0, 0.5, 1e300, 5e-324, 44100.5])},
    "packet_any": lambda r: {"rate": 44100.0, "packet": r.choice([0, 1, 2**32 - 1])},
    "frames_any": lambda r: {"rate": 44100.0, "frames": r.choice([0, 2, 2**32 - 1])},
    "channels_any": lambda r: {"rate": 44100.0, "channels": r.choice([0, 3, 2**32 - 1])},
    "bits_any": lambda r: {"rate": 44100.0, "bits": r.choice([0, 1, 2**32 - 1])},
}
for _name, _numbers in _CAFS.items():
    PLAIN[f"{_name}.caf"] = lambda r, n=_numbers: _caf(**n(r))


@collected(PLAIN, "chunks_lie.caf")
def _caf_chunks(source: random.Random) -> bytes:
    size = struct.pack(">q", source.choice([-1, -(2**63), 2**63 - 1, 2**40]))
    packets = b"pakt" + struct.pack(">qqqii", 24, 2**62, 2**62, 0, 0)
    data = _caf(44100.0)
    return data[:52] + source.choice([b"info" + size, packets, b"free" + size]) + data[52:]
