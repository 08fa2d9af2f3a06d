"""Proves that an exported graph computes what the torch module computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from core import Array, StageError, Tensors, TorchModel
from core.formats.onnx_session import session_options
from core.measure.metrics import snr_db
from plugins.exporter._onnx.axes import free_axes
from plugins.exporter._torch_module import BRANCH, PLAY, Frame, fresh, one_length, outputs_of

if TYPE_CHECKING:
    from pathlib import Path


__all__ = [
    "ONNX_RUNTIME",
    "check_same",
    "halved",
    "opened",
    "turned",
    "verify_others",
    "verify_shorter",
]

#: The SNR that two computations in 16-bit floats may fall to: 11 bits, and a flip of the last one.
HALF_DB = 56.0
#: How many lines of a module a message has at most.
SHOWN = 3
ONNX_RUNTIME = "ONNX Runtime's CPU"


def check_same(expected: Tensors, actual: Tensors, player: str, tolerance_db: float) -> float:
    """Return the lowest SNR in dB over all outputs; `player` names the runner that gave `actual`.

    Raises StageError, naming the worst output, when that is below `tolerance_db`, or for an
    output of another shape or type. For 16-bit floats the limit is `HALF_DB` at most.
    """
    worst_db, worst, bound_db = float("inf"), "", tolerance_db
    for name, reference in expected.items():
        ours, theirs = (
            f"{a.dtype} {'×'.join(map(str, a.shape))}" for a in (actual[name], reference)
        )
        if ours != theirs:
            raise StageError(
                f"output `{name}` of the exported graph has another shape or type than in PyTorch",
                f"graph: {ours}",
                f"PyTorch: {theirs}",
                "try the other exporter: exporter=onnx or exporter=onnx_dynamo",
            )
        found_db = snr_db(*_comparable(reference, actual[name]))
        least_db = min(tolerance_db, HALF_DB) if reference.dtype == "float16" else tolerance_db
        if found_db - least_db < worst_db - bound_db or not worst:
            worst_db, worst, bound_db = found_db, name, least_db
    if worst_db < bound_db:
        raise StageError(
            f"the exported graph does not compute what PyTorch does: output `{worst}` has "
            f"{worst_db:.1f} dB SNR, below {bound_db:g} dB",
            f"measured: example inputs, {player} against the torch module in FP32",
            "try another exporter (onnx, onnx_dynamo, torch_export): each is checked in this way",
            PLAY,
            "or accept less: exporter.tolerance_db=...",
        )
    return worst_db


def _described(array: Array) -> str:
    return f"{array.dtype} {'×'.join(map(str, array.shape)) or 'scalar'}"


def _comparable(reference: Array, actual: Array) -> tuple[Array, Array]:
    """Return both with zeros where they hold the same infinity, or where both hold NaN.

    A mask's or a logarithm's infinities are no signal, and equal ones are no error.
    """
    import numpy as np

    if np.isfinite(reference).all():
        return reference, actual
    with np.errstate(invalid="ignore"):
        same = ~np.isfinite(reference) & (
            (reference == actual) | (np.isnan(reference) & np.isnan(actual))
        )
    zero = reference.dtype.type(0)
    return np.where(same, zero, reference), np.where(same, zero, actual)


def verify_others(
    play: Callable[[Tensors], Tensors],
    model: TorchModel,
    feeds: Tensors,
    player: str,
    tolerance_db: float,
    constants: Sequence[Frame] = (),
) -> float | None:
    """Return the lowest SNR in dB over all outputs for other values than those of the export.

    None where the module itself rejects them. Raises StageError where `play`, which returns a
    graph's outputs by name, computes something else: a recorded graph takes the branch that its
    example took, and agrees with the module on that example. `constants` are the lines of the
    module whose values were recorded.
    """
    others = turned(feeds)
    try:
        with fresh(model) as copied:
            expected = outputs_of(copied, others)
    except Exception:  # a module may raise anything for values that it does not take
        return None
    try:
        return check_same(expected, play(others), player, tolerance_db)
    except StageError as error:
        recorded = [f"recorded as a constant: {frame}" for frame in constants[:SHOWN]]
        raise StageError(
            f"{error.what}, for values other than those of its example",
            *error.lines[:1],
            *recorded,
            BRANCH,
            PLAY,
        ) from error


def turned(feeds: Tensors) -> dict[str, Array]:
    """Return other valid feeds: the values of `feeds` in another order.

    Indices stay indices of the same table. A signal that has both signs changes its sign, too.
    """
    import numpy as np

    others = {}
    for name, array in feeds.items():
        axis = next((i for i in reversed(range(array.ndim)) if array.shape[i] > 1), None)
        other = array if axis is None else np.flip(array, axis)
        if array.dtype.kind == "f" and array.size and array.min() < 0 < array.max():
            other = -other
        others[name] = np.ascontiguousarray(other)
    return others


def verify_shorter(
    path: Path, model: TorchModel, feeds: Tensors, tolerance_db: float
) -> float | None:
    """Return the lowest SNR in dB over all outputs at half the length of the example.

    None where the module itself rejects half, so that there is nothing to compare with. Raises
    StageError where the module accepts it and the graph rejects it, or computes something else.
    """
    half = halved(model, feeds)
    try:
        with fresh(model) as copied:
            expected = outputs_of(copied, half)
    except Exception:  # a module may raise anything for a length that it does not take
        return None
    try:
        return check_same(expected, opened(path)(half), ONNX_RUNTIME, tolerance_db)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
        raise StageError(
            "the exported graph works at one length only, though `dynamic` is true",
            f"at half the length of the example: {reason[:200]}",
            "the tracer wrote a length of the example into the graph as a constant",
            one_length(model.info),
        ) from error


def halved(model: TorchModel, feeds: Tensors) -> dict[str, Array]:
    """Return the feeds with every free axis halved, rounded up.

    Inputs of one window stay inputs of one window: of `T` samples and `ceil(T / hop)` frames,
    the halves still have `ceil(samples / hop)` frames.
    """
    import numpy as np

    half = {}
    for name, array in feeds.items():
        free = free_axes(name, model.info.signature.inputs, array.ndim)
        cut = tuple(
            slice(-(-length // 2) if axis in free else None)
            for axis, length in enumerate(array.shape)
        )
        half[name] = np.ascontiguousarray(array[cut])
    return half


def opened(path: Path) -> Callable[[Tensors], dict[str, Array]]:
    """Open a graph on ONNX Runtime's CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(path), sess_options=session_options(), providers=["CPUExecutionProvider"]
    )

    def run(feeds: Tensors) -> dict[str, Array]:
        # An input that does not reach an output is not in the graph.
        known = {i.name: feeds[i.name] for i in session.get_inputs()}
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, known), strict=True))

    return run
