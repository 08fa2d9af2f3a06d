"""A very cheap model of waveforms, so that a song of three minutes is played quickly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from core import (
    Artifact,
    Model,
    ModelInfo,
    ModelSpec,
    NoOptions,
    Signature,
    StageContext,
    StageResult,
    TensorSpec,
    TorchModel,
    hookimpl,
)

RATES = {"time": 44100.0}
SIGNATURE = Signature(
    (TensorSpec("mix", ("channel", "time"), (2, "time"), rates=RATES),),
    (
        TensorSpec(
            "stems", ("stem", "channel", "time"), (1, 2, "time"), rates=RATES,
            labels={"stem": ("swapped",)},
        ),
    ),
)  # fmt: skip


class Swap(torch.nn.Module):
    """`mix (1, 2, time)` to `stems (1, 1, 2, time)`: the two channels change places."""

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        """Swap the channels."""
        return mix.flip(1).unsqueeze(1)


class Swapped(Model[NoOptions]):
    """Swaps the two channels."""

    name = "swapped"

    def plan(self) -> ModelSpec:
        """Return the axes of sound."""
        return ModelSpec(("channel", "time"))

    def identity(self) -> str:
        """Return a constant."""
        return "swapped"

    def fetch(self, work: StageContext) -> StageResult:
        """Write a file, because a model must have one."""
        file = work.folder / "weights.txt"
        file.write_text("none")
        info = ModelInfo(SIGNATURE, ("mix",), ("stems",), train_window={"time": 44100})
        return StageResult(file, "torch", "fp32", model=info)

    def open(self, artifact: Artifact, window: Mapping[str, int]) -> TorchModel:
        """Return the module."""
        assert Path(artifact.path).is_file()
        return TorchModel(
            artifact.info, Swap().eval(), lambda inputs: {"stems": inputs["mix"][None, ::-1].copy()}
        )


@hookimpl
def luthier_plugins() -> list[type[Swapped]]:
    """Add the model."""
    return [Swapped]
