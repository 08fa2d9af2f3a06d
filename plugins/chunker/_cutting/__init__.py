"""What the chunkers share that cut one axis: lengths, padded pieces, and positions in an output."""

from __future__ import annotations

from collections.abc import Mapping

from core import Array, InputError, Signature, Tensors

__all__ = [
    "LONGEST",
    "MODEL",
    "MOST",
    "known_length",
    "padded",
    "read_length",
    "scaled",
    "trained_length",
]

#: Most samples of a window: 1 GB per channel, and 100 minutes at 44.1 kHz.
LONGEST = 2**28
#: Leaves the length to the model.
MODEL = "model"
#: Most windows of one input. Each is a call of the model.
MOST = 1_000_000


def read_length(length: int | str) -> int | str:
    """Return the option `length` as a number or `MODEL`; raises ValueError for anything else."""
    if isinstance(length, str) and length != MODEL:
        if not length.isdecimal():
            raise ValueError(f"`length` is `{length}`: give a number of samples, or {MODEL}")
        length = int(length)
    if length != MODEL and not (isinstance(length, int) and 1 <= length <= LONGEST):
        raise ValueError(f"`length` is {length}: a window holds 1 to {LONGEST:,} samples")
    return length


def known_length(length: int | str) -> int:
    """Return the option `length`; raises ValueError while it is still left to the model."""
    if isinstance(length, str):
        raise ValueError(f"`length` is `{length}`, but no model gave its length")  # noqa: TRY004  # not a wrong type
    return length


def trained_length(window: Mapping[str, int], axis: str) -> int:
    """Return the length that the model was trained on; raises InputError where it gives none."""
    if axis not in window:
        raise InputError(
            "`chunker.length=model` takes the length of the windows that the model was "
            f"trained on, but the model gives no length along `{axis}`",
            "give a number of samples: chunker.length=44100",
            "(a model's plugin gives this length in `plan`: "
            f'ModelSpec(..., train_window={{"{axis}": 44100}}))',
        )
    return window[axis]


def padded(
    inputs: Tensors, signature: Signature, axis: str, first: int, length: int
) -> dict[str, Array]:
    """Return `length` samples from `first` on of every input that has the axis; zeros outside."""
    import numpy as np

    pieces = dict(inputs)
    for spec in signature.inputs:
        if axis not in spec.axes:
            continue
        array, at = inputs[spec.name], spec.axis(axis)
        start, stop = max(0, first), min(array.shape[at], first + length)
        widths = [(0, 0)] * array.ndim
        widths[at] = (start - first, first + length - stop)
        pieces[spec.name] = np.pad(array[(slice(None),) * at + (slice(start, stop),)], widths)
    return pieces


def scaled(position: int, output: int, length: int) -> int:
    """Return a position of the input on the scale of an output, rounded half up.

    A window of `length` samples gives `output` samples.
    """
    return (2 * position * output + length) // (2 * length)
