"""Which axes of a core's tensors a window cuts."""

from __future__ import annotations

from core import TensorSpec

__all__ = ["free_axes"]


def free_axes(name: str, specs: tuple[TensorSpec, ...], rank: int | None) -> dict[int, str]:
    """Return the axes of one core tensor that a window cuts, with a name for each.

    The signature declares the axes of its tensors: an axis of any length has a string for its
    length, and the batch axis comes first. Nothing is declared for a tensor that the dsp makes (a
    spectrogram); time runs along its last axis. `rank` counts the batch axis; None where it is
    not known, for an output.
    """
    for spec in specs:
        if spec.name == name:
            return {
                index + 1: f"{name}_{axis}"
                for index, (axis, length) in enumerate(zip(spec.axes, spec.shape, strict=True))
                if isinstance(length, str)
            }
    return {} if rank is None else {rank - 1: f"{name}_last"}
