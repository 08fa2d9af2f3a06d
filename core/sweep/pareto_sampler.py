"""Guesses which point that did not run is most likely on the front.

It works for a space that can be listed. The effects of a window's length and of a precision on a
figure mostly add up (times multiply, so their logarithms add up): a few points say much about the
rest. The guess is Thompson sampling (Thompson 1933) from a Gaussian process whose kernel is a sum
over the axes (Duvenaud et al. 2011, "Additive Gaussian Processes"): many draws of all figures each
have a front, and the point that is on it most often is taken. Optuna's own samplers have no such
kernel, and need more points for the same front.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy.typing as npt
    from numpy import bool_, float64

    from core.sweep.space import Dimension

__all__ = ["likeliest"]

#: Draws of all figures.
DRAWS = 256
#: Variances, if that of an axis is about 1: of effects that do not add up, and of measuring.
TOGETHER, NOISE = 0.02, 1e-4


def likeliest(
    dimensions: Sequence[Dimension],
    points: Sequence[Mapping[str, str]],
    seen: Mapping[int, Sequence[float]],
    out: Sequence[int],
    seed: int,
) -> int | None:
    """Return the index in `points` that is most likely on the front; None where all ran.

    `seen` holds the costs of the points that ran, by index: the lower the better, in steps as
    `core.sweep.pareto.cost` counts them. `out` are those that are no answer: they ran, measured or
    not, or are about to.
    """
    import numpy as np

    left = [index for index in range(len(points)) if index not in out]
    if not left:
        return None
    kernel = _kernel(dimensions, points)
    rows = list(seen)
    costs = np.array([seen[index] for index in rows], dtype=np.float64)
    middle, scale = costs.mean(axis=0), costs.std(axis=0) + 1e-9
    gain = kernel[:, rows] @ np.linalg.inv(kernel[np.ix_(rows, rows)] + NOISE * np.eye(len(rows)))
    spread = kernel - gain @ kernel[rows, :]
    # Rounding makes it slightly asymmetric, and its smallest eigenvalues negative.
    root = np.linalg.cholesky((spread + spread.T) / 2 + 1e-6 * np.eye(len(points)))
    source = np.random.default_rng([seed, len(rows)])
    noise = source.standard_normal((costs.shape[1], len(points), DRAWS))
    mean = gain @ ((costs - middle) / scale)
    draws = np.round(
        (mean.T[:, :, None] + root @ noise) * scale[:, None, None] + middle[:, None, None]
    )
    draws[:, rows, :] = costs.T[:, :, None]
    often = [int(_unbeaten(draws, index).sum()) for index in left]
    return left[int(np.argmax(often))]


def _unbeaten(draws: npt.NDArray[float64], index: int) -> npt.NDArray[bool_]:
    """Return, for each draw, whether no point beats the one at `index`."""
    import numpy as np

    one = draws[:, index : index + 1, :]
    beats = (draws <= one).all(axis=0) & (draws < one).any(axis=0)
    unbeaten: npt.NDArray[bool_] = np.logical_not(np.any(beats, axis=0))
    return unbeaten


def _kernel(
    dimensions: Sequence[Dimension], points: Sequence[Mapping[str, str]]
) -> npt.NDArray[float64]:
    """Return the prior covariance of every two points: a sum over the axes, and a little more."""
    import numpy as np

    total = np.ones((len(points), len(points)))
    together = np.full_like(total, TOGETHER)
    for dimension in dimensions:
        at = np.array([dimension.values.index(point[dimension.key]) for point in points], float)
        apart = at[:, None] - at[None, :]
        near = np.exp(-(apart**2) / 2) if dimension.ordered else (apart == 0).astype(float)
        if dimension.ordered:
            # Along an axis of numbers a figure mostly rises or falls from one end to the other.
            along = (at - at.mean()) / (at.std() + 1e-9)
            total += 0.7 * along[:, None] * along[None, :] + 0.5 * near
        else:
            total += near
        together *= near
    kernel: npt.NDArray[float64] = total + together
    return kernel
