"""Converts an ONNX graph to 16-bit floating point, with FP32 at its inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from core import ArtifactSpec, Calibration, Fact, Library, Made, Notice, Quantizer, Work, hookimpl
from plugins.quantizer.onnx_graph import cleaned, inferred, nodes_matching, operators, save

if TYPE_CHECKING:
    import onnx

    from core import Artifact

#: What overflows 65,504, or loses a small variance, when it is computed in FP16. Reported for
#: HTDemucs by several projects; every one of them sums or squares.
KEPT = (
    "Softmax", "Pow", "ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL2", "ReduceLogSumExp",
    "InstanceNormalization", "GroupNormalization", "LayerNormalization",
)
LARGEST = 65504.0


@dataclass
class Fp16Options:
    """The options of the conversion to FP16."""

    keep_float32: list[str] = field(default_factory=lambda: list(KEPT))
    """What stays in FP32: operators, or patterns of node names. Squares, `x * x`, stay with them
    when `Pow` is named. An NPU that has no FP32 (HTP) computes these in FP16 all the same."""


class Fp16(Quantizer[Fp16Options]):
    """Converts weights and arithmetic to FP16, except where sums and squares overflow."""

    name = "fp16"
    Options = Fp16Options
    libraries = (
        Library("onnxruntime", "pip install onnxruntime"),
        Library("onnx", "pip install onnx"),
    )

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Map a float graph to one of 16 bits."""
        return ArtifactSpec(spec.format, "fp16")

    def run(
        self,
        artifact: Artifact,
        calibration: Calibration,  # noqa: ARG002  # a float type needs none
        work: Work,
    ) -> Made:
        """Convert the graph; its inputs and outputs stay FP32, so a host feeds it as before."""
        work.progress(0, 2, "reading the graph")
        model = cleaned(inferred(Path(artifact.path)))
        clipped = _too_large(model)
        kept = nodes_matching(model, self.options.keep_float32, "keep_float32")
        if "Pow" in self.options.keep_float32:
            kept += _squares(model)
        work.progress(1, 2, "converting to FP16")
        model = _converted(model, kept)
        facts = _facts(model)
        path = work.folder / "model.onnx"
        save(model, path)
        work.progress(2, 2)
        notices = (Notice(
            "warning", f"{clipped} weight(s) beyond ±{LARGEST:,.0f} were clipped to it by FP16"
        ),) if clipped else ()
        return Made(path, "onnx", "fp16", facts, notices)


def _converted(model: onnx.ModelProto, kept: list[str]) -> onnx.ModelProto:
    """Convert all but the nodes `kept`, and let values pass between those without leaving FP32."""
    import sys

    from onnxruntime.quantization.onnx_model import ONNXModel

    before = list(sys.path)
    from onnxruntime.transformers.float16 import convert_float_to_float16

    # Importing `onnxruntime.transformers` puts its own folder, with a `models` and a `metrics`,
    # on the path of this process.
    sys.path[:] = before
    model = convert_float_to_float16(
        model, keep_io_types=True, disable_shape_infer=True, op_block_list=[], node_block_list=kept
    )
    _bypass(model)
    wrapped = ONNXModel(model)
    wrapped.topological_sort()  # the converter appends its casts at the end
    converted: onnx.ModelProto = wrapped.model
    return converted


def _bypass(model: onnx.ModelProto) -> None:
    """Take out every cast to FP16 and back: there a square would overflow before it is averaged."""
    from onnx import TensorProto

    graph = model.graph
    narrowed, widened = _casts(graph, TensorProto.FLOAT16), _casts(graph, TensorProto.FLOAT)
    ends = {value.name for value in (*graph.input, *graph.output)}
    instead: dict[str, str] = {}
    for wide, narrow in widened.items():
        source = narrowed.get(narrow)
        if source is not None and wide not in ends:
            instead[wide] = source
    for wide, narrow in widened.items():
        source = narrowed.get(narrow)
        # An output of the graph keeps its name, so what computes it takes that name.
        if source is not None and wide in ends and source not in {*ends, *instead}:
            instead[source] = wide

    def name_of(name: str) -> str:
        source = instead.get(name, name)
        return instead.get(source, source)

    gone = {wide for wide, narrow in widened.items() if name_of(narrowed.get(narrow, "")) ==
            name_of(wide)}
    _remove_casts(graph, gone)
    for node in graph.node:
        node.input[:] = [name_of(name) for name in node.input]
        node.output[:] = [name_of(name) for name in node.output]
    used = ends | {name for node in graph.node for name in node.input}
    _remove_casts(graph, set(narrowed) - used)


def _casts(graph: onnx.GraphProto, to: int) -> dict[str, str]:
    """Return the output and the input of every cast to the type `to`."""
    return {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type == "Cast" and any(a.name == "to" and a.i == to for a in node.attribute)
    }


def _remove_casts(graph: onnx.GraphProto, outputs: set[str]) -> None:
    """Remove the casts that make `outputs`."""
    for node in [n for n in graph.node if n.op_type == "Cast" and n.output[0] in outputs]:
        graph.node.remove(node)


def _squares(model: onnx.ModelProto) -> list[str]:
    """Return the nodes that multiply a tensor with itself."""
    return [n.name for n in model.graph.node if n.op_type == "Mul" and n.input[0] == n.input[1]]


def _too_large(model: onnx.ModelProto) -> int:
    """Count the weights that FP16 cannot hold."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    return sum(
        int(np.count_nonzero(np.abs(numpy_helper.to_array(tensor)) > LARGEST))
        for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT
    )


def _facts(model: onnx.ModelProto) -> dict[str, Fact]:
    """Count the nodes that give FP16 and those that give FP32, without the casts between them."""
    from onnx import TensorProto

    types = {v.name: v.type.tensor_type.elem_type
             for v in (*model.graph.value_info, *model.graph.output)}
    given = [types.get(n.output[0]) for n in model.graph.node
             if n.op_type not in ("Cast", "Constant")]
    return {
        "nodes": len(model.graph.node),
        "float16_nodes": given.count(TensorProto.FLOAT16),
        "float32_nodes": given.count(TensorProto.FLOAT),
        "casts": sum(n.op_type == "Cast" for n in model.graph.node),
        "operators": operators(model),
    }


@hookimpl
def luthier_plugins() -> list[type[Fp16]]:
    """Return the plugin of this file."""
    return [Fp16]
