"""Why PyTorch cannot capture a module: its own reason, the line of the module, and what helps.

PyTorch wraps the reason into banners with links for its developers, and the place into pages of
its own frames.
"""

from __future__ import annotations

import re
import traceback
from typing import Any

from core import ModelInfo, StageError
from core.errors import TRACE
from plugins.exporter._torch_module.frames import Frame, frame_of_text, frame_of_traceback

__all__ = ["BRANCH", "PLAY", "failed", "one_length", "untraceable"]

#: Longest line of PyTorch's that is passed on.
WIDTH = 300
#: What begins a line of advice to PyTorch's developers.
NOISE = re.compile(
    r"^(consider using|caused by|for more|for extended|for c\+\+|if you suspect|the above|"
    r"the error above|the following call|see the stack|\(refer|you can replace|user stack|"
    r"from user code)|TORCH_?LOGS|TORCHDYNAMO|https?://",
    re.IGNORECASE,
)
#: Advice to developers, or a piece of PyTorch's graph, behind a reason on the same line.
TAIL = re.compile(r"\s*(\(unhinted|\[Caused by the value|Please feel free to request).*")
#: Colours of a terminal.
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
#: An operator of PyTorch in its exporters' messages.
OPERATOR = re.compile(r"aten(?:::|\.)(\w+)|op='([\w.:]+)'")
#: A place in a graph that the TorchScript-based exporter prints: `# /path/file.py:25:0`.
PRINTED = re.compile(r"# (?P<file>\S[^\n]*?):(?P<line>\d+):\d+\s*$")
BRANCH = (
    "a graph is the same for all values: write branches with torch.where, take lengths from shapes"
)
RECORDS = "or exporter=onnx, which records the branch of the example and checks it on other values"
#: Advice: this runs whatever PyTorch runs, and needs no export.
PLAY = "or play the module itself: exporter=none graph=[] precision=fp32 runtime=torch"
#: Advice: the two exporters to ONNX fail at different operators.
NEWER = "or try exporter=onnx_dynamo, which supports more operators"
#: Advice: this knows every operator of PyTorch, and no branch on values.
PROGRAM = (
    "or make a program of PyTorch's own operators: exporter=torch_export graph=[] runtime=torch"
)


def failed(exporter: str, error: Exception) -> StageError:
    """Return the error for a module that itself fails on the example inputs, before any export."""
    return StageError(
        f"exporter `{exporter}` cannot export the model: its own code fails on example inputs",
        f"{type(error).__name__}: {_first(str(error))}",
        *_at(frame_of_traceback(error)),
        "the inputs have the types and lengths of the signature: see `TensorSpec` in "
        "core/plugin/values.py, and the way the model was opened",
        TRACE,
    )


def one_length(info: ModelInfo) -> str:
    """Return how to export a module for one length only: in windows, where they can be joined."""
    signature = info.signature
    free = [axis for spec in signature.inputs for axis in spec.free]
    joined = [axis for axis in free if all(axis in spec.axes for spec in signature.outputs)]
    if free and not joined:
        return f"{PLAY.removeprefix('or ')} chunker=whole"
    axis = f" chunker.axis={joined[0]}" if joined else ""
    return f"export for windows of one length: exporter.dynamic=false chunker=overlap_add{axis}"


def untraceable(exporter: str, info: ModelInfo, error: Exception, printed: str = "") -> StageError:
    """Return the error for a module that PyTorch cannot capture; `printed` is what it printed."""
    inner = _innermost(error)
    text = COLOUR.sub("", str(inner)).strip()
    place = _place(error, printed, text)
    what, advice = _kind(exporter, info, inner, text)
    return StageError(
        f"exporter `{exporter}` cannot export the model: {what}",
        *_reasons(inner, text),
        *_at(place),
        *advice,
        TRACE,
    )


def _kind(exporter: str, info: ModelInfo, error: BaseException, text: str) -> tuple[str, list[str]]:
    """Return the obstacle in words, and remedies; none of them leads back to this exporter."""
    operator = _operator(text)
    if "data-dependent" in text or "unbacked" in text.lower():
        return "its code depends on the values of a tensor", [BRANCH, RECORDS, PLAY]
    if operator and ("not supported" in text or "No ONNX function" in text):
        return f"ONNX has no equivalent of its operator `{operator}`", [
            "write it with other operators, or do it outside of the core, as a dsp does",
            *([NEWER] if exporter == "onnx" else []),
            PROGRAM,
        ]
    if "Constraints violated" in text or "specialized" in text:
        what = "it takes inputs of one length only, though `dynamic` is true"
        return what, [one_length(info)]
    first, *others = [NEWER, PROGRAM, PLAY] if exporter == "onnx" else [RECORDS, PLAY]
    return type(error).__name__, [first.removeprefix("or "), *others]


def _operator(text: str) -> str:
    found = OPERATOR.search(text)
    return "" if found is None else f"aten::{found[1]}" if found[1] else found[2]


def _innermost(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _reasons(error: BaseException, text: str) -> list[str]:
    """Return PyTorch's own reasons, without its advice to its developers."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if not NOISE.search(line)]
    first, *rest = told or lines or [type(error).__name__]
    first = TAIL.sub("", first)
    # The first two of a list of reasons.
    return [line[:WIDTH] for line in (first, *[r for r in rest if r.startswith("- ")][:2])]


def _first(text: str) -> str:
    lines = [line.strip() for line in COLOUR.sub("", text).splitlines() if line.strip()]
    return lines[0][:WIDTH] if lines else "no reason given"


def _at(place: Frame | None) -> list[str]:
    return [f"at: {place}"] if place else []


def _place(error: BaseException, printed: str, text: str) -> Frame | None:
    """Return the line of the module that fails, from any place where PyTorch reports it."""
    return (
        _of_node(error)
        or _of_print(printed, _operator(text))
        or frame_of_text(text)
        or frame_of_traceback(_innermost(error))
    )


def _of_node(error: BaseException) -> Frame | None:
    """Return the place of the node that an exporter had reached; only a local variable has it."""
    link: BaseException | None = error
    while link is not None:
        for frame, _ in traceback.walk_tb(link.__traceback__):
            node: Any = frame.f_locals.get("node")
            stack = getattr(node, "meta", None)
            if isinstance(stack, dict) and isinstance(stack.get("stack_trace"), str):
                return frame_of_text(stack["stack_trace"])
        link = link.__cause__
    return None


def _of_print(printed: str, operator: str) -> Frame | None:
    """Return the place of `operator` in a graph that an exporter printed before it failed."""
    for line in printed.splitlines() if operator else ():
        found = PRINTED.search(line)
        if f"{operator}(" in line and found:
            return Frame.at(found["file"], int(found["line"]))
    return None
