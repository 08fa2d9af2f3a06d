"""Tiles of an image: they overlap on all sides, and are blended where they overlap."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from luthier import (
    Array,
    BundlePart,
    Chunker,
    Joiner,
    ModelInfo,
    Signature,
    StageError,
    Tensors,
    Window,
)

__all__ = ["Tiles", "TilesOptions"]

#: The longest side of a tile in pixels, and the most tiles. Each tile is a call of the model.
LARGEST, MOST = 16_384, 1_000_000


@dataclass
class TilesOptions:
    """The size of the tiles, and their overlap."""

    height: int = 64
    """Height of a tile in pixels of the input."""
    width: int = 64
    """Width of a tile in pixels of the input."""
    overlap: int = 16
    """How many pixels two neighbours share; at least twice what the model sees around a pixel
    makes seams vanish."""

    def __post_init__(self) -> None:
        """Raise ValueError for tiles that cannot cover an image."""
        for name, size in (("height", self.height), ("width", self.width)):
            if not 1 <= size <= LARGEST:
                raise ValueError(f"`{name}` is {size}: a tile has 1 to {LARGEST:,} pixels")
            if not 0 <= self.overlap < size:
                raise ValueError(
                    f"`overlap` is {self.overlap}: give 0 or more, and less than `{name}` ({size})"
                )


class Tiles(Chunker[TilesOptions]):
    """Cuts an image into overlapping tiles and blends them, at the output's own scale."""

    name = "tiles"
    Options = TilesOptions

    def window(self) -> Mapping[str, int]:
        """Return height and width of a tile."""
        return {"height": self.options.height, "width": self.options.width}

    def split(self, lengths: Mapping[str, int]) -> Sequence[Window]:
        """Return the tiles row by row; the last of a row or column is moved back into the image."""
        sizes = self.window()
        starts = [_starts(lengths[axis], sizes[axis], self.options.overlap) for axis in sizes]
        if (count := math.prod(map(len, starts))) > MOST:
            raise StageError(
                f"chunker `tiles` would cut the image into {count:,} tiles",
                f"possible: up to {MOST:,}",
                "take larger tiles, or less overlap: chunker.height=64 chunker.overlap=16",
            )
        windows = []
        for index, corner in enumerate(itertools.product(*starts)):
            start = dict(zip(sizes, corner, strict=True))
            stop = {axis: min(start[axis] + sizes[axis], lengths[axis]) for axis in sizes}
            windows.append(Window(index, start, stop))
        return windows

    def cut(self, inputs: Tensors, window: Window, signature: Signature) -> Tensors:
        """Return one tile; a tile that the image does not fill is padded with its last pixels."""
        import numpy as np

        pieces = dict(inputs)
        for spec in signature.inputs:
            array = inputs[spec.name]
            for axis, size in self.window().items():
                at = spec.axis(axis)
                array = array[(slice(None),) * at + (slice(window.start[axis], window.stop[axis]),)]
                widths = [(0, 0)] * array.ndim
                widths[at] = (0, size - array.shape[at])
                array = np.pad(array, widths, mode="edge")
            pieces[spec.name] = array
        return pieces

    def sampler(self) -> Tiles:
        """Return a chunker whose tiles lie side by side."""
        return Tiles(replace(self.options, overlap=0))

    def resized(self, window: Mapping[str, int]) -> Tiles:
        """Return a chunker with tiles of the size `window`; small tiles overlap by less."""
        sizes = {**self.window(), **window}
        height, width = sizes["height"], sizes["width"]
        overlap = min(self.options.overlap, height // 4, width // 4)
        return Tiles(replace(self.options, height=height, width=width, overlap=overlap))

    def joiner(self, lengths: Mapping[str, int], signature: Signature) -> Joiner:
        """Return a joiner for outputs with height and width, at the input's size or a multiple."""
        return _Blend(self.window(), self.options.overlap, lengths, signature)

    def ships(self, info: ModelInfo) -> BundlePart:
        """Return the options of the tiles, and the code that cuts and blends on a device."""
        specs = (*info.signature.inputs, *info.signature.outputs)
        fits = all(spec.axes[-2:] == ("height", "width") for spec in specs) and len(specs) == 2  # noqa: PLR2004  # one in, one out
        file = Path(__file__).parent / "on_device" / "python" / "join.py"
        return BundlePart(asdict(self.options), {"python/join.py": file} if fits else {})


def _starts(total: int, size: int, overlap: int) -> list[int]:
    """Return the starts of tiles of `size`, so that the last tile ends with the image."""
    last = max(0, total - size)
    return [*range(0, last, size - overlap), last]


class _Blend(Joiner):
    """Adds weighted tiles in the order they come, and divides by the sum of the weights."""

    def __init__(
        self,
        sizes: Mapping[str, int],
        overlap: int,
        lengths: Mapping[str, int],
        signature: Signature,
    ) -> None:
        self._sizes = sizes
        self._overlap = overlap
        self._lengths = lengths
        self._specs = signature.outputs
        self._sums: dict[str, Array] = {}
        self._weights: dict[str, Array] = {}

    def add(self, window: Window, outputs: Tensors) -> None:
        """Weight and add one tile, whose outputs have the size of a tile or a multiple of it."""
        import numpy as np

        for spec in self._specs:
            name, tile = spec.name, outputs[spec.name]
            weight = np.ones((), np.float32)
            place: list[slice] = [slice(None)] * tile.ndim
            valid: list[slice] = [slice(None)] * tile.ndim
            shape = list(tile.shape)
            for axis, size in self._sizes.items():
                at = spec.axis(axis)
                scale, rest = divmod(tile.shape[at], size)
                if rest or not scale:
                    raise StageError(
                        f"chunker `tiles` cannot join `{name}`: along {axis}, a tile of {size} "
                        f"pixels becomes {tile.shape[at]}",
                        "it joins outputs that have the tile's size or a multiple of it",
                    )
                start, stop = scale * window.start[axis], scale * window.stop[axis]
                place[at], valid[at] = slice(start, stop), slice(stop - start)
                shape[at] = scale * self._lengths[axis]
                ramp = _ramp(stop - start, scale * self._overlap)
                weight = weight * ramp.reshape([-1 if i == at else 1 for i in range(tile.ndim)])
            if name not in self._sums:
                self._sums[name] = np.zeros(shape, np.float32)
                plane = [
                    n if a in self._sizes else 1 for a, n in zip(spec.axes, shape, strict=True)
                ]
                self._weights[name] = np.zeros(plane, np.float32)
            self._sums[name][tuple(place)] += weight * tile[tuple(valid)]
            self._weights[name][tuple(place)] += weight

    def result(self) -> Tensors:
        """Return the whole images."""
        return {name: total / self._weights[name] for name, total in self._sums.items()}


def _ramp(length: int, overlap: int) -> Array:
    """Return weights that rise from both ends over `overlap` pixels to 1, and are never 0."""
    import numpy as np

    inside = np.minimum(np.arange(length), np.arange(length)[::-1]) + 0.5
    return np.minimum(1, inside / max(overlap, 0.5)).astype(np.float32)
