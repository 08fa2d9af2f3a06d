"""Windows with context on both sides, which is cut off: for networks that need no fade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from core import (
    Array,
    BundlePart,
    Chunker,
    InputError,
    Joiner,
    ModelInfo,
    Signature,
    StageError,
    Tensors,
    TensorSpec,
    Window,
    hookimpl,
)
from plugins.chunker._cutting import (
    LONGEST,
    MODEL,
    MOST,
    known_length,
    padded,
    read_length,
    scaled,
    trained_length,
)

__all__ = ["Context"]


@dataclass
class ContextOptions:
    """How long the windows are, how much of each is context, and along which axis they lie."""

    length: int | str = 44100
    """Length of a window with its context, in samples of the input, or `model`: as long as those
    that the model was trained on."""
    left: int = 4410
    """Samples of context before the part that is kept. Zeros stand before the start of an input."""
    right: int = 4410
    """Samples of context after the part that is kept. Zeros stand behind the end of an input."""
    axis: str = "time"
    """Name of the axis that is cut."""

    def __post_init__(self) -> None:
        """Raise ValueError for windows that keep nothing."""
        self.length = read_length(self.length)
        for name in ("left", "right"):
            if not 0 <= getattr(self, name) <= LONGEST:
                raise ValueError(f"`{name}` is {getattr(self, name)}: give 0 to {LONGEST:,}")
        if self.length == MODEL:
            return
        if self.kept < 1:
            raise ValueError(
                f"`left` {self.left} and `right` {self.right} leave nothing of windows of "
                f"{self.samples} samples"
            )

    @property
    def samples(self) -> int:
        """Return the length of a window; raises ValueError while it is still left to the model."""
        return known_length(self.length)

    @property
    def kept(self) -> int:
        """Return the samples of a window that are no context, one window's step to the next."""
        return self.samples - self.left - self.right


class Context(Chunker[ContextOptions]):
    """Cuts one axis into windows with context around them, and puts what is no context together."""

    name = "context"
    Options = ContextOptions

    def with_training_window(self, window: Mapping[str, int]) -> Context:
        """Return a chunker with windows as long as those that the model was trained on.

        Raises InputError where `window` has no length along the axis, or one that the context
        fills.
        """
        options = self.options
        if options.length != MODEL:
            return self
        length = trained_length(window, options.axis)
        try:
            return Context(replace(options, length=length))
        except ValueError as error:
            raise InputError(
                f"chunker `context`: {error}", "give less: chunker.left=... chunker.right=..."
            ) from error

    def window(self) -> Mapping[str, int]:
        """Return the length of a window, context included."""
        return {self.options.axis: self.options.samples}

    def split(self, lengths: Mapping[str, int]) -> Sequence[Window]:
        """Return windows that lie side by side without their context; the last may be shorter.

        Raises StageError for more windows than any device can process.
        """
        axis, step = self.options.axis, self.options.kept
        total = lengths[axis]
        starts = range(0, total, step)
        if len(starts) > MOST:
            raise StageError(
                f"chunker `context` would cut {total:,} samples into {len(starts):,} windows",
                f"possible: up to {MOST:,}; a window keeps {step:,} samples",
                "take longer windows, or less context: chunker.length=44100 chunker.left=4410",
            )
        return [
            Window(index, {axis: start}, {axis: min(start + step, total)})
            for index, start in enumerate(starts)
        ]

    def cut(self, inputs: Tensors, window: Window, signature: Signature) -> Tensors:
        """Return one window with its context, of full length; zeros lie beyond the input's ends."""
        options = self.options
        first = window.start[options.axis] - options.left
        return padded(inputs, signature, options.axis, first, options.samples)

    def resized(self, window: Mapping[str, int]) -> Context:
        """Return a chunker with windows as long as `window` says for this axis.

        Raises ValueError for a length that the context fills.
        """
        length = window.get(self.options.axis)
        return self if length is None else Context(replace(self.options, length=length))

    def joiner(self, lengths: Mapping[str, int], signature: Signature) -> Joiner:
        """Return a joiner for outputs that have the axis, at the input's rate or a multiple."""
        axis = self.options.axis
        without = [spec.name for spec in signature.outputs if axis not in spec.axes]
        if without:
            raise StageError(
                f"chunker `context` cannot join `{without[0]}`, which has no axis `{axis}`",
                "a chunker that can: chunker=overlap_add chunker.without_axis=mean",
            )
        return _ContextJoiner(self.options, lengths[axis], signature.outputs)

    def ships(self, info: ModelInfo) -> BundlePart:
        """Return the numbers of the cut, and the code that cuts and joins."""
        from plugins.chunker._on_device import sources

        return BundlePart({**asdict(self.options), "kept": self.options.kept}, sources("context"))


class _ContextJoiner(Joiner):
    """Writes what is no context of each window to its place."""

    def __init__(self, options: ContextOptions, total: int, outputs: Sequence[TensorSpec]) -> None:
        self._options, self._total, self._outputs = options, total, outputs
        self._whole: dict[str, Array] = {}

    def add(self, window: Window, outputs: Tensors) -> None:
        """Keep the middle of one window, whose outputs are `samples` long, or longer by a rate."""
        import numpy as np

        axis, length = self._options.axis, self._options.samples
        for spec in self._outputs:
            output = np.moveaxis(outputs[spec.name], spec.axis(axis), -1)
            size = output.shape[-1]
            if spec.name not in self._whole:
                shape = (*output.shape[:-1], scaled(self._total, size, length))
                self._whole[spec.name] = np.zeros(shape, spec.dtype)
            start, stop = (scaled(p[axis], size, length) for p in (window.start, window.stop))
            skip = scaled(self._options.left, size, length)
            part = output[..., skip : skip + stop - start]
            self._whole[spec.name][..., start : start + part.shape[-1]] = part

    def result(self) -> Tensors:
        """Return the outputs, as long as the input or longer by their rate."""
        import numpy as np

        axis = self._options.axis
        return {
            spec.name: np.moveaxis(self._whole[spec.name], -1, spec.axis(axis))
            for spec in self._outputs
        }


@hookimpl
def luthier_plugins() -> list[type[Context]]:
    """Return the chunker plugin of this file."""
    return [Context]
