"""Reads a song from a WAV file and writes the results as WAV files. Needs NumPy.

Read are WAV files (RIFF and RF64) of 16, 24 or 32 bits or of floats, mono and stereo, at any rate.
"""

import re
import struct
import sys
from math import gcd
from pathlib import Path

import numpy as np
from manifest import BundleError

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
#: The filter of `plugins/dataset/_audio/resampling.py` of Luthier, which is applied to the same
#: samples there: half its length in samples of the lower rate, its window, and where it begins.
REACH, BETA, CUTOFF = 96, 10.06, 0.967
#: The most steps between two samples of the lower rate, as there.
STEPS = 4096


def read(file: Path, metadata: dict) -> dict[str, np.ndarray]:
    """Return the song as (channel, time) by the name of the input; raises BundleError."""
    (spec,) = metadata["signature"]["inputs"]
    rate, song = samples(file)
    wanted, channels = round(spec["rates"]["time"]), spec["shape"][0]
    given = song.shape[0]
    if (given, channels) == (2, 1):
        song = song.mean(axis=0, keepdims=True, dtype=np.float32)
        tell(f"{file.name} is stereo: the mean of both channels is used")
    elif given not in (1, channels):
        raise BundleError(
            f"{file} has {given} channels, and the model takes {channels}; mix it down first: "
            f"ffmpeg -i {file.name} -ac {channels} mixed.wav"
        )
    elif given != channels:
        tell(f"{file.name} is mono: every channel gets the same samples")
    if rate != wanted:
        song = resampled(file, song, rate, wanted)
        tell(f"{file.name} was resampled from {rate} to {wanted} Hz")
    return {spec["name"]: np.ascontiguousarray(np.broadcast_to(song, (channels, song.shape[1])))}


def tell(text: str) -> None:
    """Print a line on the standard error."""
    print(text, file=sys.stderr)


def resampled(file: Path, song: np.ndarray, old: int, new: int) -> np.ndarray:
    """Return (channel, time) at `new` Hz, through a polyphase filter; raises BundleError."""
    up, down = new // gcd(old, new), old // gcd(old, new)
    steps = max(up, down)
    if steps > STEPS:
        raise BundleError(
            f"{file} has {old} samples per second, which has no short ratio to {new}; resample it "
            f"first: ffmpeg -i {file.name} -ar {new} resampled.wav"
        )
    half = REACH * steps
    places = np.arange(-half, half + 1)
    taps = np.sinc(places * CUTOFF / steps) * np.kaiser(2 * half + 1, BETA)
    taps *= up / taps.sum()
    # Sample m of the result lies at m * down on a scale where the song's samples lie at multiples
    # of `up`: it is the sum of those within `half`, each times the tap at its distance.
    size = -(-song.shape[1] * new // old)
    before = half // up + 1
    width = 2 * before + 1
    padded = np.pad(song, ((0, 0), (before, before + width + down)))
    made = np.empty((song.shape[0], size), np.float32)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, width, axis=1)
    for phase in range(min(up, size)):
        first, rest = divmod(phase * down, up)
        distance = rest - (np.arange(width) - before) * up
        inside = np.abs(distance) <= half
        weights = np.zeros(width, np.float32)
        weights[inside] = taps[distance[inside] + half]
        count = -(-(size - phase) // up)
        made[:, phase::up] = pieces[:, first::down][:, :count] @ weights
    return made


def samples(file: Path) -> tuple[int, np.ndarray]:
    """Return the rate, and a float32 array (channel, time), of PCM or floats."""
    data = file.read_bytes()
    other = f"write it as WAV first: ffmpeg -i {file.name} song.wav"
    if data[:4] not in (b"RIFF", b"RF64") or data[8:12] != b"WAVE":
        raise BundleError(f"{file} is not a WAV file; {other}")
    chunks = parts(data)
    try:
        code, channels, rate, _, _, bits = struct.unpack("<HHIIHH", chunks[b"fmt "][:16])
        if code == EXTENSIBLE:
            (code,) = struct.unpack("<H", chunks[b"fmt "][24:26])
        raw = chunks[b"data"]
    except (KeyError, struct.error):
        raise BundleError(f"{file} is a damaged WAV file; {other}") from None
    whole = channels * (bits // 8)
    raw = raw[: len(raw) // whole * whole] if whole else b""
    if not raw or not rate:
        raise BundleError(f"{file} holds no samples")
    if code == FLOAT and bits in (32, 64):
        values = np.frombuffer(raw, f"<f{bits // 8}").astype(np.float32)
        if not np.isfinite(values).all():
            raise BundleError(f"{file} holds values that are no samples (NaN or infinity)")
    elif code == PCM and bits in (16, 24, 32):
        # Each sample becomes the upper bytes of 32 bits, so that one scale fits all.
        wide = np.zeros((len(raw) * 8 // bits, 4), np.uint8)
        wide[:, 4 - bits // 8 :] = np.frombuffer(raw, np.uint8).reshape(-1, bits // 8)
        values = (wide.view("<i4")[:, 0] / 2**31).astype(np.float32)
    else:
        raise BundleError(
            f"{file} has samples of {bits} bits, of type {code}: possible are 16, 24 and 32 bits, "
            f"and floats; write it anew: ffmpeg -i {file.name} -c:a pcm_s24le song.wav"
        )
    return rate, np.ascontiguousarray(values.reshape(-1, channels).T)


def parts(data: bytes) -> dict[bytes, bytes]:
    """Return the chunks of a RIFF file by name: the first of each."""
    chunks: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], struct.unpack("<I", data[at + 4 : at + 8])[0]
        if size == 0xFFFFFFFF:  # RF64, or a stream of unknown length: it ends with the file
            size = len(data) - at - 8
            if b"ds64" in chunks:
                size = min(size, struct.unpack("<Q", chunks[b"ds64"][8:16])[0])
        chunks.setdefault(name, data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return chunks


def write(folder: Path, outputs: dict[str, np.ndarray], metadata: dict) -> None:
    """Write a file of 32-bit floats for every label of an output, or one for the whole output."""
    taken = set()
    for spec in metadata["signature"]["outputs"]:
        array, rate = outputs[spec["name"]], round(spec["rates"]["time"])
        axis, labels = next(iter(spec["labels"].items()), (None, []))
        tracks = (
            dict(zip(labels, np.moveaxis(array, spec["axes"].index(axis), 0), strict=True))
            if labels
            else {spec["name"]: array}
        )
        for label, track in tracks.items():
            body = np.ascontiguousarray(track.T, "<f4").tobytes()
            channels = track.shape[0]
            head = struct.pack(
                "<HHIIHH", FLOAT, channels, rate, rate * channels * 4, channels * 4, 32
            )
            riff = (
                b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", len(body))
            )
            size = struct.pack("<I", len(riff) + len(body))
            name = file_name(label, taken)
            (folder / f"{name}.wav").write_bytes(b"RIFF" + size + riff + body)


def file_name(label: str, taken: set[str]) -> str:
    """Return a file name for a label: valid on every system, and unique.

    Labels come from the model's author: one may well be `../../x`.
    """
    name = re.sub(r"[^\w.-]+", "_", label)[:60].strip("._") or "track"
    while name.casefold() in taken:
        name += "_"
    taken.add(name.casefold())
    return name
