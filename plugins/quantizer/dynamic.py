"""Dynamic quantisation: integer weights in the file, activations quantised as they come."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from core import (
    Artifact,
    ArtifactSpec,
    Calibration,
    Fact,
    Notice,
    Quantizer,
    Requirement,
    StageContext,
    StageError,
    StageResult,
    hookimpl,
)
from core.formats.onnx_graph import operators, save
from plugins.quantizer._onnx import cleaned, inferred, nodes_matching
from plugins.quantizer._onnx.graph.gemms import plain_gemms
from plugins.quantizer._onnx.graph.unshared import unshare_matrices
from plugins.quantizer._onnx.qdq.exclusions import named
from plugins.quantizer._onnx.qdq.graph import quiet
from plugins.quantizer._onnx.qdq.integer_sums import overflowing_sums

if TYPE_CHECKING:
    import onnx


class Weight(Enum):
    """The type of weights; activations are uint8, each with the range that its values have."""

    uint8 = "QUInt8"
    int8 = "QInt8"


@dataclass
class DynamicOptions:
    """The options of dynamic quantisation."""

    weight: Weight = Weight.uint8
    """Type of the weights: uint8, or int8 (symmetric). On x86 without VNNI sums of int8 saturate
    where the session does not set `session.x64quantprecision` (the runtime `onnxruntime` and the
    bundle's programs do): 39 dB in place of 59 on the bundled model, per channel."""
    per_channel: bool = False
    """One scale per output channel of the weights, instead of one for all."""
    reduce_range: bool = False
    """Weights of 7 bits, which saturate nowhere: for int8 on x86 without VNNI, in programs that do
    not set `session.x64quantprecision`."""
    convolutions: bool = False
    """Quantise convolutions as well. On the bundled model that leaves 22 dB of 66, and takes 1.0 to
    1.4 times as long as FP32 (x86 without VNNI, one thread)."""
    exclude: list[str] = field(default_factory=list)
    """What stays in float: operators or patterns of node names."""


class Dynamic(Quantizer[DynamicOptions]):
    """Quantises the weights of MatMul and Gemm; activations follow at run time, without data."""

    name = "dynamic"
    Options = DynamicOptions
    libraries = (
        Requirement("onnxruntime", "pip install onnxruntime"),
        Requirement("onnx", "pip install onnx"),
    )

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Map a float graph to one with integer weights, which no NPU accepts."""
        return ArtifactSpec(spec.format, "dynamic")

    def run(
        self,
        artifact: Artifact,
        calibration: Calibration,  # unused: ranges follow at run time
        work: StageContext,
    ) -> StageResult:
        """Quantise the graph; inputs and outputs stay FP32.

        Raises StageError for a graph without a MatMul or Gemm whose weights are constant.
        """
        from onnxruntime.quantization import QuantType, quantize_dynamic

        work.progress(0, 0, "quantising the weights")
        options = self.options
        model = unshare_matrices(plain_gemms(cleaned(inferred(Path(artifact.path)))))
        wanted = ["MatMul", *(["Conv"] if options.convolutions else [])]
        left_out = set(nodes_matching(model, options.exclude, "exclude"))
        long = overflowing_sums(model, {*wanted, "Gemm"})
        left_out |= long.keys()
        if not _quantisable(model, left_out, [*wanted, "Gemm"]):
            raise _nothing(artifact, options.convolutions)
        with tempfile.TemporaryDirectory(dir=work.folder) as scratch, quiet():
            source, target = Path(scratch) / "float.onnx", Path(scratch) / "quantised.onnx"
            save(model, source)
            quantize_dynamic(
                source,
                target,
                op_types_to_quantize=wanted,
                per_channel=options.per_channel,
                reduce_range=options.reduce_range,
                weight_type=QuantType[options.weight.value],
                # A Gemm becomes a MatMul and an Add before nodes are selected by name.
                nodes_to_exclude=[*left_out, *(f"{name}_MatMul" for name in left_out)],
                use_external_data_format=True,
                extra_options={"MatMulConstBOnly": True},
            )
            quantised = cleaned(inferred(target))
        facts = _facts(quantised)
        if not facts["quantised_nodes"]:
            raise _nothing(artifact, options.convolutions)
        path = work.folder / "model.onnx"
        save(quantised, path)
        return StageResult(path, "onnx", "dynamic", facts, (*_notices(facts), *_told(long)))


def _quantisable(model: onnx.ModelProto, left_out: set[str], wanted: list[str]) -> list[str]:
    """Return the nodes with constant float weights whose operator is wanted."""
    from onnx import TensorProto

    weights = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    return [
        node.name
        for node in model.graph.node
        if node.op_type in wanted and node.name not in left_out and node.input[1] in weights
    ]


def _facts(model: onnx.ModelProto) -> dict[str, Fact]:
    """Count the nodes that compute in integers, and those of the same operators left in float."""
    made = [node.op_type for node in model.graph.node]
    matrices, convolutions = made.count("MatMulInteger"), made.count("ConvInteger")
    return {
        "nodes": len(made),
        "quantised_nodes": matrices + convolutions,
        "quantised_matmuls": matrices,
        "quantised_convolutions": convolutions,
        "float_matmuls": made.count("MatMul") + made.count("Gemm"),
        "float_convolutions": made.count("Conv") + made.count("ConvTranspose"),
        "operators": operators(model.graph.node),
    }


def _notices(facts: dict[str, Fact]) -> tuple[Notice, ...]:
    """Return the notices: how much is not in integers, and the cost of convolutions."""
    left = (
        f"{facts['quantised_matmuls']} matrix products have integer weights; "
        f"{facts['float_matmuls']} products and {facts['float_convolutions']} convolutions "
        "compute in FP32"
    )
    notices = [Notice("info", left)]
    if facts["quantised_convolutions"]:
        text = (
            f"{facts['quantised_convolutions']} convolutions are quantised dynamically: that can "
            "take longer than FP32 and loses far more signal than products do; compare with "
            "quantizer.convolutions=false"
        )
        notices.append(Notice("warning", text))
    return tuple(notices)


def _told(long: dict[str, int]) -> tuple[Notice, ...]:
    """Return the notice about products that integers cannot sum up."""
    told = named(f"{name} ({terms:,} terms)" for name, terms in long.items())
    text = f"sums of 8-bit integers may exceed 32 bits, so these products stay in FP32: {told}"
    return (Notice("info", text),) if long else ()


def _nothing(artifact: Artifact, convolutions: bool) -> StageError:
    import onnx

    graph = onnx.load(artifact.path, load_external_data=False).graph
    return StageError(
        "the graph has nothing to quantise dynamically: no MatMul or Gemm with constant weights "
        f"in FP32{', and no such Conv' if convolutions else ''}",
        f"operators: {', '.join(map(str, operators(graph.node)))}",
        f"at: {artifact.path}",
        "shorten `quantizer.exclude`, or choose a quantizer for convolutions: precision=int8, fp16",
        *(() if convolutions else ("or quantise convolutions too: quantizer.convolutions=true",)),
    )


@hookimpl
def luthier_plugins() -> list[type[Dynamic]]:
    """Return the plugin of this file."""
    return [Dynamic]
