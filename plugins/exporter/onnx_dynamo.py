"""Exports to ONNX through `torch.export` (dynamo), which reads the module's Python code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core import Requirement, TorchModel, hookimpl
from plugins.exporter._onnx import OnnxExporter, free_axes

if TYPE_CHECKING:
    from pathlib import Path

    import torch


class OnnxDynamo(OnnxExporter):
    """Exports to ONNX through torch.export; ONNX Runtime cannot quantise every such graph."""

    name = "onnx_dynamo"
    libraries = (*OnnxExporter.libraries, Requirement("onnxscript", "pip install onnxscript"))

    def trace(self, model: TorchModel, arguments: tuple[torch.Tensor, ...], file: Path) -> None:
        """Export `model.core`; raises where the code branches on the values of a tensor."""
        import torch

        info, shapes = model.info, None
        if self.options.dynamic:
            shapes = tuple(
                dict.fromkeys(
                    free_axes(name, info.signature.inputs, tensor.dim()), torch.export.Dim.DYNAMIC
                )
                for name, tensor in zip(info.core_inputs, arguments, strict=True)
            )
        torch.onnx.export(
            model.core,
            arguments,
            file,
            input_names=list(info.core_inputs),
            output_names=list(info.core_outputs),
            opset_version=self.options.opset,
            dynamic_shapes=shapes,
            dynamo=True,
            verbose=False,
        )


@hookimpl
def luthier_plugins() -> list[type[OnnxDynamo]]:
    """Return the plugin of this file."""
    return [OnnxDynamo]
