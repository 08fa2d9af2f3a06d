"""Overlapping windows, joined with triangular weights: `demucs.apply.apply_model`.

The formulas are those of `apply_model(split=True, shifts=0)` and `TensorChunk.padded` of demucs
4.1.0, so that a song that is cut here sounds as it does in demucs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum

from core import (
    Array,
    BundlePart,
    Chunker,
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
    MODEL,
    MOST,
    known_length,
    padded,
    read_length,
    scaled,
    trained_length,
)

__all__ = ["OverlapAdd"]

#: The highest overlap: it computes every sample a hundred times.
HIGHEST = 0.99


class Uncut(Enum):
    """How outputs without the axis are joined."""

    refuse = "refuse"
    mean = "mean"
    max = "max"
    min = "min"
    first = "first"
    last = "last"


@dataclass
class OverlapAddOptions:
    """How long the windows are, how far they overlap, and along which axis they lie."""

    length: int | str = 44100
    """Length of a window in samples of the input, or `model`: as long as those that the model was
    trained on."""
    overlap: float = 0.25
    """Share of a window that the next one covers again, from 0 to 0.99."""
    power: float = 1.0
    """Exponent of the triangular weight, 1 or more: the higher, the sharper the transition."""
    axis: str = "time"
    """Name of the axis that is cut."""
    without_axis: Uncut = Uncut.refuse
    """What becomes of an output that has no such axis (scores of a sound): `refuse` it, or take the
    `mean`, `max`, `min`, `first` or `last` of its windows. A mean counts a window by its length."""

    def __post_init__(self) -> None:
        """Raise ValueError for windows that cannot cover an input."""
        self.length = read_length(self.length)
        if not 0 <= self.overlap <= HIGHEST:
            raise ValueError(f"`overlap` is {self.overlap}: give a share from 0 to {HIGHEST}")
        if self.length != MODEL and self.stride < 1:
            raise ValueError(
                f"`overlap` {self.overlap} leaves no step between windows of {self.length} samples"
            )
        if not 1 <= self.power < math.inf:
            raise ValueError(f"`power` is {self.power}: give 1 or more")

    @property
    def samples(self) -> int:
        """Return the length of a window; raises ValueError while it is still left to the model."""
        return known_length(self.length)

    @property
    def stride(self) -> int:
        """Return the samples from one window's start to the next."""
        return int((1 - self.overlap) * self.samples)


class OverlapAdd(Chunker[OverlapAddOptions]):
    """Cuts one axis into windows of one length that overlap, and fades from each to the next."""

    name = "overlap_add"
    Options = OverlapAddOptions

    def with_training_window(self, window: Mapping[str, int]) -> OverlapAdd:
        """Return a chunker with windows as long as those that the model was trained on.

        Raises InputError where `window` has no length along the axis.
        """
        options = self.options
        if options.length != MODEL:
            return self
        return OverlapAdd(replace(options, length=trained_length(window, options.axis)))

    def window(self) -> Mapping[str, int]:
        """Return the length of a window."""
        return {self.options.axis: self.options.samples}

    def split(self, lengths: Mapping[str, int]) -> Sequence[Window]:
        """Return one window per stride; windows that pass the end are cut short there.

        Raises StageError for more windows than any device can process.
        """
        axis, total = self.options.axis, lengths[self.options.axis]
        starts = range(0, total, self.options.stride)
        if len(starts) > MOST:
            raise StageError(
                f"chunker `overlap_add` would cut {total:,} samples into {len(starts):,} windows",
                f"possible: up to {MOST:,}; a window starts every {self.options.stride:,} samples",
                "take longer windows, or less overlap: chunker.length=44100 chunker.overlap=0.25",
            )
        return [
            Window(index, {axis: start}, {axis: min(start + self.options.samples, total)})
            for index, start in enumerate(starts)
        ]

    def cut(self, inputs: Tensors, window: Window, signature: Signature) -> Tensors:
        """Return one window, of full length, with the piece that counts in its middle.

        The input's samples surround a short piece, and zeros lie beyond the input's ends.
        """
        axis, length = self.options.axis, self.options.samples
        first = window.start[axis] - _before(window, axis, length)
        return padded(inputs, signature, axis, first, length)

    def sampler(self) -> OverlapAdd:
        """Return a chunker whose windows lie side by side."""
        return OverlapAdd(replace(self.options, overlap=0.0, power=1.0, without_axis=Uncut.refuse))

    def resized(self, window: Mapping[str, int]) -> OverlapAdd:
        """Return a chunker with windows as long as `window` says for this axis."""
        length = window.get(self.options.axis)
        return self if length is None else OverlapAdd(replace(self.options, length=length))

    def joiner(self, lengths: Mapping[str, int], signature: Signature) -> Joiner:
        """Return a joiner for outputs that have the axis, at the input's rate or a multiple.

        Integers and booleans have no mean: each is taken from the window in whose middle it lies
        most.
        """
        axis, how = self.options.axis, self.options.without_axis
        without = [spec for spec in signature.outputs if axis not in spec.axes]
        mean_of = [spec.name for spec in without if how is Uncut.mean and not spec.is_float]
        if mean_of:
            raise StageError(
                f"chunker `overlap_add` takes the mean of floats only, and `{mean_of[0]}` is none",
                "take one of its values: chunker.without_axis=max, min, first or last",
            )
        if without and how is Uncut.refuse:
            name = without[0].name
            raise StageError(
                f"chunker `overlap_add` cannot join `{name}`, which has no axis `{axis}`",
                "say what to take of its windows: chunker.without_axis=mean",
                "or give such inputs whole, to a graph of any length: chunker=whole "
                "exporter.dynamic=true",
                "or to the module itself: chunker=whole exporter=none graph=[] precision=fp32 "
                "runtime=torch",
            )
        return _OverlapAddJoiner(self.options, lengths[axis], signature.outputs)

    def ships(self, info: ModelInfo) -> BundlePart:
        """Return the numbers of the cut and the fade, and the code that does both."""
        from plugins.chunker._on_device import OVERLAP_ADD, last_axis, sources

        options = self.options
        facts = {
            **asdict(options),
            "without_axis": options.without_axis.value,
            "stride": options.stride,
            **OVERLAP_ADD,
        }
        plain = last_axis(options.axis, info.signature)
        return BundlePart(facts, sources("overlap_add", *(["cpp", "kotlin"] if plain else [])))


def _before(window: Window, axis: str, length: int) -> int:
    """Return how many samples lie before a window's piece: half of the missing samples."""
    return (length - (window.stop[axis] - window.start[axis])) // 2


class _OverlapAddJoiner(Joiner):
    """Adds weighted windows up as they come, and divides by the sum of the weights."""

    def __init__(
        self, options: OverlapAddOptions, total: int, outputs: Sequence[TensorSpec]
    ) -> None:
        self._options, self._total, self._outputs = options, total, outputs
        self._sums: dict[str, Array] = {}
        self._weights: dict[str, Array] = {}
        self._added = 0

    def add(self, window: Window, outputs: Tensors) -> None:
        """Weigh and add one window, whose outputs are `length` long, or longer by their rate."""
        import numpy as np

        axis, length = self._options.axis, self._options.samples
        before, self._added = self._added, self._added + window.stop[axis] - window.start[axis]
        for spec in self._outputs:
            name = spec.name
            if axis not in spec.axes:
                self._sums[name] = self._summed(spec, outputs[name], before)
                continue
            output = np.moveaxis(outputs[name], spec.axis(axis), -1)
            size = output.shape[-1]
            if name not in self._sums:
                total = scaled(self._total, size, length)
                kept = "float32" if spec.dtype == "float16" else spec.dtype
                self._sums[name] = np.zeros((*output.shape[:-1], total), kept)
                self._weights[name] = np.zeros(total, np.float32)
            start, stop = (scaled(p[axis], size, length) for p in (window.start, window.stop))
            # demucs weighs a short piece with the start of the triangle, wherever it lay.
            weight = _triangle(size, self._options.power)[: stop - start]
            # The piece ends inside: ceil(n·s/L) + round(before·s/L) <= s, as n + 2·before <= L.
            skip = scaled(_before(window, axis, length), size, length)
            piece = output[..., skip : skip + stop - start]
            sums, weights = self._sums[name][..., start:stop], self._weights[name][start:stop]
            if spec.is_float:
                sums += weight * piece
                weights += weight
            else:
                nearer = weight > weights
                sums[..., nearer] = piece[..., nearer]
                weights[nearer] = weight[nearer]

    def _summed(self, spec: TensorSpec, output: Array, before: int) -> Array:
        """Return an output without the axis for all windows so far; `before` samples were added."""
        import numpy as np

        if before == 0:
            return output.copy()
        kept, how = self._sums[spec.name], self._options.without_axis
        if how is Uncut.mean:
            share = (self._added - before) / self._added
            mean: Array = (kept + share * (output.astype(np.float64) - kept)).astype(spec.dtype)
            return mean
        if how in (Uncut.max, Uncut.min):
            extreme: Array = (np.maximum if how is Uncut.max else np.minimum)(kept, output)
            return extreme
        return kept if how is Uncut.first else output.copy()

    def result(self) -> Tensors:
        """Return the outputs, as long as the input or longer by their rate."""
        import numpy as np

        whole: dict[str, Array] = {}
        for spec in self._outputs:
            if self._options.axis not in spec.axes:
                whole[spec.name] = self._sums.pop(spec.name)
                continue
            weights = self._weights[spec.name]
            if not weights.all():
                raise ValueError(f"no window covers {int((weights == 0).sum())} of `{spec.name}`")
            total = self._sums.pop(spec.name)  # in place: a whole song's stems exist only once
            if spec.is_float:
                total /= weights
            axis = spec.axis(self._options.axis)
            whole[spec.name] = np.moveaxis(total, -1, axis).astype(spec.dtype, copy=False)
        return whole


def _triangle(length: int, power: float) -> Array:
    """Return the weight of every sample of a window, 1 in the middle."""
    import numpy as np

    half = length // 2
    rising, falling = np.arange(1, half + 1), np.arange(length - half, 0, -1)
    weight = np.concatenate([rising, falling]) / (length - half)
    # demucs fails on its own assertion where a high power underflows to zero at the ends.
    return np.maximum(weight**power, 1e-30).astype(np.float32)


@hookimpl
def luthier_plugins() -> list[type[OverlapAdd]]:
    """Return the chunker plugin of this file."""
    return [OverlapAdd]
