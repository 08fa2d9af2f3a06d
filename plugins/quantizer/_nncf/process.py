"""Asks a child process to quantise a graph with NNCF, and checks that the result runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from core import Artifact, StageError
from core.formats.onnx_session import session_options
from core.formats.tensors import load
from core.machine.child_process import Limits, asked_of_child
from core.machine.cores import threads
from core.plugin.progress import Progress
from plugins.quantizer._nncf.failure import OTHERWISE, failure_of, short
from plugins.quantizer._nncf.loss import worst_db
from plugins.quantizer._nncf.windows import Written
from plugins.quantizer._onnx.graph.constants import failures

__all__ = ["UNCONTROLLED", "ask", "played_db"]

#: The file of the graph before any operator was reverted; NNCF's own name for it.
UNCONTROLLED = "intermediate_model.onnx"


def ask(
    model: Path,
    artifact: Artifact,
    given: Written,
    ignored: Collection[str],
    options: Mapping[str, Any],
    seconds: float,
    progress: Progress,
) -> dict[str, Any]:
    """Quantise the graph `model` into `quantised.onnx` beside it; returns what the child says.

    `options` are the plugin's, as JSON; `ignored` names the nodes that stay in float. Raises
    StageError where NNCF does not take the graph, or takes longer than `seconds`.
    """
    limits = Limits(seconds=seconds)
    request = {
        "model": str(model.resolve()),
        "windows": [str(file.resolve()) for file in given.windows],
        "held": [str(file.resolve()) for file in given.held],
        "ignored": sorted(ignored),
        "options": dict(options),
        "threads": threads(),
        "quantised": str(model.resolve().with_name("quantised.onnx")),
        "uncontrolled": str(model.resolve().with_name(UNCONTROLLED)),
    }
    end, answer = asked_of_child(
        "plugins.quantizer._nncf.child",
        request,
        "nncf",
        limits=limits,
        folder=model.parent,
        progress=lambda message, _: progress(0, 0, message),
    )
    if end.cause != "exit" or end.code or "version" not in answer:
        raise failure_of(answer, end, limits, artifact)
    return answer


def played_db(model: Path, quantised: Path, given: Written, artifact: Artifact) -> float:
    """Return the SNR of the quantised graph at its worst output in dB, on the first window.

    Raises StageError where ONNX Runtime cannot open it, or run the window.
    """
    import onnxruntime

    window, results = load(given.windows[0]), []
    for path in (model, quantised):
        options = session_options()
        # x86 processors without VNNI would saturate sums of 8-bit products.
        options.add_session_config_entry("session.x64quantprecision", "1")
        try:
            session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            results.append([session.run(None, dict(window))])
        except failures() as error:
            raise StageError(
                "ONNX Runtime cannot run the graph that NNCF wrote",
                f"it says: {short(str(error))}",
                f"at: {artifact.path}",
                "leave the node that it names in float: quantizer.exclude=[...]",
                OTHERWISE,
            ) from error
    return worst_db(*results)
