"""The example inputs that an exporter records a model with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.inference.context import RunContext
from core.inference.drawn import drawn
from core.inference.items import cached_items, check_example
from core.inference.windows import lengths_of, spread
from core.plugin.stages import StageContext
from core.plugin.values import Artifact, Signature

if TYPE_CHECKING:
    from core.plugin.values import Tensors

__all__ = ["example"]


def example(context: RunContext, model: Artifact, work: StageContext) -> Tensors:
    """Return the core's inputs for one window, which fix their names, types and shapes.

    The model gives them if its plugin knows better. Else they are drawn where the signature says
    what is valid, which is so for floats and for all with a range: then no user data decides on the
    graph. Other integers and truth values are only sure to be valid if they are real (an index
    into a table, a length, a mask). So all inputs are then taken from the middle of the first item
    of the recipe's calibration data, or else of the data that it plays. That is no part of the
    result's key: an exporter proves that a graph is right for other values than these.
    """
    info = model.info
    window = dict(context.pipeline.chunker.window()) or info.train_window
    piece = context.pipeline.model.example(info, window)
    if piece is not None:
        check_example(piece, info.signature, context.pipeline.model)
    elif all(spec.is_float or spec.range for spec in info.signature.inputs):
        unknown = {axis for spec in info.signature.inputs for axis in spec.free} - window.keys()
        lengths = {**_lengths(context, model, work, unknown), **window}
        piece = {spec.name: drawn(spec, lengths, scale=0.1) for spec in info.signature.inputs}
    else:
        piece = _shortened(_real(context, model, work), info.signature, window)
    return context.transform(model).forward(piece)[0]


def _lengths(
    context: RunContext, model: Artifact, work: StageContext, unknown: set[str]
) -> dict[str, int]:
    """Return lengths for the axes that no window and no training fixes: those of the data."""
    return lengths_of(_real(context, model, work), model.info.signature) if unknown else {}


def _real(context: RunContext, model: Artifact, work: StageContext) -> Tensors:
    """Return one window of the recipe's data, as the chunker cuts it."""
    pipeline, signature = context.pipeline, model.info.signature
    if pipeline.calibration is not None:
        items = cached_items(pipeline.calibration, "calibration", signature, work.state_dir)
    else:
        items = context.items(model, work)
    inputs = next(items).inputs
    (window,) = spread(1, inputs, pipeline.chunker, signature)
    return pipeline.chunker.cut(inputs, window, signature)


def _shortened(inputs: Tensors, signature: Signature, window: dict[str, int]) -> Tensors:
    """Cut inputs to the windows that the model was trained on: an example needs no more.

    This changes inputs only if the chunker cuts nothing; else they have its windows' length.
    """
    shorter = {}
    for spec in signature.inputs:
        index = tuple(slice(window.get(axis) if axis in spec.free else None) for axis in spec.axes)
        shorter[spec.name] = inputs[spec.name][index]
    return shorter
