"""Reads and writes PNG files with Python's own `zlib` (PNG specification, third edition).

Files have eight bits per channel and no interlacing, as cameras, browsers and editors write them.
Images are `(3, height, width)`, float32, 0 to 1; transparency is dropped.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from luthier import Array, InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MOST_PIXELS", "read", "write"]

MAGIC = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
#: Bits per channel: no other depth is read.
DEPTH = 8
#: Bytes per pixel of every colour type.
BYTES = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
#: The most pixels that are read: more than most cameras have. As floats they take 800 MB; an image
#: of twice the height and width takes four times as much.
MOST_PIXELS = 2**26


def write(image: Array, file: Path) -> None:
    """Write an image; values beyond 0 to 1 are clipped."""
    import numpy as np

    pixels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    height, width = pixels.shape[:2]
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, DEPTH, RGB, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b""))
    file.write_bytes(MAGIC + b"".join(_packed(*chunk) for chunk in chunks))


def _packed(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def read(file: Path) -> Array:
    """Read an image; raises InputError for a damaged file and for another kind of file."""
    import numpy as np

    _check_size(file)
    data = file.read_bytes()
    if not data.startswith(MAGIC):
        raise InputError(f"`{file.name}` is not a PNG file", f"at: {file}", "convert it to PNG")
    try:
        parts: dict[bytes, list[bytes]] = {}
        for kind, content in _chunks(data):
            parts.setdefault(kind, []).append(content)
        chunks = {kind: b"".join(contents) for kind, contents in parts.items()}
        width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
        if depth != DEPTH or interlace or colour not in BYTES:
            raise InputError(
                f"`{file.name}` has {depth} bits per channel{', interlaced' if interlace else ''}",
                f"at: {file}",
                "save it as PNG with 8 bits per channel, without interlacing",
            )
        if not 0 < width * height <= MOST_PIXELS:
            raise InputError(
                f"`{file.name}` says that it has {width:,} x {height:,} pixels",
                f"at: {file}",
                f"possible: up to {MOST_PIXELS:,} pixels",
                "cut it into parts, or save it smaller",
            )
        rows = _inflated(chunks[b"IDAT"], height * (width * BYTES[colour] + 1))
        pixels = _unfiltered(rows, height, width, BYTES[colour])
        if colour == PALETTE:
            pixels = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)[pixels[..., 0]]
    except (KeyError, IndexError, ValueError, struct.error, zlib.error) as error:
        raise InputError(
            f"`{file.name}` is damaged: {error}", f"at: {file}", "save or copy the file again"
        ) from error
    grey = colour in (GREY, GREY_ALPHA)
    red_green_blue = pixels[..., [0, 0, 0] if grey else [0, 1, 2]]
    return np.ascontiguousarray(red_green_blue.transpose(2, 0, 1), np.float32) / np.float32(255)


def _check_size(file: Path) -> None:
    """Raise InputError for a file that is larger than the largest unpacked image."""
    size = file.stat().st_size
    if size > 5 * MOST_PIXELS:
        raise InputError(
            f"`{file.name}` has {size / 1e6:,.0f} MB",
            f"at: {file}",
            f"possible: up to {5 * MOST_PIXELS / 1e6:,.0f} MB",
            "save it smaller",
        )


def _inflated(data: bytes, size: int) -> bytes:
    """Unpack `size` bytes, as the header requires; raises ValueError for fewer or more."""
    packed = zlib.decompressobj()
    # A kilobyte can hold a megabyte of zeros: without the bound, a file could fill the memory.
    rows = packed.decompress(data, size + 1)
    if len(rows) != size:
        raise ValueError(
            f"it holds {'more' if len(rows) > size else 'fewer'} pixels than it declares"
        )
    return rows


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and content of every chunk, each checked by its checksum."""
    at = len(MAGIC)
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (expected,) = struct.unpack_from(">I", data, at + 8 + length)
        if zlib.crc32(kind + content) != expected:
            raise ValueError(f"the checksum of its part {kind.decode('ascii', 'replace')} is wrong")
        yield kind, content
        at += 12 + length


def _unfiltered(data: bytes, height: int, width: int, step: int) -> NDArray[np.uint8]:
    """Undo the filter of every row (section 9 of the specification); `(height, width, step)`."""
    import numpy as np

    length = width * step
    above, rows = bytearray(length), []
    for start in range(0, len(data), length + 1):
        row = bytearray(data[start + 1 : start + 1 + length])
        _FILTERS[data[start]](row, above, step)
        rows.append(row)
        above = row
    return np.frombuffer(b"".join(rows), np.uint8).reshape(height, width, step)


def _none(row: bytearray, _above: bytearray, _step: int) -> None:
    """Leave the row as it is."""


def _sub(row: bytearray, _above: bytearray, step: int) -> None:
    for i in range(step, len(row)):
        row[i] = (row[i] + row[i - step]) & 255


def _up(row: bytearray, above: bytearray, _step: int) -> None:
    for i, value in enumerate(above):
        row[i] = (row[i] + value) & 255


def _average(row: bytearray, above: bytearray, step: int) -> None:
    for i, value in enumerate(above):
        left = row[i - step] if i >= step else 0
        row[i] = (row[i] + (left + value) // 2) & 255


def _paeth(row: bytearray, above: bytearray, step: int) -> None:
    """Add whichever of left, above and above-left is nearest to left + above - above-left."""
    for i, up in enumerate(above):
        left, corner = (row[i - step], above[i - step]) if i >= step else (0, 0)
        to_left, to_up = abs(up - corner), abs(left - corner)
        to_corner = abs(left + up - 2 * corner)
        nearest = up if to_up <= to_corner else corner
        if to_left <= to_up and to_left <= to_corner:
            nearest = left
        row[i] = (row[i] + nearest) & 255


_FILTERS = (_none, _sub, _up, _average, _paeth)
