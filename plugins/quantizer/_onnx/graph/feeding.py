"""Gives calibration windows to an opened graph, and reports which does not fit it, and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core import InputError, StageError, Tensors

__all__ = ["fitting", "refused"]


def fitting(inputs: Sequence[Any], feeds: Tensors, index: int) -> Tensors:
    """Return the inputs of window number `index`; raises InputError where it does not fit.

    `inputs` are the graph's, as ONNX Runtime lists them.
    """
    for wanted in inputs:
        given = feeds.get(wanted.name)
        if given is None:
            raise InputError(
                f"calibration window {index} lacks the graph's input `{wanted.name}`",
                f"it gives: {', '.join(feeds) or 'nothing'}",
                f"the graph takes: {', '.join(i.name for i in inputs)}",
                "give the dsp and the data that the graph was exported with",
            )
        fits = given.ndim == len(wanted.shape) and all(
            not isinstance(want, int) or want == got
            for want, got in zip(wanted.shape, given.shape, strict=True)
        )
        if not fits:
            raise InputError(
                f"calibration window {index} gives `{wanted.name}` the shape "
                f"{_shape(given.shape)}, but the graph takes {_shape(wanted.shape)}",
                "give windows of the length that the graph was exported for",
            )
    return {wanted.name: feeds[wanted.name] for wanted in inputs}


def refused(what: str, error: Exception) -> StageError:
    """Return the error for a graph that ONNX Runtime rejects, with its own words on the node."""
    return StageError(
        f"ONNX Runtime cannot {what}",
        str(error).strip().splitlines()[0],
        "first run the exported graph unchanged (quantizer=none), or export it with another opset",
    )


def _shape(lengths: Sequence[object]) -> str:
    return "×".join(str(length) for length in lengths) or "()"
