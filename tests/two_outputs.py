"""A small torch module with a loud output and a quiet one, as a model and a dataset of noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core import (
    Artifact,
    Dataset,
    Item,
    Model,
    ModelInfo,
    ModelSpec,
    NoOptions,
    SavedFile,
    Signature,
    Split,
    StageContext,
    StageResult,
    TensorSpec,
    TorchModel,
    hookimpl,
)

if TYPE_CHECKING:
    from torch import nn

CHANNELS, LENGTH = 8, 256


def _spec(name: str, channels: int) -> TensorSpec:
    return TensorSpec(name, ("channel", "place"), (channels, "place"))


SIGNATURE = Signature((_spec("x", CHANNELS),), (_spec("y0", CHANNELS // 2), _spec("y1", 4)))


class Parted(Model[NoOptions]):
    """One convolution whose channels are two outputs; the second is a thousandth of the first.

    With 8 bits, one range for the whole tensor leaves no step for the second output.
    """

    name = "parted"

    def plan(self) -> ModelSpec:
        """Return the axes: channels of places."""
        return ModelSpec(("channel", "place"))

    def identity(self) -> str:
        """Return a constant."""
        return "parted"

    def fetch(self, work: StageContext) -> StageResult:
        """Write a file without weights: the weights come from a seed."""
        file = work.folder / "seed.txt"
        file.write_text("0")
        info = ModelInfo(SIGNATURE, ("x",), ("y0", "y1"), weights="from a seed")
        return StageResult(file, "torch", "fp32", model=info)

    def open(self, artifact: Artifact, window: Mapping[str, int]) -> TorchModel:
        """Build the module."""
        import torch

        network = _network()

        def reference(inputs: Mapping[str, Any]) -> dict[str, Any]:
            with torch.no_grad():
                outputs = network(torch.from_numpy(inputs["x"])[None])
            return {f"y{n}": output[0].numpy() for n, output in enumerate(outputs)}

        return TorchModel(artifact.info, network, reference)


def _network() -> nn.Module:
    import torch
    from torch import nn

    class Network(nn.Module):
        """A convolution with two outputs."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a = nn.Conv1d(CHANNELS, CHANNELS, 3, padding=1)
            self.a.weight.data[4:] *= 1e-3
            assert self.a.bias is not None
            self.a.bias.data[4:] *= 1e-3

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            y = self.a(x)
            return y[:, :4], y[:, 4:]

    return Network().eval()


class Noise(Dataset[NoOptions]):
    """Normally distributed numbers: two items to evaluate on, 24 to calibrate on."""

    name = "noise"
    axes = ("channel", "place")

    def identity(self, split: Split) -> tuple[str, ...]:
        """Return one id per seed."""
        seeds = range(2) if split == "evaluation" else range(100, 124)
        return tuple(f"noise {seed}" for seed in seeds)

    def items(self, split: Split, signature: Signature) -> Iterator[Item]:
        """Draw the numbers."""
        for name in self.identity(split):
            source = np.random.default_rng(int(name.split()[-1]))
            drawn = source.standard_normal((CHANNELS, LENGTH)).astype(np.float32)
            yield Item(name, name, {"x": drawn})

    def save(
        self, item: Item, outputs: Mapping[str, Any], signature: Signature, folder: Path
    ) -> Sequence[SavedFile]:
        """Write the outputs."""
        np.savez(folder / f"{item.name}.npz", **outputs)
        return [SavedFile(f"{item.name}.npz", "outputs", item.name)]


@hookimpl
def luthier_plugins() -> list[type[Any]]:
    """Add the two plugins."""
    return [Parted, Noise]
