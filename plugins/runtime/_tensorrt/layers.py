"""Reads the builder's list of an engine's layers: precision, tensor formats, and what was fused.

The engine inspector needs a deserialised engine, and TensorRT-RTX 1.7.1 deserialises none without a
GPU. The builder writes the same lines to its log (verbosity VERBOSE, profiling verbosity DETAILED),
one for each layer, on a machine without a GPU too:

    Name: /conv_myl0_2, LayerType: correlation, Inputs: [ { Name: x, Dimensions: [1,4,8,8], …,
    Datatype: Int8, Format: (NHWC) Channel major format }], Constants: [ … ], Outputs: [ … ], …,
    Metadata: [ONNX Layer: /conv][ONNX Layer: x_DequantizeLinear]
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core import Fact
from core.plugin.values import Row

__all__ = ["LOW", "Layer", "facts_of", "layers_in", "unfused"]

#: Names of the library's types, and ours, the lowest precision first.
_TYPES = {
    "FP4": "fp4", "Int4": "int4", "FP8": "fp8", "Int8": "int8",
    "BFloat16": "bf16", "Half": "fp16", "Float": "fp32",
}  # fmt: skip
#: The precisions that a graph reaches only through quantisation.
LOW = frozenset({"fp4", "int4", "fp8", "int8"})
_LINE = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<type>\w+), Inputs: (?P<rest>.*)$")
_TENSOR = re.compile(r"Datatype: (?P<type>\w+), Format: \((?P<format>\w+)\)")
#: The names are parted by the control character "unit separator".
_NODE = re.compile(r"\[ONNX Layer: (.*?)\](?=\x1f|\[ONNX Layer: |$)")
#: Rows of a table of layers that facts hold; an engine may leave hundreds of pairs unfused.
_MOST_ROWS = 50


@dataclass(frozen=True)
class Layer:
    """One layer of an engine, which may be many nodes of the ONNX graph.

    `precision` is the lowest of the tensors and weights that it reads; "" where it reads none.
    `formats` are those of its outputs, `nodes` the names of its ONNX nodes.
    """

    name: str
    type: str
    precision: str
    formats: tuple[str, ...]
    nodes: tuple[str, ...]


def layers_in(log: str) -> list[Layer]:
    """Return the layers in the builder's list; lines of another form are passed over."""
    return [_layer(found) for line in log.split("\n") if (found := _LINE.match(line))]


def _layer(found: re.Match[str]) -> Layer:
    reads, _, after = found["rest"].partition(", Outputs: ")
    outputs, _, about = after.partition(", Metadata: ")
    types = {tensor["type"] for tensor in _TENSOR.finditer(reads)}
    return Layer(
        found["name"],
        found["type"],
        next((ours for theirs, ours in _TYPES.items() if theirs in types), ""),
        tuple(tensor["format"] for tensor in _TENSOR.finditer(outputs)),
        tuple(_NODE.findall(about)),
    )


def unfused(
    layers: Sequence[Layer], readers: Iterable[tuple[str, str, str]]
) -> tuple[list[Row], int]:
    """Return the nodes that compute in float although their inputs are quantised, and how many.

    `readers` are (node, operator, its DequantizeLinear). The rows, 50 at most, name the three and
    the layer. No data is needed: the engine's own list shows what a layer reads.
    """
    within: dict[str, list[Layer]] = {}
    for layer in layers:
        for node in layer.nodes:
            within.setdefault(node, []).append(layer)
    found: list[Row] = []
    for node, operator, pair in readers:
        holding = within.get(node, [])
        if holding and any(layer.precision in LOW for layer in holding):
            continue
        reads = ", ".join(sorted({layer.precision for layer in holding} - {""}))
        where = holding[0].name if holding else "in no layer that the library names"
        found.append(
            {"node": node, "operator": operator, "pair": pair, "layer": where, "reads": reads}
        )
    return found[:_MOST_ROWS], len(found)


def facts_of(layers: Sequence[Layer]) -> dict[str, Fact]:
    """Return the counts of layers by type and precision, and of the formats of their outputs."""
    counts = Counter((layer.type, layer.precision or "none") for layer in layers)
    formats = Counter(name for layer in layers for name in layer.formats)
    return {
        "layers": len(layers),
        "fused_layers": sum(len(layer.nodes) > 1 for layer in layers),
        "layers_by_precision": [
            {"type": type_, "precision": precision, "layers": count}
            for (type_, precision), count in counts.most_common()
        ],
        "tensor_formats": dict(formats.most_common()),
    }
