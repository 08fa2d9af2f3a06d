"""Overlapping windows, joined with triangular weights: `demucs.apply.apply_model`.

The formulas are those of `apply_model(split=True, shifts=0)` and `TensorChunk.padded` of demucs
4.1.0, so that a song that is cut here sounds as it does in demucs.
"""

from __future__ import annotations

import math
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

__all__ = ["OverlapAdd"]

#: Most samples of a window: 1 GB per channel, and 100 minutes at 44.1 kHz.
LONGEST = 2**28
#: The highest overlap: it computes every sample a hundred times.
HIGHEST = 0.99
#: Leaves the length to the model.
MODEL = "model"
#: Most windows of one input. Each is a call of the model.
MOST = 1_000_000


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

    def __post_init__(self) -> None:
        """Raise ValueError for windows that cannot cover an input."""
        if isinstance(self.length, str) and self.length != MODEL:
            if not self.length.isdecimal():
                raise ValueError(
                    f"`length` is `{self.length}`: give a number of samples, or {MODEL}"
                )
            self.length = int(self.length)
        if self.length != MODEL and not 1 <= self.samples <= LONGEST:
            raise ValueError(f"`length` is {self.length}: a window holds 1 to {LONGEST:,} samples")
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
        if isinstance(self.length, str):
            raise ValueError(f"`length` is `{self.length}`, but no model gave its length")  # noqa: TRY004  # not a wrong type
        return self.length

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
        if options.axis not in window:
            raise InputError(
                "`chunker.length=model` takes the length of the windows that the model was "
                f"trained on, but the model gives no length along `{options.axis}`",
                "give a number of samples: chunker.length=44100",
                "(a model's plugin gives this length in `plan`: "
                f'ModelSpec(..., train_window={{"{options.axis}": 44100}}))',
            )
        return OverlapAdd(replace(options, length=window[options.axis]))

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
        import numpy as np

        axis, length = self.options.axis, self.options.samples
        first = window.start[axis] - _before(window, axis, length)
        pieces = dict(inputs)
        for spec in signature.inputs:
            if axis not in spec.axes:
                continue
            array, at = inputs[spec.name], spec.axis(axis)
            total = array.shape[at]
            inside = range(max(0, first), min(total, first + length))
            widths = [(0, 0)] * array.ndim
            widths[at] = (inside.start - first, first + length - inside.stop)
            index = (slice(None),) * at + (slice(inside.start, inside.stop),)
            pieces[spec.name] = np.pad(array[index], widths)
        return pieces

    def resized(self, window: Mapping[str, int]) -> OverlapAdd:
        """Return a chunker with windows as long as `window` says for this axis."""
        length = window.get(self.options.axis)
        return self if length is None else OverlapAdd(replace(self.options, length=length))

    def joiner(self, lengths: Mapping[str, int], signature: Signature) -> Joiner:
        """Return a joiner for outputs that have the axis, at the input's rate or a multiple.

        Integers and booleans have no mean: each is taken from the window in whose middle it lies
        most.
        """
        axis = self.options.axis
        without = [spec.name for spec in signature.outputs if axis not in spec.axes]
        if without:
            raise StageError(
                f"chunker `overlap_add` cannot join `{without[0]}`, which has no axis `{axis}`",
                "give such inputs whole, to a graph of any length: chunker=whole "
                "exporter.dynamic=true",
                "or to the module itself: chunker=whole exporter=none graph=[] precision=fp32 "
                "runtime=torch",
            )
        return _OverlapAddJoiner(self.options, lengths[axis], signature.outputs)

    def ships(self, info: ModelInfo) -> BundlePart:
        """Return the numbers of the cut and the fade, and the code that does both."""
        from plugins.chunker._on_device import OVERLAP_ADD, last_axis, sources

        options = self.options
        facts = {**asdict(options), "stride": options.stride, **OVERLAP_ADD}
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

    def add(self, window: Window, outputs: Tensors) -> None:
        """Weigh and add one window, whose outputs are `length` long, or longer by their rate."""
        import numpy as np

        axis, length = self._options.axis, self._options.samples
        for spec in self._outputs:
            name = spec.name
            output = np.moveaxis(outputs[name], spec.axis(axis), -1)
            scaled = output.shape[-1]
            if name not in self._sums:
                total = _scaled(self._total, scaled, length)
                kept = "float32" if spec.dtype == "float16" else spec.dtype
                self._sums[name] = np.zeros((*output.shape[:-1], total), kept)
                self._weights[name] = np.zeros(total, np.float32)
            start, stop = (_scaled(p[axis], scaled, length) for p in (window.start, window.stop))
            # demucs weighs a short piece with the start of the triangle, wherever it lay.
            weight = _triangle(scaled, self._options.power)[: stop - start]
            skip = min(
                _scaled(_before(window, axis, length), scaled, length), scaled - (stop - start)
            )
            piece = output[..., skip : skip + stop - start]
            sums, weights = self._sums[name][..., start:stop], self._weights[name][start:stop]
            if spec.is_float:
                sums += weight * piece
                weights += weight
            else:
                nearer = weight > weights
                sums[..., nearer] = piece[..., nearer]
                weights[nearer] = weight[nearer]

    def result(self) -> Tensors:
        """Return the outputs, as long as the input or longer by their rate."""
        import numpy as np

        whole: dict[str, Array] = {}
        for spec in self._outputs:
            weights = self._weights[spec.name]
            if not weights.all():
                raise ValueError(f"no window covers {int((weights == 0).sum())} of `{spec.name}`")
            total = self._sums.pop(spec.name)  # in place: a whole song's stems exist only once
            if spec.is_float:
                total /= weights
            axis = spec.axis(self._options.axis)
            whole[spec.name] = np.moveaxis(total, -1, axis).astype(spec.dtype, copy=False)
        return whole


def _scaled(position: int, scaled: int, length: int) -> int:
    """Return a position of the input on the output's scale, rounded half up in whole numbers."""
    return (2 * position * scaled + length) // (2 * length)


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
