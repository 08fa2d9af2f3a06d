"""The data to learn from: windows of calibration data, and the float graph's outputs for them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from core import Calibration, Progress, StageError
from plugins.quantizer._windows import finite
from plugins.quantizer._windows.held import HELD_BACK, held_windows

if TYPE_CHECKING:
    from plugins.quantizer._qat.network import Network

__all__ = ["Lessons", "energies"]

#: A score so large that FP32 does not hold its square means "not this one".
MASKED = 2.0**64
#: A channel this much weaker than the loudest one, in energy, is silent: 120 dB.
SILENT = 1e-12
#: The least energy that counts, relative to the mean: 200 dB down.
LEAST = 1e-20


def energies(tensors: Mapping[str, Tensor]) -> Tensor:
    """Return the energy of the outputs per channel, of shape (channels,).

    Channels lie along the second axis, where stems do. Outputs that agree in their number are
    taken together, since they are parts of one result (a waveform and a spectrogram, say); where
    they do not, each output is one channel.
    """
    channels = {tensor.shape[1] if tensor.dim() > 2 else 0 for tensor in tensors.values()}  # noqa: PLR2004
    if len(channels) == 1 and 0 not in channels:
        parts = [t.square().sum([i for i in range(t.dim()) if i != 1]) for t in tensors.values()]
        return torch.stack(parts).sum(0)
    return torch.stack([tensor.square().sum() for tensor in tensors.values()])


def _comparable(
    actual: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the errors and the expected values of the float outputs; 0 where these are masked.

    Whole numbers and truth values have no gradient; a masked score (infinity, or the least number
    of FP32) has no error.
    """
    errors, values = {}, {}
    for name, tensor in expected.items():
        if actual[name].shape != tensor.shape:
            raise StageError(
                f"the size of output `{name}` depends on values, so its error is not defined",
                f"in float: {'×'.join(map(str, tensor.shape))}, "
                f"rounded: {'×'.join(map(str, actual[name].shape))}",
                "quantise without learning: quantizer=qdq",
            )
        if tensor.is_floating_point():
            heard = tensor.abs() < MASKED
            zero = torch.zeros((), dtype=tensor.dtype)
            # Chosen before the subtraction: infinity minus infinity has no gradient.
            values[name] = torch.where(heard, tensor, zero)
            errors[name] = torch.where(heard, actual[name], zero) - values[name]
    return errors, values


class Lessons:
    """Windows with the outputs of the float graph, kept in files: memory does not grow with them.

    `learned` are the indices to learn from, `held_back` those to judge by; a single window is
    both. `energy` is the mean energy per channel of the outputs; a channel that is silent in all
    windows has that of the loudest one, so that its noise is not taken for a large one. Raises
    StageError for a graph that gives no floats, or nothing but zeros.
    """

    def __init__(
        self, teacher: Network, calibration: Calibration, folder: Path, progress: Progress
    ) -> None:
        self._folder = folder
        self._names: dict[str, list[str]] = {}
        total = torch.zeros((), dtype=torch.float64)
        count = 0
        with torch.no_grad():
            for count, feeds in enumerate(finite(calibration), 1):
                outputs = teacher.run({n: torch.from_numpy(a.copy()) for n, a in feeds.items()})
                if not any(tensor.is_floating_point() for tensor in outputs.values()):
                    raise _unlearnable("gives no floats", outputs)
                _, values = _comparable(outputs, outputs)
                total = total + energies({n: tensor.double() for n, tensor in values.items()})
                self._write(count - 1, "in", feeds)
                self._write(count - 1, "out", {n: t.numpy() for n, t in outputs.items()})
                progress(count, calibration.count, "running the float graph")
        mean = total / count
        loudest = float(mean.max())
        if not 0 < loudest < math.inf:
            what = "gives nothing but zeros" if loudest == 0 else "computes NaN"
            raise _unlearnable(f"{what} for the calibration data", outputs)
        self.heard = mean > loudest * SILENT
        self.energy = torch.where(self.heard, mean, loudest)
        held = held_windows(calibration, max(1, calibration.count // HELD_BACK))
        self.held_back = [index for index in held if index < count] or [0]
        self.learned = [i for i in range(count) if i not in self.held_back] or [0]

    def read(self, index: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the inputs of a window and the outputs that the float graph gave for it."""
        return self._load(index, "in"), self._load(index, "out")

    def error(self, network: Network, index: int) -> Tensor:
        """Return the energy of the network's error per channel, over that of the mean window."""
        feeds, expected = self.read(index)
        difference, _ = _comparable(network.run(feeds), expected)
        # Divided before it is squared: squares of 1e-20 are zeros in FP32.
        size = self.energy.max().sqrt()
        scaled = {name: tensor / size for name, tensor in difference.items()}
        return energies(scaled) * (size.square() / self.energy)

    def snr_db(self, network: Network) -> float:
        """Return the mean over the channels of the SNR on the windows that were held back.

        Channels that are silent in all windows have none.
        """
        noise = signal = torch.zeros((), dtype=torch.float64)
        with torch.no_grad():
            for index in self.held_back:
                noise = noise + self.error(network, index)
                _, expected = self.read(index)
                _, values = _comparable(expected, expected)
                signal = signal + energies({n: t.double() for n, t in values.items()})
        ratio = (signal / self.energy).clamp_min(LEAST) / noise.clamp_min(LEAST)
        return float(10 * torch.log10(ratio[self.heard]).mean())

    def _write(self, index: int, part: str, arrays: Mapping[str, np.ndarray]) -> None:
        # By position, since a tensor may have a name that no file in an archive can have.
        self._names[part] = list(arrays)
        np.savez(self._folder / f"{index}.{part}.npz", *arrays.values())

    def _load(self, index: int, part: str) -> dict[str, Tensor]:
        with np.load(self._folder / f"{index}.{part}.npz") as file:
            tensors = [torch.from_numpy(file[f"arr_{n}"]) for n in range(len(file.files))]
        return dict(zip(self._names[part], tensors, strict=True))


def _unlearnable(what: str, outputs: Iterable[str]) -> StageError:
    return StageError(
        f"there is nothing to learn from: the float graph {what}",
        f"outputs: {', '.join(outputs)}",
        "quantise without learning: quantizer=qdq",
    )
