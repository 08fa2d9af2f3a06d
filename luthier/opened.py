"""A model that is open and takes arrays, whatever it was opened from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from core.errors import InputError
from core.plugin.progress import silent
from core.plugin.values import Array, Signature, Tensors
from luthier.outputs import Outputs, labelled

if TYPE_CHECKING:
    from core.plugin.progress import Progress
    from core.plugin.values import Notice

__all__ = ["Opened"]


class Opened:
    """An open model. Call it with an array, or with arrays by name; close it, or use `with`.

    `signature` says what it takes and gives: axes, lengths, rates, labels. `device` is what it
    computes on, in words; `notices` are what a user must know of the weights and the stages. Calls
    from several threads play one after the other.
    """

    def __init__(
        self,
        signature: Signature,
        device: str,
        play: Callable[[Tensors, Progress], Tensors],
        closing: ExitStack,
        notices: Sequence[Notice] = (),
    ) -> None:
        self.signature, self.device = signature, device
        self.notices = tuple(notices)
        self._play, self._closing = play, closing
        # Not every runtime plays two inputs at once in one session.
        self._lock, self._closed = threading.Lock(), False

    def __call__(self, inputs: Array | Mapping[str, Array]) -> Outputs:
        """Play inputs of any length, cut into windows and joined, and return the outputs.

        One array where the model has one input, else arrays by name; each has the axes and the type
        of the signature (`(channel, time)` in float32), without a batch axis. Other floats are
        converted. Raises InputError for an array that does not fit, or after `close`.
        """
        fitted = _fitted(inputs, self.signature)
        with self._lock:
            if self._closed:
                raise InputError("the model is closed", "open it again: luthier.open(...)")
            return labelled(self._play(fitted, silent()), self.signature)

    def close(self) -> None:
        """Close the model once it has played, and free its memory; a second time does nothing."""
        with self._lock:
            self._closed = True
            self._play = _closed
            self._closing.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the model."""
        self.close()

    def __repr__(self) -> str:
        """Return inputs and device."""
        taken = ", ".join(f"{one.name} {one.axes}" for one in self.signature.inputs)
        return f"<Opened: takes {taken}, on {self.device}>"


def _closed(_: Tensors, __: Progress) -> Tensors:
    """Take the place of what plays, which holds the model."""
    raise AssertionError("a closed model is refused before")


def _fitted(inputs: Array | Mapping[str, Array], signature: Signature) -> Tensors:
    """Return arrays by name, in the types of the signature; raises InputError for another shape."""
    import numpy as np

    names = [spec.name for spec in signature.inputs]
    given = inputs if isinstance(inputs, Mapping) else {names[0]: inputs}
    if set(given) != set(names):
        raise InputError(
            f"the model takes {', '.join(names)}, and got {', '.join(given) or 'nothing'}",
            "give arrays by name: model({name: array, ...})",
        )
    fitted = {}
    for spec in signature.inputs:
        array = np.asarray(given[spec.name])
        wanted = " x ".join(
            f"{axis} {length}" if isinstance(length, int) else axis
            for axis, length in zip(spec.axes, spec.shape, strict=True)
        )
        fits = array.ndim == len(spec.shape) and all(
            isinstance(length, str) or length == here
            for length, here in zip(spec.shape, array.shape, strict=False)
        )
        if not fits or not array.size:
            raise InputError(
                f"`{spec.name}` has the shape {array.shape}", f"the model takes: {wanted}"
            )
        if array.dtype.name != spec.dtype and not (spec.is_float and array.dtype.kind == "f"):
            raise InputError(
                f"`{spec.name}` is of {array.dtype}, and the model takes {spec.dtype}",
                f"convert it: array.astype('{spec.dtype}'); samples of sound lie between -1 and 1"
                if spec.is_float
                else f"convert it: array.astype('{spec.dtype}')",
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"`{spec.name}` holds values that are not numbers (NaN or infinite)")
        fitted[spec.name] = array.astype(spec.dtype, copy=False)
    return fitted
