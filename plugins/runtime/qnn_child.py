"""The child process in which Qualcomm's library compiles and emulates; it may crash there.

Run as `python -m plugins.runtime.qnn_child request.json`. The request names an action and the
file that the answer is written to; progress goes to stderr, one line each, after `PROGRESS`.
The parent is `plugins/runtime/qnn_process.py`; nothing else should import this module, because
the vendor's library, once loaded, can end the process.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["PROGRESS", "main"]

PROGRESS = "@progress "
"""What a line of stderr starts with when it is meant for the person who waits."""
EP_NAME = "qnn"
"""The name the execution provider is registered under, in this process only."""


def _say(message: str) -> None:
    print(f"{PROGRESS}{message}", file=sys.stderr, flush=True)


def _session(
    model: str, device: dict[str, str], entries: dict[str, str] | None = None
) -> onnxruntime.InferenceSession:
    """Open `model` on the HTP with the provider options `device` and the session `entries`."""
    import onnxruntime
    import onnxruntime_qnn

    options = onnxruntime.SessionOptions()
    if EP_NAME not in {d.ep_name for d in onnxruntime.get_ep_devices()}:
        onnxruntime.register_execution_provider_library(EP_NAME, onnxruntime_qnn.get_library_path())
    found = [d for d in onnxruntime.get_ep_devices() if d.ep_name == EP_NAME]
    options.add_provider_for_devices(
        found[:1], {"backend_path": onnxruntime_qnn.get_qnn_htp_path(), **device}
    )
    for key, value in (entries or {}).items():
        options.add_session_config_entry(key, value)
    return onnxruntime.InferenceSession(model, options)


def _compile(request: dict[str, Any]) -> dict[str, Any]:
    """Write a context binary for `request["model"]` and report what became of its nodes."""
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
    left = [node for node in graph.node if node.op_type != "EPContext"]
    binaries = sorted(target.parent.glob(f"{target.stem}_*.bin"))
    return {
        "partitions": len(graph.node) - len(left),
        "left": [[node.name, node.op_type] for node in left],
        "left_by_type": dict(Counter(node.op_type for node in left)),
        "binaries": [str(path) for path in binaries],
        "binary_bytes": sum(path.stat().st_size for path in binaries),
        "seconds": seconds,
    }


def _emulate(request: dict[str, Any]) -> dict[str, Any]:
    """Run every chunk of `request["inputs"]` and write the outputs to `request["outputs"]`."""
    import numpy as np

    with np.load(request["inputs"]) as stored:
        inputs = {name: stored[name] for name in stored.files}
    count = len(next(iter(inputs.values())))
    _say("loading the compiled model into the emulator")
    started = time.perf_counter()
    session = _session(request["model"], request["device"])
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
    return {"load_seconds": load_seconds, "seconds_per_chunk": seconds}


def main(path: str) -> int:
    """Do what the request at `path` asks; return 0, or 1 with the reason in the answer."""
    request = json.loads(Path(path).read_text(encoding="utf-8"))
    answer: dict[str, Any]
    try:
        answer = {"compile": _compile, "emulate": _emulate}[request["action"]](request)
        code = 0
    except Exception as error:  # noqa: BLE001  the vendor raises bare exceptions: pass them on
        answer = {"error": f"{type(error).__name__}: {error}"}
        code = 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    target = Path(request["answer"])
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps({**answer, "peak_rss_bytes": peak}), encoding="utf-8")
    partial.replace(target)
    return code


if __name__ == "__main__":
    status = main(sys.argv[1])
    sys.stderr.flush()
    # The vendor's library can crash while Python unloads it, after all the work is done.
    os._exit(status)
