"""One window played through what ships, for the self-test of a bundle.

The window is noise with the spectrum of a window of the run's data. So it has the levels and the
frequencies that a quantiser was calibrated for, and a bundle that is passed on holds no piece of
anybody's data. Integers and truth values are those of the data: only then are they sure to be
valid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.formats.tensors import contiguous, load, under
from core.inference.context import RunContext
from core.inference.player import opened
from core.inference.windows import Opened
from core.plugin.stages import StageContext
from core.plugin.values import Artifact, ModelInfo, Signature

if TYPE_CHECKING:
    from core.plugin.values import Array, Tensors

__all__ = ["LARGEST", "GoldenWindow", "cycled", "golden_window"]

#: Most values of a tensor of floats that are kept; a longer one repeats them. 0.8 MB of float32.
LARGEST = 200_000
#: Relative size of the change that shows how steady the result is: a few last digits of float32,
#: as much as the sums of another processor differ by.
LAST_DIGITS = 1e-6


@dataclass(frozen=True)
class GoldenWindow:
    """A window and its results, and how near each is where only last digits of the window differ.

    `inputs` have the names of the signature. `stages` has the tensors of every stage by its name:
    `forward` (the dsp: the core's inputs, and what it remembers), `model` (the core's outputs),
    `outputs` (those of the signature), and `inverse`, the outputs of the inverse dsp alone, where
    the core's outputs are replaced by the window's own values, repeated. `again` has the same
    tensors of the window with other last digits.
    """

    inputs: Tensors
    stages: dict[str, Tensors]
    again: dict[str, Tensors]


def golden_window(
    context: RunContext, played: Artifact, model: Artifact, sample: Artifact, work: StageContext
) -> GoldenWindow | None:
    """Play one window through `played`, and once more with other last digits.

    Return None where a machine elsewhere would have to play it, or no finite numbers come out.
    """
    import numpy as np

    info = model.info
    # What a chunker cuts has the right length already.
    lengths = {} if context.pipeline.chunker.window() else info.train_window
    inputs = _noise(_loudest(sample, info.signature), info.signature, lengths)
    with opened(context, played, model, work) as player:
        if not player.opened.session.here:
            return None
        stages = _stages(player.opened, inputs, info)
        again = _stages(player.opened, _nudged(inputs), info)
    every = [array for tensors in stages.values() for array in tensors.values()]
    finite = all(np.isfinite(array).all() for array in every if array.dtype.kind == "f")
    return GoldenWindow(inputs, stages, again) if finite else None


def cycled(values: Array, shape: tuple[int, ...]) -> Array:
    """Return a tensor that is filled with `values`, in order, as often as it takes."""
    import numpy as np

    return np.resize(values.ravel(), shape)


def _stages(player: Opened, inputs: Tensors, info: ModelInfo) -> dict[str, Tensors]:
    core, remembered = player.transform.forward(inputs)
    core = contiguous(core)
    made = player.session.run(core)
    first = inputs[info.signature.inputs[0].name]
    others = {name: cycled(first, a.shape).astype(a.dtype) for name, a in made.items()}
    return {
        "forward": {**core, **remembered},
        "model": made,
        "outputs": player.transform.inverse(made, remembered),
        "inverse": player.transform.inverse(others, remembered),
    }


def _loudest(sample: Artifact, signature: Signature) -> Tensors:
    """Return the sampled window with the most power: silence would test nothing."""
    import numpy as np

    tensors = load(Path(sample.path))
    floats = [spec.name for spec in signature.inputs if spec.is_float]

    def power(number: int) -> float:
        piece = under(tensors, f"{number}/in/")
        return sum(float(np.mean(np.square(piece[n], dtype=np.float64))) for n in floats)

    return under(tensors, f"{max(range(int(sample.number('windows'))), key=power)}/in/")


def _noise(window: Tensors, signature: Signature, lengths: Mapping[str, int]) -> Tensors:
    """Return noise in the place of every tensor of floats; free axes are cut to `lengths`."""
    made = {}
    for spec in signature.inputs:
        free = [lengths.get(axis) if axis in spec.free else None for axis in spec.axes]
        array = window[spec.name][tuple(slice(length) for length in free)]
        if spec.is_float and array.ndim and array.size:
            short = _surrogate(array).ravel()[:LARGEST]
            array = cycled(short, array.shape).astype(array.dtype)
        made[spec.name] = array
    return made


def _surrogate(array: Array) -> Array:
    """Return noise with the spectrum of `array` along its last axis, and within its bounds.

    Theiler and others 1992, "Testing for nonlinearity in time series: the method of surrogate
    data": the phases of the spectrum are replaced by random ones.
    """
    import numpy as np

    spectrum = np.fft.rfft(array.astype(np.float64), axis=-1)
    random = np.random.default_rng(0).uniform(-np.pi, np.pi, spectrum.shape)
    random[..., 0] = np.angle(spectrum[..., 0])  # the mean stays
    noise = np.fft.irfft(np.abs(spectrum) * np.exp(1j * random), array.shape[-1], axis=-1)
    return np.clip(noise, array.min(), array.max()).astype(array.dtype)


def _nudged(inputs: Tensors) -> Tensors:
    """Return the inputs, with other last digits in all floats."""
    import numpy as np

    random = np.random.default_rng(1)
    return {
        name: (array * (1 + LAST_DIGITS * random.standard_normal(array.shape))).astype(array.dtype)
        if array.dtype.kind == "f"
        else array
        for name, array in inputs.items()
    }
