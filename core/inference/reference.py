"""The model's own forward pass as the reference: checked for its signature, and for one answer.

A comparison is only as good as its reference. So the module gets copies of its inputs, which it
may write to. Its outputs are copied, because they may be its own buffers. And the first window goes
through it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from core.errors import InputError, PluginError
from core.measure.metrics import LIMIT_DB, snr_db
from core.plugin.values import Notice, Signature, TensorSpec

if TYPE_CHECKING:
    from core.plugin.stages import TorchModel
    from core.plugin.values import Array, Tensors

__all__ = ["Reference"]

#: Outputs of two calls that agree less than this are not the same. Two orders of summation agree
#: better.
SAME_DB = 80.0


class Reference:
    """Maps one window to the outputs of the signature, by the model's own forward pass.

    `origin` names the model's plugin. If a second call with the same window gives another result,
    `told` is called with a notice, and `anew` to open the model again.
    """

    def __init__(
        self,
        opened: TorchModel,
        origin: str,
        anew: Callable[[], TorchModel],
        told: Callable[[Notice], None] | None,
    ) -> None:
        self._function, self._signature = opened.reference, opened.info.signature
        self._origin, self._anew, self._told = origin, anew, told

    def __call__(self, window: Tensors) -> Mapping[str, Array]:
        """Run one window; raises PluginError if the outputs do not fit the signature.

        Raises InputError for a window of other lengths than the model takes.
        """
        _check_window(window, self._signature)
        outputs = self._run(window)
        if self._told is not None:
            told, self._told = self._told, None
            same_db = _agreement_db(outputs, self._run(window))
            if same_db < SAME_DB:
                told(_unsteady(self._origin, same_db))
                self._function = self._anew().reference
                outputs = self._run(window)
        return outputs

    def _run(self, window: Tensors) -> Mapping[str, Array]:
        given = {name: array.copy() for name, array in window.items()}
        outputs = self._function(given)
        _check(outputs, self._signature, self._origin)
        return {name: array.copy() for name, array in outputs.items()}


def _check_window(window: Tensors, signature: Signature) -> None:
    for spec in signature.inputs:
        array = window[spec.name]
        if not _fits(array.shape, spec):
            raise InputError(
                f"a window of the input `{spec.name}` is {_lengths(spec, array.shape)}, but the "
                f"model takes {_lengths(spec, spec.shape)}",
                "a dataset makes its items fit the signature, a chunker cuts windows for it",
            )


def _lengths(spec: TensorSpec, shape: Sequence[int | str]) -> str:
    """Return lengths in words: `2 channel × time`."""
    return " × ".join(
        axis if isinstance(length, str) else f"{length} {axis}"
        for axis, length in zip(spec.axes, shape, strict=False)
    )


def _check(outputs: Tensors, signature: Signature, origin: str) -> None:
    for spec in signature.outputs:
        array = outputs.get(spec.name)
        if array is None or array.dtype.name != spec.dtype or not _fits(array.shape, spec):
            got = "nothing" if array is None else f"{array.dtype} of shape {array.shape}"
            raise PluginError(
                f"{origin} gives {got} for its output `{spec.name}`",
                f"its signature says: {spec.dtype}, {_lengths(spec, spec.shape)}",
                "`TorchModel.reference` gives the outputs of the signature, without a batch axis",
            )


def _fits(shape: tuple[int, ...], spec: TensorSpec) -> bool:
    return len(shape) == len(spec.shape) and all(
        isinstance(length, str) or length == found
        for length, found in zip(spec.shape, shape, strict=True)
    )


def _agreement_db(first: Mapping[str, Array], second: Mapping[str, Array]) -> float:
    """Return the lowest SNR in dB over all outputs of two calls."""
    import numpy as np

    if any(array.shape != second[name].shape for name, array in first.items()):
        return -LIMIT_DB
    return min(
        snr_db(np.nan_to_num(array), np.nan_to_num(second[name])) for name, array in first.items()
    )


def _unsteady(origin: str, same_db: float) -> Notice:
    return Notice(
        "danger",
        f"{origin} gave another output when it was called again with the same window "
        f"({same_db:.1f} dB SNR): it keeps values from one call to the next, or draws random "
        "numbers. A comparison with it says little",
    )
