"""The flow of an export to ONNX: example inputs, the exporter's own part, save, verify, facts."""

from __future__ import annotations

import tempfile
import warnings
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from core import Exporter, Library, Made, Notice, StageError, TorchModel, Work
from core.onnx_file import clear_notes, save
from plugins.exporter.graph_file.axes import free_axes
from plugins.exporter.graph_file.describe import describe
from plugins.exporter.graph_file.options import ExportOptions, ExternalData
from plugins.exporter.graph_file.verify import (
    arguments_of,
    torch_outputs,
    verify,
    verify_shorter,
)

if TYPE_CHECKING:
    import onnx
    import torch

    from core import ArtifactSpec
    from core.values import Tensors

__all__ = ["OnnxExporter"]


class OnnxExporter(Exporter[ExportOptions]):
    """What the exporters to ONNX share; each says how it traces in `trace`."""

    Options = ExportOptions
    libraries: ClassVar[tuple[Library, ...]] = (
        Library("torch", "pip install torch"),
        Library("onnx", "pip install onnx"),
        Library("onnxruntime", "pip install onnxruntime"),
    )

    @property
    def dynamic(self) -> bool:
        """Return whether the graph serves windows of any length."""
        return self.options.dynamic

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Map a torch module to an ONNX graph of the same precision."""
        return type(spec)("onnx", spec.precision)

    def run(self, model: TorchModel, feeds: Tensors, work: Work) -> Made:
        """Export `model.core` for `feeds` (one array with a batch axis of 1 per core input).

        Raises StageError when the module cannot be traced, or when the graph's outputs are
        further from PyTorch's than `tolerance_db`, at the length of `feeds` or, for a `dynamic`
        export, at half of it.
        """
        import onnx

        arguments = arguments_of(model, feeds)
        work.progress(0, 3, "tracing the module")
        # A model over 2 GB is traced into one file per tensor, so it gets a folder of its own.
        with tempfile.TemporaryDirectory(dir=work.folder) as scratch:
            file = Path(scratch) / "traced.onnx"
            try:
                # What the tracers warn about (their deprecation, shapes turned into constants)
                # is decided by the options or measured by `verify`; nobody can act on the text.
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self.trace(model, arguments, file)
            except Exception as error:
                raise self._untraceable(error) from error
            graph = onnx.load(str(file))
        clear_notes(graph, doc_strings=True)
        self._check_axes(graph)
        expected = torch_outputs(model, feeds)
        self._name_shapes(graph, model, expected)
        work.progress(1, 3, "writing the graph")
        path = work.folder / "model.onnx"
        save(graph, path, beside=self.options.external_data is ExternalData.always)
        facts = describe(graph)
        del graph
        if self.options.verify:
            work.progress(2, 3, "comparing the graph with PyTorch")
            facts["verify_snr_db"] = verify(path, expected, feeds, self.options.tolerance_db)
        notices: tuple[Notice, ...] = ()
        if self.options.verify and self.options.dynamic:
            shorter_db = verify_shorter(path, model, feeds, self.options.tolerance_db)
            if shorter_db is None:
                text = (
                    "the graph was compared with PyTorch at one length only: the module does "
                    "not take half the length of the example"
                )
                notices = (Notice("warning", text),)
            else:
                facts["verify_shorter_snr_db"] = shorter_db
        work.progress(3, 3)
        return Made(path, "onnx", "fp32", facts, notices)

    @abstractmethod
    def trace(self, model: TorchModel, arguments: tuple[torch.Tensor, ...], file: Path) -> None:
        """Write the ONNX graph of `model.core` to `file`, with the names of the signature."""

    def _untraceable(self, error: Exception) -> StageError:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return StageError(
            f"exporter `{self.name}` cannot export the model: {type(error).__name__}",
            lines[0][:200] if lines else "",
            "try the other exporter (exporter=onnx or exporter=onnx_dynamo)",
            "see the whole trace: hydra.verbose=true",
        )

    def _name_shapes(self, graph: onnx.ModelProto, model: TorchModel, expected: Tensors) -> None:
        """Write the lengths of the outputs, which a tracer leaves open after a computed reshape."""
        specs = model.info.signature.outputs
        for value in graph.graph.output:
            if self.options.dynamic and value.name not in {spec.name for spec in specs}:
                continue  # nobody says which of its axes are free
            free = free_axes(value.name, specs, None) if self.options.dynamic else {}
            axes = value.type.tensor_type.shape.dim
            for index, length in enumerate(expected[value.name].shape):
                if index not in free and index < len(axes):
                    axes[index].dim_value = length

    def _check_axes(self, graph: onnx.ModelProto) -> None:
        """Refuse a graph that was to have free axes and in which a tracer fixed them all."""
        if not self.options.dynamic:
            return
        free = any(d.dim_param for i in graph.graph.input for d in i.type.tensor_type.shape.dim)
        if not free:
            raise StageError(
                f"exporter `{self.name}` fixed every axis of the graph, though `dynamic` is true",
                "the module computes with the lengths of the example",
                "export for one length: exporter.dynamic=false",
            )
