"""Cuts an image into tiles and fades from each result to the next. Needs NumPy."""

import itertools
from collections.abc import Callable

import numpy as np

Arrays = dict[str, np.ndarray]


def play(inputs: Arrays, metadata: dict, run: Callable[[Arrays], Arrays]) -> Arrays:
    """Map an image (..., height, width) to a result; `run` maps one tile: float32, by name."""
    chunking, signature = metadata["chunking"], metadata["signature"]
    sizes = chunking["height"], chunking["width"]
    given, made = (signature[side][0]["name"] for side in ("inputs", "outputs"))
    image = inputs[given]
    lengths = image.shape[-2:]
    total = weights = None
    corners = map(starts, lengths, sizes, itertools.repeat(chunking["overlap"]))
    for corner in itertools.product(*corners):
        spans = [slice(at, at + size) for at, size in zip(corner, sizes, strict=True)]
        piece = image[..., *spans]
        missing = [(0, size - n) for size, n in zip(sizes, piece.shape[-2:], strict=True)]
        widths = [(0, 0)] * (image.ndim - 2) + missing
        result = run({given: np.pad(piece, widths, mode="edge")})[made]
        scale = result.shape[-1] // sizes[1]
        rows, columns = (ramp(scale * n, scale * chunking["overlap"]) for n in piece.shape[-2:])
        if total is None:
            whole = [scale * n for n in lengths]
            total = np.zeros((*result.shape[:-2], *whole), np.float32)
            weights = np.zeros(whole, np.float32)
        weight = rows[:, None] * columns
        place = [slice(scale * span.start, scale * span.stop) for span in spans]
        total[..., *place] += weight * result[..., : len(rows), : len(columns)]
        weights[*place] += weight
    return {made: total / weights}


def starts(total: int, size: int, overlap: int) -> list[int]:
    """Return the starts of the tiles, so that the last tile ends with the image."""
    last = max(0, total - size)
    return [*range(0, last, size - overlap), last]


def ramp(length: int, overlap: int) -> np.ndarray:
    """Return weights that rise from both ends over `overlap` pixels to 1, and are never 0."""
    inside = np.minimum(np.arange(length), np.arange(length)[::-1]) + 0.5
    return np.minimum(1, inside / max(overlap, 0.5)).astype(np.float32)
