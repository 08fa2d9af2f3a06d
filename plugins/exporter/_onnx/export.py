"""The flow of an export to ONNX: example inputs, the exporter's own part, save, verify, facts."""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from core import (
    ArtifactSpec,
    Exporter,
    Notice,
    Requirement,
    StageContext,
    StageError,
    StageResult,
    Tensors,
    TorchModel,
)
from core.formats.onnx_graph import clear_notes, save
from plugins.exporter._onnx.axes import free_axes
from plugins.exporter._onnx.describe import describe
from plugins.exporter._onnx.options import ExportOptions, ExternalData
from plugins.exporter._onnx.verify import (
    ONNX_RUNTIME,
    check_same,
    opened,
    verify_others,
    verify_shorter,
)
from plugins.exporter._torch_module import (
    Heard,
    arguments_of,
    expected_of,
    fresh,
    heard,
    one_length,
    untraceable,
)

if TYPE_CHECKING:
    import onnx
    import torch


__all__ = ["OnnxExporter"]


class OnnxExporter(Exporter[ExportOptions]):
    """Base of the exporters to ONNX; each one defines its tracing in `trace`."""

    Options = ExportOptions
    libraries: ClassVar[tuple[Requirement, ...]] = (
        Requirement("torch", "pip install torch"),
        Requirement("onnx", "pip install onnx"),
        Requirement("onnxruntime", "pip install onnxruntime"),
    )

    @property
    def dynamic(self) -> bool:
        """Return whether the graph serves windows of any length."""
        return self.options.dynamic

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Map a torch module to an ONNX graph of the same precision."""
        return type(spec)("onnx", spec.precision)

    def run(self, model: TorchModel, feeds: Tensors, work: StageContext) -> StageResult:
        """Export `model.core` for `feeds` (one array with a batch axis of 1 per core input).

        Raises StageError when the module cannot be traced or gives another output each time; or
        when the graph's outputs are further from PyTorch's than `tolerance_db`: for `feeds`, for
        other values, or, for a `dynamic` export, at half of the length.
        """
        tolerance_db = self.options.tolerance_db if self.options.verify else None
        work.progress(0, 3, "running the module")
        expected = expected_of(self.name, model, feeds, tolerance_db)
        work.progress(0, 3, "tracing the module")
        graph, said = self._traced(expected.model, feeds, work)
        clear_notes(graph, doc_strings=True)
        self._check_axes(graph, model)
        self._name_shapes(graph, model, expected.outputs)
        work.progress(1, 3, "writing the graph")
        path = work.folder / "model.onnx"
        save(graph, path, beside=self.options.external_data is ExternalData.always)
        facts = describe(graph)
        del graph
        notices = expected.notices
        if tolerance_db is not None:
            work.progress(2, 3, "comparing the graph with PyTorch")
            play = opened(path)
            facts["verify_snr_db"] = check_same(
                expected.outputs, play(feeds), ONNX_RUNTIME, tolerance_db
            )
            others_db = verify_others(
                play, model, feeds, ONNX_RUNTIME, tolerance_db, said.constants
            )
            if others_db is not None:
                facts["verify_others_snr_db"] = others_db
        if tolerance_db is not None and self.options.dynamic:
            shorter_db = verify_shorter(path, model, feeds, tolerance_db)
            if shorter_db is None:
                text = (
                    "the graph was compared with PyTorch at one length only: the module does "
                    "not take half the length of the example"
                )
                notices = (*notices, Notice("warning", text))
            else:
                facts["verify_shorter_snr_db"] = shorter_db
        work.progress(3, 3)
        return StageResult(path, "onnx", "fp32", facts, notices)

    def _traced(
        self, model: TorchModel, feeds: Tensors, work: StageContext
    ) -> tuple[onnx.ModelProto, Heard]:
        """Return the graph of a copy of the module, which tracing may change, and the messages."""
        import onnx

        # A model over 2 GB is traced into one file per tensor, so it gets a folder of its own.
        with tempfile.TemporaryDirectory(dir=work.folder) as scratch, fresh(model) as copied:
            file, said = Path(scratch) / "traced.onnx", Heard()
            try:
                with heard() as said:
                    self.trace(copied, arguments_of(model, feeds), file)
            except Exception as error:
                raise untraceable(self.name, model.info, error, said.graph) from error
            return onnx.load(str(file)), said

    @abstractmethod
    def trace(self, model: TorchModel, arguments: tuple[torch.Tensor, ...], file: Path) -> None:
        """Write the ONNX graph of `model.core` to `file`, with the names of the signature."""

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

    def _check_axes(self, graph: onnx.ModelProto, model: TorchModel) -> None:
        """Refuse a graph whose axes should be free when the tracer fixed all of them."""
        specs = model.info.signature.inputs
        wanted = any(
            free_axes(value.name, specs, len(value.type.tensor_type.shape.dim))
            for value in graph.graph.input
        )
        if not self.options.dynamic or not wanted:
            return
        free = any(d.dim_param for i in graph.graph.input for d in i.type.tensor_type.shape.dim)
        if not free:
            raise StageError(
                f"exporter `{self.name}` fixed every axis of the graph, though `dynamic` is true",
                "the module computes with the lengths of the example",
                one_length(model.info),
            )
