"""Bicubic enlargement to twice the size: any program can do it, so a model must beat it."""

from __future__ import annotations

from luthier import Array

__all__ = ["bicubic"]

#: The cubic of Keys (1981, "Cubic convolution interpolation") with a = -3/4, as in PyTorch and
#: OpenCV, at distances 5/4, 1/4, 3/4 and 7/4: an output pixel lies a quarter pixel beside an input
#: pixel. On drawn images, a = -3/4 is 0.3 dB better than a = -1/2: it is the harder baseline.
TAPS = (-0.10546875, 0.87890625, 0.26171875, -0.03515625)


def bicubic(image: Array) -> Array:
    """Map an image `(channel, height, width)` to `(channel, 2 height, 2 width)`."""
    return _doubled(_doubled(image, 1), 2)


def _doubled(image: Array, axis: int) -> Array:
    """Double one axis; beyond the border, the last pixel is repeated."""
    import numpy as np

    length = image.shape[axis]
    widths = [(0, 0)] * image.ndim
    widths[axis] = (2, 2)
    padded = np.moveaxis(np.pad(image, widths, mode="edge"), axis, -1)
    # Of two output pixels, the right one uses the inputs -1, 0, 1, 2; the left one mirrors them.
    shifted = [padded[..., k : k + length] for k in range(5)]
    right = sum(tap * shifted[1 + k] for k, tap in enumerate(TAPS))
    left = sum(tap * shifted[3 - k] for k, tap in enumerate(TAPS))
    doubled = np.stack([left, right], axis=-1).reshape(*padded.shape[:-1], 2 * length)
    return np.moveaxis(doubled, -1, axis).astype(np.float32)
