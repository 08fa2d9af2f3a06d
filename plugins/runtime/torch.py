"""Plays the torch module itself on this machine's CPU, in FP32."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core import (
    Library,
    ModelInfo,
    Runtime,
    Session,
    Shipped,
    StageError,
    TorchModel,
    Work,
    hookimpl,
)

if TYPE_CHECKING:
    from core import Artifact
    from core.values import Tensors


@dataclass
class TorchOptions:
    """The options of the runtime `torch`."""

    threads: int = 0
    """Threads that one operator may use; 0 leaves PyTorch its default."""

    def __post_init__(self) -> None:
        """Raise ValueError for a negative number of threads."""
        if self.threads < 0:
            raise ValueError(f"`threads` cannot be {self.threads}; 0 means PyTorch's default")


class TorchSession(Session):
    """The core of an opened model."""

    def __init__(self, model: TorchModel, threads: int) -> None:
        import torch

        self.model = model
        self.device = f"CPU (PyTorch {torch.__version__.partition('+')[0]}, {platform.machine()})"
        # The number of threads belongs to the process, so what was there is put back.
        self._before = torch.get_num_threads()
        if threads:
            torch.set_num_threads(threads)
        model.core.eval()

    def run(self, feeds: Tensors) -> Tensors:
        """Run the core on the inputs of its signature, each with its batch axis."""
        import torch

        info = self.model.info
        missing = [name for name in info.core_inputs if name not in feeds]
        if missing:
            raise StageError(
                f"the model's core needs the input `{missing[0]}`, which the dsp does not give",
                f"the dsp gives: {', '.join(feeds) or 'nothing'}",
            )
        with torch.no_grad():
            out = self.model.core(*(torch.from_numpy(feeds[name]) for name in info.core_inputs))
        tensors = (out,) if isinstance(out, torch.Tensor) else out
        return {n: t.numpy() for n, t in zip(info.core_outputs, tensors, strict=True)}

    def close(self) -> None:
        """Give the process its number of threads back."""
        import torch

        torch.set_num_threads(self._before)


class TorchRuntime(Runtime[TorchOptions]):
    """Plays the torch module on the CPU in FP32: the yardstick, and the way without an export."""

    name = "torch"
    accepts = frozenset({"torch"})
    precisions = frozenset({"fp32"})
    Options = TorchOptions
    libraries = (Library("torch", "pip install torch"),)

    def open(
        self,
        artifact: Artifact,  # the model has been opened from it
        model: Callable[[], TorchModel],
        work: Work,
    ) -> Session:
        """Open the torch module."""
        work.progress(0, 0, "opening the torch module")
        return TorchSession(model(), self.options.threads)

    def ships(self, info: ModelInfo) -> Shipped:
        """Return the lines that read the weights; the module itself is the model's own code."""
        python = (
            "import json\nfrom safetensors.torch import load_file\n\n"
            'metadata = json.load(open("metadata.json"))\n'
            'weights = load_file(metadata["model"]["file"])\n'
            "module.load_state_dict(weights)\n"
        )
        return Shipped(lines={"python": python})


@hookimpl
def luthier_plugins() -> list[type[TorchRuntime]]:
    """Return the plugin of this file."""
    return [TorchRuntime]
