"""Plays a MIDI file as stems: each group of its channels alone, through fluidsynth."""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["only_channels", "render"]

#: Data bytes of a channel's message, by the upper half of its status byte ("Standard MIDI Files
#: 1.0", MIDI Association).
_DATA_BYTES = {0x8: 2, 0x9: 2, 0xA: 2, 0xB: 2, 0xC: 1, 0xD: 1, 0xE: 2}
_META, _SYSEX = 0xFF, (0xF0, 0xF7)


def render(
    file: Path, soundfont: Path, channels: Collection[int], samplerate: int
) -> NDArray[np.float32]:
    """Return the sound of `channels` (1 to 16) of a MIDI file, (2, time), by fluidsynth.

    Raises ValueError for a file that is no MIDI file, CalledProcessError where fluidsynth fails.
    """
    import soundfile

    with tempfile.TemporaryDirectory() as folder:
        part, played = Path(folder, "part.mid"), Path(folder, "part.wav")
        part.write_bytes(only_channels(file.read_bytes(), channels))
        command = [
            "fluidsynth", "-n", "-i", "-q", "-r", str(samplerate), "-g", "0.4",
            "-o", "synth.cpu-cores=1", "-T", "wav", "-O", "float", "-F", str(played),
            str(soundfont), str(part),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603  # no shell, our own files
        sound: NDArray[np.float32] = soundfile.read(played, dtype="float32", always_2d=True)[0].T
    return sound


def only_channels(midi: bytes, channels: Collection[int]) -> bytes:
    """Return the MIDI file without the messages of other channels (1 to 16); tempo and time stay.

    Raises ValueError for bytes that are no MIDI file.
    """
    if midi[:4] != b"MThd":
        raise ValueError(f"no MIDI file: it begins with {midi[:4]!r}")
    start = 8 + int.from_bytes(midi[4:8], "big")
    header, tracks = midi[:start], b""
    while start + 8 <= len(midi):
        kind, length = struct.unpack(">4sI", midi[start : start + 8])
        body = midi[start + 8 : start + 8 + length]
        start += 8 + length
        if kind == b"MTrk":
            body = _kept(body, channels)
            tracks += struct.pack(">4sI", kind, len(body)) + body
    return header + tracks


def _kept(track: bytes, channels: Collection[int]) -> bytes:
    """Return a track with the kept events, each at its original time."""
    kept, waited = b"", 0
    for delay, event in _events(track):
        waited += delay
        status = event[0]
        if status >> 4 in _DATA_BYTES and (status & 0x0F) + 1 not in channels:
            continue
        kept += _number(waited) + event
        waited = 0
    return kept


def _events(track: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the ticks since the previous event, and each event with its status byte."""
    at, running = 0, 0
    while at < len(track):
        delay, at = _read_number(track, at)
        if track[at] & 0x80:
            running, at = track[at], at + 1
        if running == _META:
            length, begin = _read_number(track, at + 1)
        elif running in _SYSEX:
            length, begin = _read_number(track, at)
        else:
            length, begin = _DATA_BYTES[running >> 4], at
        yield delay, bytes([running]) + track[at : begin + length]
        at = begin + length


def _read_number(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of 7 bits per byte, the highest first, and the place after it."""
    value = 0
    while True:
        value = value << 7 | data[at] & 0x7F
        at += 1
        if not data[at - 1] & 0x80:
            return value, at


def _number(value: int) -> bytes:
    """Write a number as 7 bits per byte, the highest first; more bytes follow a set top bit."""
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append(value & 0x7F | 0x80)
    return bytes(reversed(parts))
