"""Finds where a graph first computes NaN or infinity, and whether its model meant to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core import StageError, Tensors
from core.formats.onnx_graph import inferred, save
from core.formats.onnx_session import session_options
from plugins.quantizer._onnx.graph.sentinels import endless_sources

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import onnx


__all__ = ["check_outputs"]


def check_outputs(path: Path, feeds: Tensors) -> None:
    """Raise StageError where the graph at `path` gives no numbers for `feeds`, with the reason.

    Infinities alone are accepted where a constant of the model causes them: a model may return the
    scores that it masked. Runs the graph once more, with every tensor as an output.
    """
    model = inferred(path)
    ends = [value.name for value in model.graph.output]
    found = _everything(model, path, feeds)
    constants = endless_sources(model)
    meant = _reached(model, constants)
    for output in ends:
        state = _state(found.get(output))
        if state == "nan" or (state == "inf" and output not in meant):
            raise _error(model, output, found, constants)


def _everything(model: onnx.ModelProto, path: Path, feeds: Tensors) -> dict[str, Any]:
    """Return all floating-point tensors of the graph, by name."""
    import onnx
    import onnxruntime
    from onnx import TensorProto

    widened = onnx.ModelProto()
    widened.CopyFrom(model)
    graph = widened.graph
    ends = {value.name for value in graph.output}
    made = {name for node in graph.node for name in node.output}
    for value in model.graph.value_info:
        floating = value.type.tensor_type.elem_type in (TensorProto.FLOAT, TensorProto.FLOAT16)
        if floating and value.name in made - ends:
            graph.output.append(onnx.ValueInfoProto(name=value.name))
    target = path.with_name("everything.onnx")
    save(widened, target)
    session = onnxruntime.InferenceSession(
        str(target), session_options(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def _state(values: Any) -> str:
    """Return `nan`, `inf`, or an empty text for a tensor of finite numbers."""
    import numpy as np

    if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
        return ""
    if np.isnan(values).any():
        return "nan"
    return "inf" if np.isinf(values).any() else ""


def _reached(model: onnx.ModelProto, names: list[str]) -> set[str]:
    """Return the tensors that depend on `names`."""
    reached = set(names)
    for node in model.graph.node:
        if reached.intersection(node.input):
            reached.update(node.output)
    return reached


def _error(
    model: onnx.ModelProto, output: str, found: Mapping[str, Any], constants: list[str]
) -> StageError:
    """Return the error for an `output` that holds NaN or infinity."""
    before = _before(model, output)
    nodes = [n for n in before if any(_state(found.get(name)) for name in n.output)]
    for node in nodes:
        if not any(_state(found.get(name)) or name in constants for name in node.input):
            tensor = next(name for name in node.output if _state(found.get(name)))
            return StageError(
                f"the graph overflows on calibration data, first in the tensor `{tensor}`",
                f"computed by: {node.name or node.op_type} ({node.op_type}), from finite values",
                f"the output `{output}` is NaN or infinite because of it, so it has no range",
                "compare the exported graph with PyTorch on this data: a model whose own output is "
                "not finite cannot be quantised",
            )
    guilty = next((c for c in constants if any(c in n.input or c in n.output for n in before)), "")
    broken = next((n for n in nodes if any(_state(found.get(x)) == "nan" for x in n.output)), None)
    where = "" if broken is None else f"first NaN: {broken.name} ({broken.op_type})"
    return StageError(
        f"the output `{output}` is NaN because of a constant of the model, `{guilty}`",
        "it holds infinities or NaN; a softmax over infinities only, or 0 times infinity, is NaN",
        where,
        "mask with a finite value far below the scores, such as -10,000, or leave a value unmasked",
    )


def _before(model: onnx.ModelProto, output: str) -> list[onnx.NodeProto]:
    """Return the nodes that `output` depends on, in order."""
    wanted = {output}
    found = []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            found.append(node)
    return found[::-1]
