"""Exports to ONNX by running the module once and recording it (TorchScript tracing)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from core import TorchModel, hookimpl
from plugins.exporter._onnx import ExportOptions, OnnxExporter, free_axes

if TYPE_CHECKING:
    from pathlib import Path

    import torch


@dataclass
class OnnxOptions(ExportOptions):
    """The options of the TorchScript-based exporter."""

    #: torch 2.13 froze this exporter at opset 20.
    opsets: ClassVar[range] = range(13, 21)


class Onnx(OnnxExporter):
    """Exports to ONNX with the TorchScript-based exporter, whose graphs quantise well."""

    name = "onnx"
    Options = OnnxOptions

    def trace(self, model: TorchModel, arguments: tuple[torch.Tensor, ...], file: Path) -> None:
        """Trace `model.core`; branches and loops become those that the example takes."""
        import torch

        info, axes = model.info, {}
        if self.options.dynamic:
            for name, tensor in zip(info.core_inputs, arguments, strict=True):
                axes[name] = free_axes(name, info.signature.inputs, tensor.dim())
            for name in info.core_outputs:
                axes[name] = free_axes(name, info.signature.outputs, None)
        torch.onnx.export(
            model.core,
            arguments,
            file,
            input_names=list(info.core_inputs),
            output_names=list(info.core_outputs),
            opset_version=self.options.opset,
            dynamic_axes=axes or None,
            dynamo=False,
        )


@hookimpl
def luthier_plugins() -> list[type[Onnx]]:
    """Return the plugin of this file."""
    return [Onnx]
