"""Draws images: gradients, discs, rings, boxes, stripes and strokes, from a random generator.

Every image is `(3, height, width)`, float32, in the sRGB values 0 to 1 that a PNG stores / 255.
Shapes are signed distances in pixels (negative inside), so that their edges are anti-aliased.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

__all__ = ["draw", "halved", "quantised"]

SHAPES = ("disc", "ring", "box", "stroke")


def draw(size: int, random: np.random.Generator) -> Array:
    """Return one square image of `size` pixels."""
    y, x = (np.mgrid[:size, :size] + 0.5).astype(np.float32)
    image = _gradient(x, y, size, random)
    for _ in range(random.integers(8, 16)):
        inside = np.clip(0.5 - _distance(x, y, size, random), 0, 1)
        image += inside * (_fill(x, y, random) - image)
    return quantised(image)


def halved(image: Array) -> Array:
    """Return the image at half its size: the mean of every 2 x 2 pixels."""
    channels, height, width = image.shape
    blocks = image.reshape(channels, height // 2, 2, width // 2, 2)
    return quantised(blocks.mean(axis=(2, 4)))


def quantised(image: Array) -> Array:
    """Return the image with the 256 values per channel that a file can hold."""
    return (np.round(np.clip(image, 0, 1) * 255) / 255).astype(np.float32)


def _gradient(x: Array, y: Array, size: int, random: np.random.Generator) -> Array:
    angle = random.uniform(0, 2 * np.pi)
    along = 0.5 + ((x - size / 2) * np.cos(angle) + (y - size / 2) * np.sin(angle)) / (1.5 * size)
    return _mixed(_colour(random), _colour(random), np.clip(along, 0, 1))


def _fill(x: Array, y: Array, random: np.random.Generator) -> Array:
    """Return one colour, or stripes of two colours."""
    colour = _colour(random)
    if random.random() < 0.7:
        return colour
    angle, period = random.uniform(0, np.pi), random.uniform(5, 16)
    wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period)
    # The slope of the wave where it crosses zero makes the border of a stripe one pixel wide.
    return _mixed(colour, _colour(random), np.clip(0.5 + wave * period / (2 * np.pi), 0, 1))


def _mixed(first: Array, second: Array, share: Array) -> Array:
    mixed: Array = (first + share * (second - first)).astype(np.float32)
    return mixed


def _distance(x: Array, y: Array, size: int, random: np.random.Generator) -> Array:
    """Return the signed distance of every pixel to the border of one random shape."""
    shape = SHAPES[random.integers(len(SHAPES))]
    right, down = x - random.uniform(0, size), y - random.uniform(0, size)
    angle = random.uniform(0, np.pi)
    along = right * np.cos(angle) + down * np.sin(angle)
    across = down * np.cos(angle) - right * np.sin(angle)
    radius = random.uniform(size / 24, size / 4)
    distance: Array
    if shape == "disc":
        distance = np.hypot(right, down) - radius
    elif shape == "ring":
        distance = np.abs(np.hypot(right, down) - radius) - random.uniform(0.7, 3)
    elif shape == "box":
        half = radius * random.uniform(0.2, 1)
        distance = np.maximum(np.abs(along) - radius, np.abs(across) - half)
    else:
        past = along - np.clip(along, -radius, radius)
        distance = np.hypot(past, across) - random.uniform(0.7, 2.5)
    return distance


def _colour(random: np.random.Generator) -> Array:
    return random.random((3, 1, 1)).astype(np.float32)
