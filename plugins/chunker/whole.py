"""No cutting: the input is one window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core import (
    BundlePart,
    Chunker,
    Joiner,
    ModelInfo,
    NoOptions,
    Signature,
    StageError,
    Tensors,
    Window,
    hookimpl,
)

__all__ = ["Whole"]


class Whole(Chunker[NoOptions]):
    """Gives every input to the model in one piece, whatever its length."""

    name = "whole"

    def window(self) -> Mapping[str, int]:
        """Return nothing: no axis is cut."""
        return {}

    def split(self, lengths: Mapping[str, int]) -> Sequence[Window]:
        """Return the one window, which covers everything."""
        return (Window(0, {}, {}),)

    def cut(self, inputs: Tensors, window: Window, signature: Signature) -> Tensors:
        """Return the inputs as they are; raises StageError for a length that the model rejects."""
        for spec in signature.inputs:
            lengths = zip(spec.axes, spec.shape, inputs[spec.name].shape, strict=True)
            for axis, wanted, given in lengths:
                if isinstance(wanted, int) and given != wanted:
                    raise StageError(
                        f"the input `{spec.name}` has {given} along `{axis}`, and the model takes "
                        f"{wanted}",
                        *_cutting(axis, wanted, signature),
                        f"give data of {wanted} along `{axis}`",
                    )
        return inputs

    def joiner(self, lengths: Mapping[str, int], signature: Signature) -> Joiner:
        """Return a joiner that keeps the outputs of the one window."""
        return _Kept()

    def ships(self, info: ModelInfo) -> BundlePart:
        """Return the code, which only hands the input on."""
        from plugins.chunker._on_device import sources

        return BundlePart(sources=sources("whole"))


def _cutting(axis: str, length: int, signature: Signature) -> list[str]:
    """Return how to cut the axis to this length, where the outputs can be joined again."""
    if not all(axis in spec.axes for spec in signature.outputs):
        return []
    return [f"cut it: chunker=overlap_add chunker.axis={axis} chunker.length={length}, or"]


class _Kept(Joiner):
    """Holds the outputs of one window."""

    def __init__(self) -> None:
        self._outputs: Tensors = {}

    def add(self, window: Window, outputs: Tensors) -> None:
        """Keep the outputs."""
        self._outputs = outputs

    def result(self) -> Tensors:
        """Return the outputs."""
        return self._outputs


@hookimpl
def luthier_plugins() -> list[type[Whole]]:
    """Return the chunker plugin of this file."""
    return [Whole]
