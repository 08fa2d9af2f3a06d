"""A model's signature, and songs on disk, for the tests of the datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from core import Signature, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LABELS = ("drums", "bass", "other", "vocals")


@pytest.fixture
def separation() -> Callable[..., Signature]:
    """Give a function that makes a model's signature, with names that no dataset knows."""

    def make(rate: float = 44100.0, labels: tuple[str, ...] = LABELS) -> Signature:
        rates = {"time": rate}
        return Signature(
            (TensorSpec("song", ("channel", "time"), (2, "time"), rates=rates),),
            (
                TensorSpec(
                    "parts",
                    ("stem", "channel", "time"),
                    (len(labels), 2, "time"),
                    rates=rates,
                    labels={"stem": labels},
                ),
            ),
        )

    return make


@pytest.fixture
def write() -> Callable[..., Path]:
    """Give a function that writes quiet stereo noise to a file."""

    def noise(file: Path, seed: int = 0, frames: int = 2000, rate: int = 44100) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        samples = 0.1 * np.random.default_rng(seed).standard_normal((frames, 2))
        soundfile.write(file, samples.astype(np.float32), rate)
        return file

    return noise
