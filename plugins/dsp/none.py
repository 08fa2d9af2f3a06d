"""No signal processing: the core takes the inputs as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core import Dsp, ModelInfo, NoOptions, StageError, Tensors, Transform, hookimpl

__all__ = ["Nothing"]


class Nothing(Dsp[NoOptions]):
    """Adds the batch axis that the core expects, and drops it again."""

    name = "none"

    def bind(self, info: ModelInfo) -> Transform:
        """Return the transform; the core's tensors are those of the signature, in order."""
        signature = info.signature
        given = tuple(spec.name for spec in signature.inputs)
        wanted = tuple(spec.name for spec in signature.outputs)
        for core, own in ((info.core_inputs, given), (info.core_outputs, wanted)):
            if len(core) != len(own):
                raise StageError(
                    f"dsp `none` passes tensors on unchanged, but the model has {len(own)} "
                    f"({', '.join(own)}) and its core has {len(core)} ({', '.join(core)})",
                    "choose the dsp that the model was made for: dsp=...",
                )
        return _BoundNothing(
            dict(zip(given, info.core_inputs, strict=True)),
            dict(zip(info.core_outputs, wanted, strict=True)),
        )


@dataclass(frozen=True)
class _BoundNothing(Transform):
    """The names of the signature's inputs to the core's, and of the core's outputs back."""

    inputs: dict[str, str]
    outputs: dict[str, str]

    def forward(self, window: Tensors) -> tuple[Tensors, Tensors]:
        """Add a batch axis of 1 in front of every input."""
        return {core: window[name][None] for name, core in self.inputs.items()}, {}

    def inverse(self, outputs: Tensors, remembered: Tensors) -> Tensors:
        """Drop the batch axis of every output."""
        return {name: outputs[core][0] for core, name in self.outputs.items()}

    def graphs(self, window: Mapping[str, int], folder: Path) -> Mapping[str, Path]:
        """Return nothing: a device adds the batch axis by itself."""
        return {}


@hookimpl
def luthier_plugins() -> list[type[Nothing]]:
    """Return the dsp plugin of this file."""
    return [Nothing]
