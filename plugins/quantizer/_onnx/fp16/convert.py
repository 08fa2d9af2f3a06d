"""Rewrites a graph in 16-bit floats with ONNX Runtime's converter, and repairs its result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from plugins.quantizer._onnx.graph.bodies import hide_reads, show_reads
from plugins.quantizer._onnx.graph.operands import read_inside, scatters_sums
from plugins.quantizer._onnx.graph.passed import put_back, taken_out

if TYPE_CHECKING:
    import onnx

__all__ = ["between", "single_only", "to_half"]

#: Operators with operands that are FP32 in every graph; ONNX Runtime's converter knows them.
KNOWN = frozenset({"Resize"})


def to_half(model: onnx.ModelProto, kept: list[str]) -> onnx.ModelProto:
    """Convert all but the nodes `kept`; values that pass between those stay in FP32.

    Nodes with graphs inside must be among those: this looks into no inner graph.
    """
    import sys

    from onnxruntime.quantization.onnx_model import ONNXModel

    passed = taken_out(model)
    shown = show_reads(model)
    own = {node.name for node in model.graph.node if node.op_type == "Cast"}
    sequences = _sequences(model)
    before = list(sys.path)
    from onnxruntime.transformers.float16 import convert_float_to_float16

    # Importing `onnxruntime.transformers` puts its own folder, with a `models` and a `metrics`,
    # on the path of this process.
    sys.path[:] = before
    model = convert_float_to_float16(
        model, keep_io_types=True, disable_shape_infer=True, op_block_list=[], node_block_list=kept
    )
    _uncast(model.graph, sequences)
    _unite_casts(model.graph)
    _bypass(model, own)
    wrapped = ONNXModel(model)
    wrapped.topological_sort()  # the converter appends its casts at the end
    converted: onnx.ModelProto = wrapped.model
    hide_reads(converted, shown)
    put_back(converted, passed)
    return converted


def single_only(model: onnx.ModelProto) -> list[str]:
    """Return the nodes that the ONNX standard has in FP32 and not in FP16: Range, boxes, scales.

    A graph with one in FP16 cannot be opened. The same holds for sequences, whose types ONNX
    Runtime's converter leaves as they were, and it has no CPU kernel for scattered sums in FP16.
    """
    found = []
    for node, kinds in _typed(model):
        operands = [*kinds[0].values(), *kinds[1].values()]
        lacking = any("tensor(float)" in e and "tensor(float16)" not in e for e in operands)
        if lacking or any(map(_all_sequences, operands)) or scatters_sums(node):
            found.append(node.name)
    return found


Kinds = dict[str, set[str]]


def _typed(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, tuple[Kinds, Kinds]]]:
    """Yield the nodes of the standard with the types that it allows each input, and each output."""
    import onnx

    opset = next((e.version for e in model.opset_import if e.domain in ("", "ai.onnx")), 1)
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type in KNOWN:
            continue
        try:
            schema = onnx.defs.get_schema(node.op_type, opset)
        except onnx.defs.SchemaError:  # unknown to the onnx at hand
            continue
        types = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}
        given, made = (
            {
                name: types.get(formal.type_str, {formal.type_str})
                # Optional operands at the end may be left out, and the last may stand for many.
                for name, formal in zip(names, formals, strict=False)
                if name
            }
            for names, formals in ((node.input, schema.inputs), (node.output, schema.outputs))
        )
        yield node, (given, made)


def _all_sequences(kinds: set[str]) -> bool:
    return all(kind.startswith("seq(") for kind in kinds)


def _sequences(model: onnx.ModelProto) -> set[str]:
    """Return the names of the tensors that can only be sequences of tensors."""
    return {
        name
        for _, (_, made) in _typed(model)
        for name, kinds in made.items()
        if _all_sequences(kinds)
    }


def _uncast(graph: onnx.GraphProto, sequences: set[str]) -> None:
    """Remove the casts of sequences, in place: the converter takes them for tensors."""
    casts = [node for node in graph.node if node.op_type == "Cast"] if sequences else []
    own = {name: name for name in sequences}
    for _ in casts:  # one may cast what another one has cast, on either side
        for cast in casts:
            for name, other in ((cast.input[0], cast.output[0]), (cast.output[0], cast.input[0])):
                if name in own:
                    own.setdefault(other, own[name])
    left = [node for node in graph.node if node.op_type != "Cast" or node.output[0] not in own]
    for node in left:
        node.input[:] = [own.get(name, name) for name in node.input]
        node.output[:] = [own.get(name, name) for name in node.output]
    infos = [value for value in graph.value_info if value.name not in own]
    for kept, field in ((left, graph.node), (infos, graph.value_info)):
        del field[:]
        field.extend(kept)


def between(model: onnx.ModelProto, kept: set[str]) -> list[str]:
    """Return the nodes that read from and write to nodes of `kept` alone.

    In the variance `Sqrt(ReduceMean(x * x) + eps)` the sum with epsilon is one: in FP16 it would
    overflow, or lose the epsilon, between two nodes that do neither.
    """
    made_by = {name: node.name for node in model.graph.node for name in node.output}
    read_by: dict[str, set[str]] = {value.name: {""} for value in model.graph.output}
    for node in model.graph.node:
        for name in (*node.input, *read_inside(node)):
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


def _unite_casts(graph: onnx.GraphProto) -> None:
    """Keep one of equal casts.

    The converter of ONNX Runtime 1.31.1 adds one per reader of a tensor, all with the same name,
    where nodes in FP32 share it or read it twice (`x * x`): such a graph cannot be opened.
    """
    seen: set[str] = set()
    for node in list(graph.node):
        if node.op_type == "Cast":
            if node.output[0] in seen:
                graph.node.remove(node)
            seen.add(node.output[0])


def _bypass(model: onnx.ModelProto, own: set[str]) -> None:
    """Take out every cast to FP16 and back: there a square would overflow before it is averaged.

    The graph's own casts stay: they may read no float, or a tensor that itself is in FP16 by now.
    """
    from onnx import TensorProto

    graph = model.graph
    narrowed, widened = (
        _casts(graph, kind, own) for kind in (TensorProto.FLOAT16, TensorProto.FLOAT)
    )
    ends = {value.name for value in (*graph.input, *graph.output)}
    instead: dict[str, str] = {}
    for wide, narrow in widened.items():
        source = narrowed.get(narrow)
        if source is not None and wide not in ends:
            instead[wide] = source
    for wide, narrow in widened.items():
        source = narrowed.get(narrow)
        # An output of the graph keeps its name, so the node that computes it takes that name.
        if source is not None and wide in ends and source not in {*ends, *instead}:
            instead[source] = wide

    def name_of(name: str) -> str:
        source = instead.get(name, name)
        return instead.get(source, source)

    gone = {
        wide
        for wide, narrow in widened.items()
        if name_of(narrowed.get(narrow, "")) == name_of(wide)
    }
    _remove_casts(graph, gone)
    for node in graph.node:
        node.input[:] = [name_of(name) for name in node.input]
        node.output[:] = [name_of(name) for name in node.output]
    used = ends | {name for node in graph.node for name in node.input}
    _remove_casts(graph, set(narrowed) - used)


def _casts(graph: onnx.GraphProto, to: int, own: set[str]) -> dict[str, str]:
    """Return the output and the input of every cast to the type `to`, but for those named `own`."""
    return {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type == "Cast"
        and node.name not in own
        and any(a.name == "to" and a.i == to for a in node.attribute)
    }


def _remove_casts(graph: onnx.GraphProto, outputs: set[str]) -> None:
    """Remove the casts that make `outputs`."""
    for node in [n for n in graph.node if n.op_type == "Cast" and n.output[0] in outputs]:
        graph.node.remove(node)
