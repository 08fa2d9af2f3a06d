"""Reads a song from a WAV file and writes the results as WAV files. Needs NumPy."""

import re
import struct
from pathlib import Path

import numpy as np

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE


def read(file: Path, metadata: dict) -> dict[str, np.ndarray]:
    """Return the song as (channel, time) by the name of the input; raises SystemExit."""
    (spec,) = metadata["signature"]["inputs"]
    rate, song = samples(file)
    wanted, channels = round(spec["rates"]["time"]), spec["shape"][0]
    if rate != wanted:
        raise SystemExit(f"{file} has {rate} samples per second: resample it to {wanted}")
    if song.shape[0] not in (1, channels):
        raise SystemExit(f"{file} has {song.shape[0]} channels: give it {channels}")
    return {spec["name"]: np.ascontiguousarray(np.broadcast_to(song, (channels, song.shape[1])))}


def samples(file: Path) -> tuple[int, np.ndarray]:
    """Return the rate, and a float32 array (channel, time), of 16, 24 or 32 bit PCM or floats."""
    data = file.read_bytes()
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise SystemExit(f"{file} is not a WAV file")
    chunks, at = {}, 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], struct.unpack("<I", data[at + 4 : at + 8])[0]
        chunks.setdefault(name, data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    code, channels, rate, _, _, bits = struct.unpack("<HHIIHH", chunks[b"fmt "][:16])
    if code == EXTENSIBLE:
        (code,) = struct.unpack("<H", chunks[b"fmt "][24:26])
    raw = chunks[b"data"]
    raw = raw[: len(raw) // (channels * bits // 8) * (channels * bits // 8)]
    if (code, bits) == (FLOAT, 32):
        values = np.frombuffer(raw, "<f4")
    elif code == PCM and bits in (16, 24, 32):
        # Each sample becomes the upper bytes of 32 bits, so that one scale fits all.
        wide = np.zeros((len(raw) * 8 // bits, 4), np.uint8)
        wide[:, 4 - bits // 8 :] = np.frombuffer(raw, np.uint8).reshape(-1, bits // 8)
        values = (wide.view("<i4")[:, 0] / 2**31).astype(np.float32)
    else:
        raise SystemExit(f"{file} has samples of an unsupported type: write it as 16 bit PCM")
    return rate, values.reshape(-1, channels).T


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
