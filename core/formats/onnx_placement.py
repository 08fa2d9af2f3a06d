"""Which execution provider computed each node of an ONNX graph, and at which precision.

ONNX Runtime's profile of one window lists every node that ran, with its provider and the types of
its tensors. A provider that compiles a piece of the graph has it there as one node; the session
says how many nodes it made that node of.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.formats.onnx_providers import CPU, GraphOn, assigned, session_on
from core.formats.precision_census import FLOATS, INTEGER, precision_by_node
from core.plugin.placement import Placed, Placement

if TYPE_CHECKING:
    import onnxruntime

    from core.plugin.values import Tensors

__all__ = ["NAMED", "Executed", "executed_in", "placement_of", "traced"]

SOURCE = "ONNX Runtime's profile"
#: Operators that compute nothing: they convert types and layouts, and copy between devices.
CONVERTING = frozenset(
    {
        "Cast", "Constant", "DequantizeLinear", "MemcpyFromHost", "MemcpyToHost", "QuantizeLinear",
        "ReorderInput", "ReorderOutput",
    }
)  # fmt: skip
#: ONNX Runtime's operators on integers whose result may be a float.
INTEGERS = INTEGER | {"QGemm", "QAttention"}
#: The types of a profile, by what a person calls them.
PRECISIONS = {
    "float": "fp32", "float16": "fp16", "bfloat16": "bf16", "double": "fp64",
    "int8": "int8", "uint8": "int8", "int16": "int16", "uint16": "int16",
    "int4": "int4", "uint4": "int4",
}  # fmt: skip
#: A profile's event of a node ends in this word, and a convolution in blocks is named after its
#: output with that one.
EVENT, BLOCKED = "_kernel_time", "_nchwc"
#: Nodes that a placement names.
NAMED = 36


@dataclass(frozen=True)
class Executed:
    """One node that ran: its name, its operator, its provider, and its precision."""

    name: str
    operator: str
    provider: str
    precision: str


def traced(graph: GraphOn, feeds: Tensors, folder: Path) -> Placement:
    """Open a second session of a graph, run one window in it, and return what computed each node.

    It writes a profile below `folder`, and removes it. Raises what `session_on` raises.
    """
    import onnx

    with tempfile.TemporaryDirectory(dir=folder, prefix="profile-") as scratch:

        def profiled() -> onnxruntime.SessionOptions:
            settings = graph.settings()
            settings.enable_profiling = True
            settings.profile_file_prefix = str(Path(scratch) / "onnxruntime")
            return settings

        session, _ = session_on(replace(graph, settings=profiled))
        session.run(None, {one.name: feeds[one.name] for one in session.get_inputs()})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        took = assigned(session)
        del session
    model = onnx.load(str(graph.path), load_external_data=False)
    return placement_of(graph, executed_in(events), took, precision_by_node(model))


def executed_in(events: Iterable[Mapping[str, Any]]) -> list[Executed]:
    """Return the nodes that a profile holds, each once, however often a loop ran it."""
    found: dict[tuple[str, str], Executed] = {}
    for event in events:
        name, about = str(event.get("name", "")), event.get("args", {})
        if event.get("cat") != "Node" or not name.endswith(EVENT):
            continue
        operator = str(about.get("op_name", ""))
        given = [*_types(about.get("output_type_shape")), *_types(about.get("input_type_shape"))]
        kind = given[0] if given else ""
        precision = "int8" if operator in INTEGERS else PRECISIONS.get(kind, kind)
        one = Executed(
            name.removesuffix(EVENT), operator, str(about.get("provider", "")), precision
        )
        found[one.name, str(about.get("node_index", ""))] = one
    return list(found.values())


def placement_of(
    graph: GraphOn,
    executed: Sequence[Executed],
    took: Mapping[str, Sequence[tuple[str, str]]],
    expected: Mapping[str, str],
) -> Placement:
    """Compare the nodes that ran with what was asked for.

    `took` are the nodes that each provider took, `expected` is the precision that the graph gives a
    node, by the node's name and by that of its outputs. Conversions are not counted, unless the
    graph holds nothing else. A node that ONNX Runtime made of several has a name of its own, so its
    precision is not compared.
    """
    computing = [one for one in executed if one.operator not in CONVERTING] or [*executed]
    counts: Counter[tuple[str, str, bool]] = Counter()
    left: list[tuple[str, str]] = []
    for provider in dict.fromkeys(one.provider for one in computing):
        own = [one for one in computing if one.provider == provider]
        wanted = provider in graph.wanted
        compiled = () if provider == CPU else _compiled(own, took.get(provider, ()))
        if compiled:
            known = {name for name, _ in took[provider]}
            own = [one for one in own if one.name in known]
            counts[provider, "", wanted] += len(compiled)
            left += [] if wanted else compiled
        for one in own:
            asked = wanted and not _is_other(one.precision, _expected(one.name, expected))
            counts[provider, one.precision, asked] += 1
            left += [] if asked else [(one.name, one.operator)]
    placed = tuple(
        Placed(graph.title(provider), nodes, precision, asked)
        for (provider, precision, asked), nodes in counts.most_common()
    )
    return Placement(SOURCE, placed, tuple(left[:NAMED]))


def _compiled(own: Sequence[Executed], took: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the nodes that a provider compiled to nodes with names of their own."""
    ran, known = {one.name for one in own}, {name for name, _ in took}
    if ran <= known:
        return []
    return [one for one in took if one[0] not in ran and one[1] not in CONVERTING]


def _expected(name: str, expected: Mapping[str, str]) -> str:
    return expected.get(name) or expected.get(name.removesuffix(BLOCKED), "")


def _is_other(ran: str, expected: str) -> bool:
    """Return whether a node computed in another float type, or in floats in place of integers."""
    return bool(expected) and ran in FLOATS and ran != expected


def _types(shapes: object) -> list[str]:
    """Return the types of a profile's tensors: `[{'float': [1, 3]}]` is `float`."""
    return [next(iter(one), "") for one in shapes] if isinstance(shapes, list) else []
