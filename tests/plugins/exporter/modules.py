"""Modules for tests: they change in each call, or no graph can hold them."""

from __future__ import annotations

import random
import threading

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from core import Exporter, ModelInfo, Signature, TensorSpec, TorchModel
from plugins.exporter.onnx import Onnx
from plugins.exporter.onnx_dynamo import OnnxDynamo
from plugins.exporter.torch_export import TorchExport

EXPORTERS: list[type[Exporter]] = [Onnx, OnnxDynamo, TorchExport]
FEEDS = {"x": np.random.default_rng(0).standard_normal((1, 8, 64)).astype(np.float32)}


def opened(core: nn.Module, *outputs: str) -> TorchModel:
    """Return a model of `x (8, 64)` as a plugin might open it, in training mode."""
    spec = TensorSpec("x", ("channel", "time"), (8, 64))
    info = ModelInfo(Signature((spec,), ()), ("x",), outputs or ("y",))
    return TorchModel(info, core.train(), lambda inputs: inputs)


class Counting(nn.Module):
    """Counts its calls in a buffer and multiplies by the count."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(8, 8, 3, padding=1)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Count."""
        self.calls += 1
        return self.first(x) * self.calls


class CountingInPython(nn.Module):
    """Counts its calls in an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Identity()
        self.inner.calls = 0  # type: ignore[assignment]  # an attribute that is no module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Count."""
        self.inner.calls += 1  # type: ignore[operator,assignment]
        return x * self.inner.calls


class Locked(Counting):
    """Holds an object that Python cannot copy."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class Streaming(nn.Module):
    """Keeps the end of its last input."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(8, 8, 3)
        self.register_buffer("last", torch.zeros(1, 8, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Put the end of the last input before the input."""
        whole = torch.cat([self.last, x], -1)
        self.last = x[..., -2:].detach()
        return self.first(whole)


class Learning(nn.Module):
    """Changes its weights without a change of the version that PyTorch counts."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Change the weights."""
        self.layer.weight.data += 0.01
        return self.layer(x)


class Dropping(nn.Module):
    """Drops values, also in inference."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drop."""
        return functional.dropout(x, 0.3)


class Rolling(nn.Module):
    """Multiplies by a random number from Python."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the input times a random number."""
        return x * random.random()  # noqa: S311  # no secret


class Noting(nn.Module):
    """Counts its calls; no output depends on the count."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Count."""
        self.calls += 1
        return x * 2


class Training(nn.Module):
    """Has layers that differ in training: dropout and batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = nn.BatchNorm1d(8), nn.Dropout(0.5)
        self.norm.running_mean = torch.arange(8.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise."""
        return self.drop(self.norm(x))


class Caching(nn.Module):
    """Keeps a table for the last length; the table is the same each time."""

    def __init__(self) -> None:
        super().__init__()
        self.table: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Look the table up, or make it."""
        if self.table is None or self.table.shape[-1] != x.shape[-1]:
            self.table = torch.linspace(0, 1, x.shape[-1])
        return x + self.table


class Overwriting(nn.Module):
    """Writes to its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Double the input in place."""
        x *= 2
        return x + 1


class Named(nn.Module):
    """Returns a dict whose order differs from the listed names."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return two outputs."""
        return {"z": x * 3, "y": x.abs()}


class Masking(nn.Module):
    """Returns infinities, as a logarithm or a mask does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mask negative values."""
        return torch.where(x > 0, x, torch.tensor(float("-inf")))


class Branching(nn.Module):
    """Branches on a value."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the input, or twice the input."""
        if x.sum() > 0:
            return x * 2
        return x


class Inner(nn.Module):
    """Holds a module with an operator that ONNX lacks."""

    def __init__(self) -> None:
        super().__init__()
        self.rare = Rare()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the module."""
        return self.rare(x * 2)


class Rare(nn.Module):
    """Uses an operator that ONNX lacks."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute a Bessel function."""
        return torch.special.modified_bessel_i0(x)


class Failing(nn.Module):
    """Fails in every call."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Fail."""
        raise RuntimeError(f"no kernel for {x.ndim} axes\nsecond line")


class Spectral(nn.Module):
    """Takes the spectrum of every channel, in complex numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the parts of the spectrum, `(1, channel, bin, frame, part)`."""
        window = torch.ones(16)
        made = torch.stft(x[0], 16, window=window, center=False, return_complex=True)
        return torch.view_as_real(made)[None]
