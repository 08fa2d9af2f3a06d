"""Small networks with the difficult parts of real ones, and handmade artifacts, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from core import (
    Artifact,
    ModelInfo,
    Signature,
    StageContext,
    StageResult,
    Tensors,
    TensorSpec,
    TorchModel,
)
from core.plugin.progress import silent
from core.store.hashing import folder_digest

SAMPLES = 512


class Separator(nn.Module):
    """`mix (1, 2, time)` to `stems (1, 2, 2, time)`: strided conv, group norm, GELU, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv1d(2, 16, 8, 4, 2)
        self.norm = nn.GroupNorm(1, 16)
        self.mix = nn.Conv1d(16, 32, 1)
        self.up = nn.ConvTranspose1d(16, 4, 8, 4, 2)

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        """Separate."""
        hidden = nn.functional.gelu(self.norm(self.down(mix)))
        out = self.up(nn.functional.glu(self.mix(hidden), dim=1))
        return out.view(1, 2, 2, -1)


class Normed(nn.Module):
    """Convolutions, each before a batch norm and a ReLU, and a linear layer: all of them fuse."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv1d(2, 16, 8, 4, 2, bias=False)
        self.first = nn.BatchNorm1d(16)
        self.wide = nn.Conv2d(16, 16, (3, 1), padding=(1, 0))
        self.second = nn.BatchNorm2d(16)
        self.mix = nn.Linear(16, 16)
        self.up = nn.ConvTranspose1d(16, 4, 8, 4, 2)
        self.last = nn.BatchNorm1d(4)
        for norm in (self.first, self.second, self.last):
            nn.init.normal_(norm.weight, 1, 0.2)
            nn.init.normal_(norm.bias)
            norm.running_mean = torch.randn(norm.num_features)
            norm.running_var = torch.rand(norm.num_features) + 0.5

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        """Return `stems (1, 2, 2, time)`."""
        hidden = torch.relu(self.first(self.down(mix)))
        hidden = torch.relu(self.second(self.wide(hidden[..., None])))[..., 0]
        hidden = self.mix(hidden.transpose(1, 2)).transpose(1, 2)
        return self.last(self.up(hidden)).view(1, 2, 2, -1)


class Hybrid(nn.Module):
    """Two inputs, two outputs: a waveform, and a spectrogram with self-attention."""

    def __init__(self) -> None:
        super().__init__()
        self.wave = nn.Conv1d(2, 4, 3, padding=1)
        self.spec = nn.Conv2d(4, 8, 3, padding=1)
        self.query = nn.Linear(8, 8)

    def forward(self, mix: torch.Tensor, mag: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `time_out (1, 4, time)` and `spec_out (1, bins * frames, 8)`."""
        tokens = self.spec(mag).flatten(2).transpose(1, 2)
        weights = torch.softmax(self.query(tokens) @ tokens.transpose(1, 2), dim=-1)
        return torch.tanh(self.wave(mix)), weights @ tokens


def separator() -> TorchModel:
    """Open a separator with fixed random weights."""
    torch.manual_seed(0)
    signature = Signature(
        (TensorSpec("mix", ("channel", "time"), (2, "time")),),
        (TensorSpec("stems", ("stem", "channel", "time"), (2, 2, "time")),),
    )
    return _opened(Separator(), ModelInfo(signature, ("mix",), ("stems",)))


def normed() -> TorchModel:
    """Open a separator with batch norms, with fixed random weights and statistics."""
    torch.manual_seed(2)
    return _opened(Normed(), separator().info)


def hybrid() -> TorchModel:
    """Open a two-input network with fixed random weights."""
    torch.manual_seed(1)
    signature = Signature(
        (TensorSpec("mix", ("channel", "time"), (2, "time")),),
        (TensorSpec("time_out", ("channel", "time"), (4, "time")),),
    )
    return _opened(Hybrid(), ModelInfo(signature, ("mix", "mag"), ("time_out", "spec_out")))


def _opened(core: nn.Module, info: ModelInfo) -> TorchModel:
    def reference(inputs: Tensors) -> Tensors:
        raise NotImplementedError("no test of a converter asks for the whole model")

    return TorchModel(info, core.eval(), reference)


def feeds(model: TorchModel, seed: int = 0, samples: int = SAMPLES) -> Tensors:
    """Return random inputs of unit variance for the core of `model`, with a batch axis."""
    noise = np.random.default_rng(seed)
    shapes = {"mix": (1, 2, samples), "mag": (1, 4, 6, 5)}
    return {
        name: noise.standard_normal(shapes[name]).astype(np.float32)
        for name in model.info.core_inputs
    }


def outputs(model: TorchModel, given: Tensors) -> Tensors:
    """Return PyTorch's outputs."""
    with torch.no_grad():
        out = model.core(*(torch.from_numpy(given[name]) for name in model.info.core_inputs))
    tensors = (out,) if isinstance(out, torch.Tensor) else out
    return {n: t.numpy() for n, t in zip(model.info.core_outputs, tensors, strict=True)}


def work_in(folder: Path) -> StageContext:
    """Make an empty work folder."""
    folder.mkdir(parents=True)
    return StageContext(folder, silent())


def artifact(made: StageResult, info: ModelInfo) -> Artifact:
    """Describe a stage's result, as the core does."""
    folder = made.path.parent
    files = [file for file in folder.rglob("*") if file.is_file()]
    return Artifact(
        str(folder),
        str(made.path),
        made.format,
        made.precision,
        folder_digest(folder),
        sum(file.stat().st_size for file in files),
        model=info,
        facts=made.facts,
    )


def exported(model: TorchModel, folder: Path, **options: object) -> Artifact:
    """Export `model` with the plugin `onnx`."""
    from plugins.exporter.onnx import Onnx

    made = Onnx(Onnx.Options(**options)).run(model, feeds(model), work_in(folder))
    return artifact(made, model.info)


def program(model: TorchModel, folder: Path, **options: object) -> Artifact:
    """Export `model` with the plugin `torch_export`."""
    from plugins.exporter.torch_export import TorchExport

    made = TorchExport(TorchExport.Options(**options)).run(model, feeds(model), work_in(folder))
    return artifact(made, model.info)


def played_by_torch(made: Artifact, given: Tensors, **options: object) -> Tensors:
    """Run a torch program with the runtime `torch`."""
    from plugins.runtime.torch import TorchRuntime

    runtime = TorchRuntime(TorchRuntime.Options(**options))

    def no_model() -> TorchModel:
        raise AssertionError("a torch program is played without the torch module")

    with runtime.open(made, no_model, StageContext(Path(made.folder), silent())) as session:
        return session.run(given)


def torch_artifact(model: TorchModel, folder: Path) -> Artifact:
    """Return a stand-in for the result of `Model.fetch`; the runtime `torch` reads none of it."""
    work = work_in(folder)
    file = work.folder / "weights.safetensors"
    file.write_bytes(b"")
    return artifact(StageResult(file, "torch", "fp32"), model.info)


def played(made: Artifact, given: Tensors) -> Tensors:
    """Run an ONNX artifact with the runtime `onnxruntime`."""
    from plugins.runtime.onnxruntime import OnnxRuntime

    runtime = OnnxRuntime(OnnxRuntime.Options(threads=1))

    def no_model() -> TorchModel:
        raise AssertionError("an ONNX graph is played without the torch module")

    with runtime.open(made, no_model, StageContext(Path(made.folder), silent())) as session:
        return session.run(given)
