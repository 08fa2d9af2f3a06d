"""Fits sound to a model's input: its sample rate, its channels, the order of its stems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from core import Array, InputError, Notice, Signature, Tensors, TensorSpec
from plugins.dataset._audio.resampling import resample

if TYPE_CHECKING:
    from plugins.dataset._audio.reading import Sound

__all__ = ["fit", "rate_of", "references", "stem_labels"]


def rate_of(spec: TensorSpec) -> float | None:
    """Return the sample rate along `time`, where the model has one."""
    return spec.rates.get("time")


def fit(sound: Sound, spec: TensorSpec, name: str) -> tuple[Array, tuple[Notice, ...]]:
    """Return samples (channel, time) as `spec` takes them, and what was done to the sound.

    Raises InputError for more channels than can be fitted without guessing.
    """
    samples, notices = _channels(sound.samples, spec, name)
    rate = rate_of(spec)
    if rate is not None and round(rate) != sound.rate:
        samples = resample(samples, sound.rate, round(rate))
        notices += (
            Notice("info", f"`{name}` was resampled from {sound.rate} to {round(rate)} Hz"),
        )
    return samples, notices


def _channels(samples: Array, spec: TensorSpec, name: str) -> tuple[Array, tuple[Notice, ...]]:
    import numpy as np

    given, wanted = samples.shape[0], spec.shape[spec.axis("channel")]
    if isinstance(wanted, str) or given == wanted:
        return samples, ()
    if given == 1:
        copies = np.repeat(samples, wanted, axis=0)
        return copies, (Notice("info", f"`{name}` is mono: every channel gets the same samples"),)
    if (given, wanted) == (2, 1):
        mono = samples.mean(axis=0, keepdims=True, dtype=np.float32)
        return mono, (Notice("info", f"`{name}` is stereo: the mean of both channels is used"),)
    raise InputError(
        f"`{name}` has {given} channels, but the model takes {wanted}",
        "possible: mono and stereo; a file does not reliably tell the order of more channels",
        f"mix it down first: ffmpeg -i {name} -ac {wanted} mixed.wav",
    )


def stem_labels(spec: TensorSpec) -> tuple[str, tuple[str, ...]]:
    """Return the axis that holds the stems and their names; ("", ()) where there is none."""
    return next(iter(spec.labels.items()), ("", ()))


def references(stems: Mapping[str, Array], signature: Signature) -> Tensors:
    """Return the true outputs (stem, channel, time) in the model's order of stems.

    Empty where a stem of the model is unknown: a six-stem model and four true stems, say.
    """
    import numpy as np

    spec = signature.outputs[0]
    axis, labels = stem_labels(spec)
    if not labels or not set(labels) <= set(stems):
        return {}
    return {spec.name: np.stack([stems[label] for label in labels], axis=spec.axis(axis))}
