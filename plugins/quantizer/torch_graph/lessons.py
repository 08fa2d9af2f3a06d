"""What is learned from: windows of calibration data, and what the float graph makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from core import Calibration, Progress
from plugins.quantizer.windows import finite
from plugins.quantizer.windows.held import HELD_BACK, held_windows

if TYPE_CHECKING:
    from plugins.quantizer.torch_graph.network import Network

__all__ = ["Lessons", "energies"]


def energies(tensors: dict[str, Tensor]) -> Tensor:
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


class Lessons:
    """Windows with the outputs of the float graph, kept in files: memory does not grow with them.

    `learned` are the indices to learn from, `held_back` those to judge by; a single window is
    both. `energy` is the mean energy per channel of the outputs.
    """

    def __init__(
        self, teacher: Network, calibration: Calibration, folder: Path, progress: Progress
    ) -> None:
        self._folder = folder
        self._names: dict[str, list[str]] = {}
        total = torch.zeros(())
        count = 0
        with torch.no_grad():
            for count, feeds in enumerate(finite(calibration), 1):
                outputs = teacher.run({n: torch.from_numpy(a) for n, a in feeds.items()})
                total = total + energies(outputs)
                self._write(count - 1, "in", feeds)
                self._write(count - 1, "out", {n: t.numpy() for n, t in outputs.items()})
                progress(count, calibration.count, "listening to the float graph")
        self.energy = (total / count).clamp_min(1e-20)
        held = held_windows(calibration, max(1, calibration.count // HELD_BACK))
        self.held_back = [index for index in held if index < count] or [0]
        self.learned = [i for i in range(count) if i not in self.held_back] or [0]

    def read(self, index: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return what goes into the graph and what should come out of it."""
        return self._load(index, "in"), self._load(index, "out")

    def error(self, network: Network, index: int) -> Tensor:
        """Return the energy of the network's error per channel, over that of the mean window."""
        feeds, expected = self.read(index)
        outputs = network.run(feeds)
        difference = {name: outputs[name] - expected[name] for name in expected}
        return energies(difference) / self.energy

    def snr_db(self, network: Network) -> float:
        """Return the mean over the channels of the SNR on the windows that were held back."""
        with torch.no_grad():
            noise = sum((self.error(network, i) for i in self.held_back), torch.zeros(()))
            signal = sum((energies(self.read(i)[1]) for i in self.held_back), torch.zeros(()))
        ratio = (signal / self.energy).clamp_min(1e-20) / noise.clamp_min(1e-20)
        return float(10 * torch.log10(ratio).mean())

    def _write(self, index: int, part: str, arrays: Mapping[str, np.ndarray]) -> None:
        # By position, since a tensor may have a name that no file in an archive can have.
        self._names[part] = list(arrays)
        np.savez(self._folder / f"{index}.{part}.npz", *arrays.values())

    def _load(self, index: int, part: str) -> dict[str, Tensor]:
        with np.load(self._folder / f"{index}.{part}.npz") as file:
            tensors = [torch.from_numpy(file[f"arr_{n}"]) for n in range(len(file.files))]
        return dict(zip(self._names[part], tensors, strict=True))
