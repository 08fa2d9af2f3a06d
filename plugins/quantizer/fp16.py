"""Converts an ONNX graph to 16-bit floating point, with FP32 at its inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from core import ArtifactSpec, Calibration, Fact, Library, Made, Notice, Quantizer, Work, hookimpl
from core.onnx_file import operators, save
from plugins.quantizer.onnx_graph import cleaned, inferred, nodes_matching
from plugins.quantizer.onnx_graph.half import to_half

if TYPE_CHECKING:
    import onnx

    from core import Artifact

#: What overflows 65,504, or loses a small variance, when it is computed in FP16. Reported for
#: HTDemucs by several projects; every one of them sums or squares.
KEPT = (
    "Softmax",
    "Pow",
    "Sqrt",
    "ReduceMean",
    "ReduceSum",
    "ReduceSumSquare",
    "ReduceL2",
    "ReduceLogSumExp",
    "InstanceNormalization",
    "GroupNormalization",
    "LayerNormalization",
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
        calibration: Calibration,  # a float type needs none
        work: Work,
    ) -> Made:
        """Convert the graph; its inputs and outputs stay FP32, so a host feeds it as before."""
        work.progress(0, 2, "reading the graph")
        model = cleaned(inferred(Path(artifact.path)))
        clipped = _too_large(model)
        kept = nodes_matching(model, self.options.keep_float32, "keep_float32")
        if "Pow" in self.options.keep_float32:
            kept += _squares(model)
        kept += _between(model, set(kept))
        work.progress(1, 2, "converting to FP16")
        model = to_half(model, kept)
        facts = _facts(model)
        path = work.folder / "model.onnx"
        save(model, path)
        work.progress(2, 2)
        notices = (
            (
                Notice(
                    "warning",
                    f"{clipped} weight(s) beyond ±{LARGEST:,.0f} were clipped to it by FP16",
                ),
            )
            if clipped
            else ()
        )
        return Made(path, "onnx", "fp16", facts, notices)


def _squares(model: onnx.ModelProto) -> list[str]:
    """Return the nodes that multiply a tensor with itself."""
    return [n.name for n in model.graph.node if n.op_type == "Mul" and n.input[0] == n.input[1]]


def _between(model: onnx.ModelProto, kept: set[str]) -> list[str]:
    """Return the nodes that read and serve nodes of `kept` alone.

    In the variance `Sqrt(ReduceMean(x * x) + eps)` the sum with epsilon is one: in FP16 it would
    overflow, or lose the epsilon, between two nodes that do neither.
    """
    made_by = {name: node.name for node in model.graph.node for name in node.output}
    read_by: dict[str, set[str]] = {value.name: {""} for value in model.graph.output}
    for node in model.graph.node:
        for name in node.input:
            read_by.setdefault(name, set()).add(node.name)
    constants = {t.name for t in model.graph.initializer}
    constants |= {n.output[0] for n in model.graph.node if n.op_type == "Constant"}
    found = []
    for node in model.graph.node:
        makers = {made_by.get(name, "") for name in node.input if name not in constants}
        readers = set().union(*(read_by.get(name, set()) for name in node.output))
        if node.name not in kept and makers and readers and makers | readers <= kept:
            found.append(node.name)
    return found


def _too_large(model: onnx.ModelProto) -> int:
    """Count the weights that FP16 cannot hold."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    return sum(
        int(np.count_nonzero(np.abs(numpy_helper.to_array(tensor)) > LARGEST))
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT
    )


def _facts(model: onnx.ModelProto) -> dict[str, Fact]:
    """Count the nodes that give FP16 and those that give FP32, without the casts between them."""
    from onnx import TensorProto

    types = {
        v.name: v.type.tensor_type.elem_type for v in (*model.graph.value_info, *model.graph.output)
    }
    given = [
        types.get(n.output[0]) for n in model.graph.node if n.op_type not in ("Cast", "Constant")
    ]
    return {
        "nodes": len(model.graph.node),
        "float16_nodes": given.count(TensorProto.FLOAT16),
        "float32_nodes": given.count(TensorProto.FLOAT),
        "casts": sum(n.op_type == "Cast" for n in model.graph.node),
        "operators": operators(model.graph.node),
    }


@hookimpl
def luthier_plugins() -> list[type[Fp16]]:
    """Return the plugin of this file."""
    return [Fp16]
