"""The child process in which Qualcomm's library compiles and emulates; it may crash there.

`plugins/runtime/_htp/process.py` runs it with a request. The request names an action and the file
for the answer; progress goes to stderr, one line each, after `PROGRESS_MARK`. No other module
should import this one, because the vendor's library, once loaded, can end the process.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.formats.onnx_placement import executed_in
from core.formats.onnx_session import silent_onnxruntime
from core.machine.child_process import PROGRESS_MARK
from plugins.runtime._htp.library import EP_NAME
from plugins.runtime._htp.rejections import reasons, redirected
from plugins.runtime._providers.plugged import plug_in

if TYPE_CHECKING:
    import onnx
    import onnxruntime

__all__ = ["main"]

_CONVERTERS = ("QuantizeLinear", "DequantizeLinear")


def _say(message: str) -> None:
    print(f"{PROGRESS_MARK}{message}", file=sys.stderr, flush=True)


def _session(
    model: str, device: dict[str, str], entries: dict[str, str] | None = None, profile: str = ""
) -> onnxruntime.InferenceSession:
    """Open `model` on the HTP with the provider options `device` and the session `entries`.

    `profile` is the beginning of the path of a profile; without one, none is written.
    """
    import onnxruntime

    qnn: Any = importlib.import_module("onnxruntime_qnn")
    silent_onnxruntime()
    options = onnxruntime.SessionOptions()
    # The provider takes the name that it is registered under.
    found = plug_in(EP_NAME, qnn.get_library_path(), EP_NAME)
    options.add_provider_for_devices(found[:1], {"backend_path": qnn.get_qnn_htp_path(), **device})
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    for key, value in (entries or {}).items():
        options.add_session_config_entry(key, value)
    return onnxruntime.InferenceSession(model, options)


def _compile(request: dict[str, Any]) -> dict[str, Any]:
    """Write a context binary for `request["model"]` and report where its nodes went."""
    import onnx

    target = Path(request["context"])
    # onnxruntime refuses to overwrite a context, and a stale binary would be taken for the new.
    for stale in (target, *target.parent.glob(f"{target.stem}_*.bin")):
        stale.unlink(missing_ok=True)
    _say("compiling for the HTP")
    entries = {
        "ep.context_enable": "1",
        "ep.context_file_path": str(target),
        "ep.context_embed_mode": "0",
    }
    started = time.perf_counter()
    _session(request["model"], request["device"], entries)
    seconds = time.perf_counter() - started
    if not target.is_file():
        msg = "the HTP took no node of this graph, so there is no context binary"
        raise RuntimeError(msg)
    graph = onnx.load(str(target), load_external_data=False).graph
    outside = [node for node in graph.node if node.op_type != "EPContext"]
    ends = [node for node in outside if _is_end(node, graph)]
    source = onnx.load(request["model"], load_external_data=False).graph
    binaries = sorted(target.parent.glob(f"{target.stem}_*.bin"))
    return {
        "partitions": len(graph.node) - len(outside),
        "left": [[node.name, node.op_type] for node in outside if node not in ends],
        "ends": len(ends),
        "nodes": sum(node.op_type not in {"Constant", *_CONVERTERS} for node in source.node),
        "binaries": [str(path) for path in binaries],
        "binary_bytes": sum(path.stat().st_size for path in binaries),
        "seconds": seconds,
    }


def _is_end(node: onnx.NodeProto, graph: onnx.GraphProto) -> bool:
    """Return whether `node` only (de)quantises an input or output of the whole graph."""
    outer = {value.name for value in (*graph.input, *graph.output)}
    return node.op_type in _CONVERTERS and bool(outer & {*node.input, *node.output})


def _explain(request: dict[str, Any]) -> dict[str, Any]:
    """Return why the provider rejects some nodes of `request["model"]`, by node name.

    Only its verbose log says so. Compiling is switched off: the provider looks at every node, and
    then the session ends with an error, which is expected here.
    """
    import onnxruntime

    _say("asking the HTP why it leaves nodes to the CPU")
    onnxruntime.set_default_logger_severity(0)
    log = Path(request["answer"]).with_suffix(".log")
    try:
        with redirected(log), contextlib.suppress(Exception):
            _session(request["model"], request["device"], {"session.disable_model_compile": "1"})
        return {"reasons": reasons(log.read_text(encoding="utf-8", errors="replace"))}
    finally:
        log.unlink(missing_ok=True)


def _emulate(request: dict[str, Any]) -> dict[str, Any]:
    """Run every chunk of `request["inputs"]` and write the outputs to `request["outputs"]`.

    The answer names every node that ran, with its provider. A compiled model is a handful of nodes,
    so its profile takes no time.
    """
    import numpy as np

    with np.load(request["inputs"]) as stored:
        inputs = {name: stored[name] for name in stored.files}
    count = len(next(iter(inputs.values())))
    _say("loading the compiled model into the emulator")
    started = time.perf_counter()
    session = _session(request["model"], request["device"], profile=request["answer"])
    load_seconds = time.perf_counter() - started
    names = [output.name for output in session.get_outputs()]
    collected: dict[str, list[Any]] = {name: [] for name in names}
    seconds = []
    for index in range(count):
        _say(f"emulating chunk {index + 1} of {count}")
        started = time.perf_counter()
        results = session.run(names, {name: values[index] for name, values in inputs.items()})
        seconds.append(time.perf_counter() - started)
        for name, result in zip(names, results, strict=True):
            collected[name].append(result)
    arrays: dict[str, Any] = {name: np.stack(values) for name, values in collected.items()}
    np.savez(request["outputs"], **arrays)
    profile = Path(session.end_profiling())
    events = json.loads(profile.read_text(encoding="utf-8"))
    profile.unlink()
    return {
        "load_seconds": load_seconds,
        "seconds_per_chunk": seconds,
        "executed": [
            [one.name, one.operator, one.provider, one.precision] for one in executed_in(events)
        ],
    }


def _peak_rss_bytes() -> int:
    """Return the peak resident memory of this process, or 0 where the system does not report it.

    Not `ru_maxrss`: on Linux that is inherited from the parent across `fork` and `exec`.
    """
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


_ACTIONS = {"compile": _compile, "explain": _explain, "emulate": _emulate}


def main(path: str) -> int:
    """Do what the request at `path` asks; return 0, or 1 with the reason in the answer."""
    request = json.loads(Path(path).read_text(encoding="utf-8"))
    answer: dict[str, Any]
    try:
        answer = _ACTIONS[request["action"]](request)
        code = 0
    except Exception as error:  # the vendor raises bare ones: report them all
        answer = {"error": f"{type(error).__name__}: {error}"}
        code = 1
    target = Path(request["answer"])
    partial = target.with_suffix(".partial")
    answer["peak_rss_bytes"] = _peak_rss_bytes()
    partial.write_text(json.dumps(answer), encoding="utf-8")
    partial.replace(target)
    return code


if __name__ == "__main__":
    status = main(sys.argv[1])
    sys.stderr.flush()
    # The vendor's library can crash while Python unloads it, after all the work is done.
    os._exit(status)
