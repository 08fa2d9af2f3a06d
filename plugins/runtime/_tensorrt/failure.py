"""Explains how building an engine failed: what happened, in which node, and what to do."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

from core import DoesNotFitError, StageError
from core.machine.child_process import ChildEnd, Limits
from plugins.runtime._tensorrt.library import Library

__all__ = ["failure_of"]

_SMALLER = "choose a shorter window (chunker.length), or fewer compute capabilities"
#: What TensorRT-RTX 1.7.1 says without a GPU when it must load a kernel, as REFIT makes it do.
_NEEDS_GPU = re.compile(r"CHECK\(status == CUDA_SUCCESS\)|CUDA initialization failure")
_OTHER_TYPE = re.compile(r"Cannot compile for target\(s\) (\S+),.*datatypes: (\w+)")
_LINES = 3


def failure_of(
    answer: dict[str, Any], end: ChildEnd, limits: Limits, library: Library, model: Path
) -> StageError:
    """Return the error for a child that left `answer` (empty where it had no time) and ended so."""
    title, at = f"{library.title} {library.version}", f"at: {model}"
    if end.cause == "timeout":
        return DoesNotFitError(
            f"building the engine took longer than {limits.seconds:g} s and was stopped",
            at,
            f"raise the limit (runtime.time_limit_s), lower the effort "
            f"(runtime.optimisation_level), or {_SMALLER}",
            cause="time limit",
        )
    if end.cause == "memory":
        return DoesNotFitError(
            f"building the engine needed {end.peak_rss_bytes / 1e9:.1f} GB of memory here; the "
            f"limit is {(limits.memory_bytes or 0) / 1e9:.1f} GB",
            at,
            f"raise the limit (runtime.memory_limit_mb), or {_SMALLER}",
            cause="memory limit",
        )
    if "parser" in answer:
        return _unsupported(answer["parser"], title, at, model)
    if "build" in answer:
        return _not_built(answer["build"], title, at)
    if "error" in answer:
        hint = library.install if "ImportError" in answer["error"] else "see: mode=doctor"
        return StageError(f"{title} failed: {answer['error'].splitlines()[0]}", at, hint)
    tail = [line for line in end.tail.splitlines() if line.strip()][-_LINES:]
    if end.code == -signal.SIGKILL:
        return DoesNotFitError(
            f"building the engine was killed by the system at {end.peak_rss_bytes / 1e9:.1f} GB, "
            "most likely for memory",
            at,
            f"free memory, or {_SMALLER}",
            cause="this machine's memory",
            cacheable=False,
        )
    how = signal.Signals(-end.code).name if end.code < 0 else f"status {end.code}"
    return StageError(
        f"{title} crashed while it built the engine ({how})",
        at,
        *tail,
        "the graph holds a form that it cannot build: simplify it (graph=[onnxsim]), or choose "
        "another precision",
    )


def _unsupported(errors: list[dict[str, Any]], title: str, at: str, model: Path) -> StageError:
    """Return the error for nodes that the parser does not take: each with its place."""
    import onnx

    graph = onnx.load(str(model), load_external_data=False).graph
    first = errors[0]
    index, count = int(first["index"]), len(graph.node)
    known = 0 <= index < count
    name = first["node"] or (graph.node[index].output[0] if known else "")
    operator = first["operator"] or (graph.node[index].op_type if known else "")
    place = f"node {index + 1} of {count}" if known else "no node is named"
    more = [f"also: {e['operator']} `{e['node']}`: {_short(e['why'])}" for e in errors[1:]]
    what = f"{operator} `{name}`" if operator else "the graph"
    return StageError(
        f"{title} does not take {what}: {_short(first['why'])}",
        at,
        place,
        *more,
        *_mend(graph, index if known else -1),
    )


def _mend(graph: Any, index: int) -> list[str]:
    """Return what makes the node legal: a graph plugin that removes it, or another export."""
    if index >= 0 and _is_constant(graph, graph.node[index]):
        return ["it computes a constant, which `onnxsim` folds: graph=[onnxsim]"]
    return [
        "no graph plugin in the box replaces it",
        "export another opset (exporter.opset=20), or write a graph plugin: docs/write-a-plugin.md",
    ]


def _is_constant(graph: Any, node: Any) -> bool:
    constant = {tensor.name for tensor in graph.initializer}
    for one in graph.node:
        if all(name in constant for name in one.input if name):
            constant.update(one.output)
    return all(name in constant for name in node.output)


def _not_built(messages: list[str], title: str, at: str) -> StageError:
    """Return the error for a graph that was parsed and could not be built."""
    said = " ".join(messages)
    if found := _OTHER_TYPE.search(said):
        return StageError(
            f"{title} cannot build for {found[1]}: its GPUs have no type `{found[2]}`, which the "
            "graph holds",
            at,
            "choose another precision, or newer GPUs: runtime.compute_capabilities",
        )
    if _NEEDS_GPU.search(said):
        return StageError(
            f"{title} needs a GPU to build this engine, and finds none it can use",
            at,
            _short(messages[0]),
            "with a GPU only: runtime.refit, and every engine of flavour `tensorrt`; without one: "
            "runtime.flavour=rtx runtime.refit=false",
        )
    return StageError(
        f"{title} cannot build the engine: {_short(messages[0])}",
        at,
        *(_short(message) for message in messages[1:_LINES]),
        "choose another precision, or simplify the graph: graph=[onnxsim]",
    )


def _short(text: str) -> str:
    """Return the library's sentence without the C++ place that it names."""
    plain = re.sub(r"\s*In \w+ at /\S+?:\d+\)?", "", text).replace("\n", " ").strip()
    return re.sub(r"^(\w+::)?\w+: Error Code \d+: ", "", plain)[:300]
