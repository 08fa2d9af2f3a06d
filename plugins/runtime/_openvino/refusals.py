"""OpenVINO's errors for a person: the operator and the node, without the places in its C++."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

__all__ = ["not_compiled", "not_converted"]

#: How many nodes an error names, and how much of OpenVINO's own words it carries.
NAMED, WIDTH = 5, 300
#: What to do about weights of 8 bits with wider inputs.
FLOATS = (
    "compute in floats that round like integers (runtime.kernels=simulated), or give inputs 8 bits "
    "wherever weights have them (precision=a8w8)"
)
#: Where OpenVINO says in which file of its own an error was raised.
_PLACE = re.compile(
    r"Exception from \S+:\d+:|Check '.*?' failed at \S+:\d+:|FrontEnd API failed with \w+:"
)
_UNKNOWN = re.compile(r"No conversion rule found for operations: (.+)")
_FAILED = re.compile(r"While validating ONNX node '<Node\((\w+)\): (.+?)>'")
#: A step of its own optimiser that raised, and the node that it was at.
_REWRITING = re.compile(r"\[(\w+)\] END: node: \w+::(\w+) (\S+)")


def not_converted(error: Exception, path: Path, version: str) -> StageError:
    """Return the error for a graph that OpenVINO's reader of ONNX refuses."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    if found := _UNKNOWN.search(str(error)):
        operators = [name.strip() for name in found[1].split(",")]
        return StageError(
            f"OpenVINO {version} has no operator `{_bare(operators[0])}`",
            f"at: {path}",
            *_places(graph, {_bare(name) for name in operators}),
            "try another opset (exporter.opset=20), or another runtime: runtime=onnxruntime",
        )
    failed = _FAILED.search(str(error))
    where = f" at the {failed[1]} that gives `{failed[2]}`" if failed else ""
    return StageError(
        f"OpenVINO {version} cannot read the graph{where}",
        f"at: {path}",
        _reason(error),
        "try another opset (exporter.opset=20), or another runtime: runtime=onnxruntime",
    )


def not_compiled(error: Exception, path: Path, device: str, version: str) -> StageError:
    """Return the error for a graph that was read, but does not compile for the device."""
    if found := _REWRITING.search(str(error)):
        node = found[3].removesuffix("/WithoutBiases")
        weights = "WeightCompressed" in found[1]
        return StageError(
            f"OpenVINO {version} does not compile the graph for {device}: its own step "
            f"`{found[1]}` fails at the {found[2]} `{node}`",
            f"at: {path}",
            "its weights have 8 bits or fewer, and its input has more" if weights else "",
            FLOATS if weights else "try another precision: precision=fp32",
            "or another runtime: runtime=onnxruntime",
        )
    return StageError(
        f"OpenVINO {version} does not compile the graph for {device}",
        f"at: {path}",
        _reason(error),
        "try another precision (precision=fp32), or another runtime: runtime=onnxruntime",
    )


def _reason(error: Exception) -> str:
    """Return the line that says most: the last one before the summary."""
    lines = [line.strip() for line in _PLACE.sub("", str(error)).splitlines()]
    said = [line for line in lines if line and not line.startswith(("Summary", "-- Conversion"))]
    return said[-1][:WIDTH] if said else type(error).__name__


def _bare(operator: str) -> str:
    """Return an operator without the opset that OpenVINO puts after it (`MatMul-17`)."""
    return re.sub(r"-\d+$", "", operator)


def _places(graph: onnx.GraphProto, operators: set[str]) -> Iterator[str]:
    """Yield a line for each node of these operators: its name, or what it gives."""
    found = [
        node for node in graph.node if {node.op_type, f"{node.domain}.{node.op_type}"} & operators
    ]
    for node in found[:NAMED]:
        yield f"{node.op_type}: {node.name or f'the node that gives {node.output[0]}'}"
    if len(found) > NAMED:
        yield f"and {len(found) - NAMED} more"
