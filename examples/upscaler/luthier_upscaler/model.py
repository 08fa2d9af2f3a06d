"""A small network that doubles the size of an image, with its weights in the package."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from core.store.hashing import file_digest
from luthier import (
    Artifact,
    Model,
    ModelInfo,
    ModelSpec,
    NoOptions,
    Requirement,
    Signature,
    StageContext,
    StageResult,
    Tensors,
    TensorSpec,
    TorchModel,
)

if TYPE_CHECKING:
    from luthier_upscaler.network import Upscaler

__all__ = ["SIGNATURE", "UpscalerModel"]

WEIGHTS = Path(__file__).parent / "weights" / "upscaler.safetensors"
AXES = ("channel", "height", "width")
SIGNATURE = Signature(
    (TensorSpec("image", AXES, (3, "height", "width")),),
    (TensorSpec("upscaled", AXES, (3, "2*height", "2*width")),),
)


class UpscalerModel(Model[NoOptions]):
    """Doubles height and width of an image, with a small convolutional network."""

    name = "upscaler"
    libraries = (
        Requirement("torch", "pip install torch"),
        Requirement("safetensors", "pip install safetensors"),
    )

    def plan(self) -> ModelSpec:
        """Return the axes of the input: an image without a transform."""
        return ModelSpec(AXES)

    def identity(self) -> str:
        """Return the hash of the weights."""
        return f"file:{file_digest(WEIGHTS)}"

    def fetch(self, work: StageContext) -> StageResult:
        """Copy the weights out of the package."""
        target = work.folder / WEIGHTS.name
        shutil.copyfile(WEIGHTS, target)
        info = ModelInfo(
            signature=SIGNATURE,
            core_inputs=("image",),
            core_outputs=("upscaled",),
            train_window={"height": 32, "width": 32},
            parameters=sum(p.numel() for p in _network(target).parameters()),
            weights="luthier-upscaler, trained on drawn shapes",
            licence="Apache-2.0",
        )
        return StageResult(target, "torch", "fp32", {"parameters": info.parameters}, model=info)

    def open(self, artifact: Artifact, window: Mapping[str, int]) -> TorchModel:  # takes any size
        """Build the network; it takes images of any size, so the window does not matter."""
        import torch

        network = _network(Path(artifact.path))

        def reference(inputs: Tensors) -> Tensors:
            with torch.no_grad():
                return {"upscaled": network(torch.from_numpy(inputs["image"])[None])[0].numpy()}

        return TorchModel(artifact.info, network, reference)


def _network(weights: Path) -> Upscaler:
    from safetensors.torch import load_file

    from luthier_upscaler.network import Upscaler

    network = Upscaler()
    network.load_state_dict(load_file(weights))
    return network.eval()
