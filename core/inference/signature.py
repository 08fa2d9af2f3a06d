"""Proves that windows fit a model, as soon as its signature is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.config.pipeline import Pipeline
from core.errors import LuthierError, MisfitError
from core.plugin.values import ModelInfo
from core.store import fingerprint

__all__ = ["check_free", "check_windows"]


def check_windows(pipeline: Pipeline, info: ModelInfo) -> None:
    """Raise MisfitError if the model does not take the chunker's windows."""
    free: set[str] = set()
    for spec in info.signature.inputs:
        free |= set(spec.free)
        for axis, length in zip(spec.axes, spec.shape, strict=True):
            size = pipeline.chunker.window().get(axis, length)
            if isinstance(length, int) and size != length:
                raise MisfitError(
                    f"chunker `{pipeline.chunker.name}` cuts windows of {size} along `{axis}`, but "
                    f"the input `{spec.name}` of model `{pipeline.model.name}` takes {length}",
                    f"recipe: {pipeline.recipe}",
                    f"cut such windows: {_option(pipeline, {axis: length})}",
                )
    check_free(pipeline, sorted(free))
    _check_joined(pipeline, info)


def _check_joined(pipeline: Pipeline, info: ModelInfo) -> None:
    """Have the chunker refuse outputs that it cannot join, before anything is exported for it."""
    cut = pipeline.chunker.window()
    lengths = {
        axis: cut.get(axis, length)
        for spec in info.signature.inputs
        for axis, length in zip(spec.axes, spec.shape, strict=True)
    }
    known = {axis: length for axis, length in lengths.items() if isinstance(length, int)}
    if cut and known.keys() == lengths.keys():
        pipeline.chunker.joiner(known, info.signature)


def check_free(pipeline: Pipeline, free: Sequence[str], chunkers: Sequence[str] = ()) -> None:
    """Raise MisfitError for a graph of one length whose inputs have axes that nothing fixes.

    `free` are the axes of any length, `chunkers` the names of chunkers that cut.
    """
    exporter, cut = pipeline.exporter, pipeline.chunker.window()
    if exporter is None or exporter.passes or exporter.dynamic:
        return
    loose = [axis for axis in free if axis not in cut]
    if not loose:
        return
    known = ", ".join(chunkers) or "mode=list names them"
    raise MisfitError(
        f"exporter `{exporter.name}` makes a graph of one fixed length, but chunker "
        f"`{pipeline.chunker.name}` gives inputs whole along `{loose[0]}`",
        f"recipe: {pipeline.recipe}",
        f"cut windows (chunkers that do: {known}), as in: chunker=overlap_add "
        f"chunker.axis={loose[0]}",
        "or exporter.dynamic=true, where the model can be traced for any length",
    )


def _option(pipeline: Pipeline, window: Mapping[str, int]) -> str:
    """Return the override that gives the recipe's chunker such windows: `chunker.length=256`."""
    chunker = pipeline.chunker
    try:
        now, then = (
            fingerprint.of_plugin(one)["options"]
            for one in (chunker, chunker.resized({**chunker.window(), **window}))
        )
    except (ValueError, LuthierError):
        return "chunker=..."
    found = " ".join(f"chunker.{key}={value}" for key, value in then.items() if value != now[key])
    return found or "chunker=..."
