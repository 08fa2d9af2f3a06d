"""Cuts an input into overlapping windows and fades from each result to the next. Needs NumPy."""

from collections.abc import Callable

import numpy as np

Arrays = dict[str, np.ndarray]


def play(inputs: Arrays, metadata: dict, run: Callable[[Arrays], Arrays]) -> Arrays:
    """Map whole inputs to whole outputs; `run` maps one window; all by name.

    Integers and booleans have no mean: each is taken from the window in whose middle it lies
    most.
    """
    chunking, signature = metadata["chunking"], metadata["signature"]
    length = chunking["length"]
    of = {
        s["name"]: s["axes"].index(chunking["axis"])
        for s in signature["outputs"]
        if chunking["axis"] in s["axes"]
    }
    types = {s["name"]: s["dtype"] for s in signature["outputs"]}
    cut = {
        s["name"]: s["axes"].index(chunking["axis"])
        for s in signature["inputs"]
        if chunking["axis"] in s["axes"]
    }
    total = next(inputs[name].shape[at] for name, at in cut.items())
    sums: Arrays = {}
    weights: Arrays = {}
    uncut: Arrays = {}
    added = 0
    for start in range(0, total, chunking["stride"]):
        stop = min(start + length, total)
        before = (length - (stop - start)) // 2
        pieces = {
            name: piece(a, cut.get(name), start - before, length) for name, a in inputs.items()
        }
        before_it, added = added, added + stop - start
        for name, array in run(pieces).items():
            if name not in of:
                kept = uncut.get(name)
                share = (added - before_it) / added
                uncut[name] = gathered(kept, array, share, chunking["without_axis"])
                continue
            output = np.moveaxis(array, of[name], -1)
            scaled = output.shape[-1]
            first, last = (rescaled(p, scaled, length) for p in (start, stop))
            skip = rescaled(before, scaled, length)
            weight = triangle(scaled, chunking["power"])[: last - first]
            if name not in sums:
                size = rescaled(total, scaled, length)
                kept = "float32" if types[name] == "float16" else types[name]
                sums[name] = np.zeros((*output.shape[:-1], size), kept)
                weights[name] = np.zeros(size, np.float32)
            found = output[..., skip : skip + last - first]
            summed, weighed = sums[name][..., first:last], weights[name][first:last]
            if types[name].startswith("float"):
                summed += weight * found
                weighed += weight
            else:
                nearer = weight > weighed
                summed[..., nearer] = found[..., nearer]
                weighed[nearer] = weight[nearer]
    whole = dict(uncut)
    for name, summed in sums.items():
        made = summed / weights[name] if types[name].startswith("float") else summed
        whole[name] = np.moveaxis(made, -1, of[name]).astype(types[name])
    return whole


def gathered(kept: np.ndarray | None, array: np.ndarray, share: float, how: str) -> np.ndarray:
    """Return an output without the axis for all windows so far, of which the last is a `share`."""
    if kept is None or how == "last":
        return array.copy()
    if how == "mean":
        return (kept + share * (array.astype(np.float64) - kept)).astype(array.dtype)
    return {"max": np.maximum, "min": np.minimum, "first": lambda a, _: a}[how](kept, array)


def piece(array: np.ndarray, at: int | None, first: int, length: int) -> np.ndarray:
    """Return `length` samples from `first` on along axis `at`, zeros beyond both ends."""
    if at is None:
        return array
    start, stop = max(0, first), min(array.shape[at], first + length)
    widths = [(0, 0)] * array.ndim
    widths[at] = (start - first, first + length - stop)
    return np.pad(array[(slice(None),) * at + (slice(start, stop),)], widths)


def triangle(length: int, power: float) -> np.ndarray:
    """Return the weight of every sample of a window, 1 in the middle."""
    half = length // 2
    line = np.concatenate([np.arange(1, half + 1), np.arange(length - half, 0, -1)])
    return np.maximum((line / (length - half)) ** power, 1e-30).astype(np.float32)


def rescaled(position: int, scaled: int, length: int) -> int:
    """Return a position of the input on the output's scale, rounded half up."""
    return (2 * position * scaled + length) // (2 * length)
