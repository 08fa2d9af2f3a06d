"""Cuts an input into windows with context, and puts what is no context together. Needs NumPy."""

from collections.abc import Callable

import numpy as np

Arrays = dict[str, np.ndarray]


def play(inputs: Arrays, metadata: dict, run: Callable[[Arrays], Arrays]) -> Arrays:
    """Map whole inputs to whole outputs; `run` maps one window; all by name."""
    chunking, signature = metadata["chunking"], metadata["signature"]
    length, left, kept = chunking["length"], chunking["left"], chunking["kept"]
    of = {s["name"]: s["axes"].index(chunking["axis"]) for s in signature["outputs"]}
    cut = {
        s["name"]: s["axes"].index(chunking["axis"])
        for s in signature["inputs"]
        if chunking["axis"] in s["axes"]
    }
    total = next(inputs[name].shape[at] for name, at in cut.items())
    whole: Arrays = {}
    for start in range(0, total, kept):
        stop = min(start + kept, total)
        pieces = {name: piece(a, cut.get(name), start - left, length) for name, a in inputs.items()}
        for name, array in run(pieces).items():
            output = np.moveaxis(array, of[name], -1)
            scaled = output.shape[-1]
            if name not in whole:
                shape = (*output.shape[:-1], rescaled(total, scaled, length))
                whole[name] = np.zeros(shape, output.dtype)
            first, last = (rescaled(p, scaled, length) for p in (start, stop))
            skip = rescaled(left, scaled, length)
            part = output[..., skip : skip + last - first]
            whole[name][..., first : first + part.shape[-1]] = part
    return {name: np.moveaxis(array, -1, of[name]) for name, array in whole.items()}


def piece(array: np.ndarray, at: int | None, first: int, length: int) -> np.ndarray:
    """Return `length` samples from `first` on along axis `at`, zeros beyond both ends."""
    if at is None:
        return array
    start, stop = max(0, first), min(array.shape[at], first + length)
    widths = [(0, 0)] * array.ndim
    widths[at] = (start - first, first + length - stop)
    return np.pad(array[(slice(None),) * at + (slice(start, stop),)], widths)


def rescaled(position: int, scaled: int, length: int) -> int:
    """Return a position of the input on the output's scale, rounded half up."""
    return (2 * position * scaled + length) // (2 * length)
