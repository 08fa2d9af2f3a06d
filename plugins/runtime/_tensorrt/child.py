"""The child process in which NVIDIA's library parses a graph and builds an engine; it may crash.

`plugins/runtime/_tensorrt/process.py` runs it with a request, which names the file for the answer.
Progress goes to stderr, one line each, after `PROGRESS_MARK`. No other module should import this
one: the library reserves memory when it is loaded, and the two flavours do not share a process.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from core.machine.child_process import PROGRESS_MARK

__all__ = ["main"]

#: How many of the library's own messages an answer carries, and of how many characters.
_MESSAGES, _WIDTH = 6, 400


class _RefusedError(Exception):
    """The library did not take the graph; holds the answer that says why."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__("refused")
        self.answer = answer


def _say(message: str) -> None:
    print(f"{PROGRESS_MARK}{message}", file=sys.stderr, flush=True)


def _logger(trt: Any) -> Any:
    """Return a logger that keeps warnings, errors, and the builder's list of layers."""

    class Log(trt.ILogger):  # type: ignore[misc]  # the class comes with the library
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []
            self.layers = ""

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.ERROR:
                self.errors.append(message[:_WIDTH])
            elif severity == trt.ILogger.WARNING:
                self.warnings.append(message[:_WIDTH])
            elif ", LayerType: " in message:
                self.layers = message

    return Log()


def _monitor(trt: Any) -> Any:
    """Return a monitor that reports the builder's phases as progress."""

    class Phases(trt.IProgressMonitor):  # type: ignore[misc]  # as above
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            _say(name.lower())

        def step_complete(self, name: str, step: int) -> bool:
            return True

        def phase_finish(self, name: str) -> None:
            """Nothing to say: the next phase reports itself."""

    return Phases()


def _network(trt: Any, builder: Any, log: Any, path: str) -> Any:
    """Parse the graph into a strongly typed network: the graph's types decide, no flag does."""
    # TensorRT 11 types every network strongly, and keeps the flag for older programs.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(path):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        raise _RefusedError({
            "parser": [
                {
                    "why": error.desc()[:_WIDTH], "index": error.node(),
                    "node": error.node_name(), "operator": error.node_operator(),
                }
                for error in errors[:_MESSAGES]
            ]
        })  # fmt: skip
    return network


def _config(trt: Any, builder: Any, request: dict[str, Any]) -> Any:
    config = builder.create_builder_config()
    config.builder_optimization_level = request["optimisation_level"]
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.progress_monitor = _monitor(trt)
    if request["workspace_bytes"]:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request["workspace_bytes"])
    for flag in request["flags"]:
        config.set_flag(getattr(trt.BuilderFlag, flag))
    if request["hardware_compatible"]:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    names = request["capabilities"]
    if names:
        config.num_compute_capabilities = len(names)
        for index, name in enumerate(names):
            if not config.set_compute_capability(getattr(trt.ComputeCapability, name), index):
                raise _RefusedError({"build": [f"the library does not build for {name}"]})
    for ranges in request["profiles"]:
        profile = builder.create_optimization_profile()
        for name, axes in ranges.items():
            profile.set_shape(name, *([axis[end] for axis in axes] for end in range(3)))
        config.add_optimization_profile(profile)
    return config


def _timing_cache(config: Any, path: Path) -> Any:
    """Give the builder the times of earlier builds; a damaged file counts as none."""
    data = path.read_bytes() if path.is_file() else b""
    told, _, kept = data.partition(b"\n")
    if told != hashlib.sha256(kept).hexdigest().encode():
        kept = b""
    cache = config.create_timing_cache(kept)
    config.set_timing_cache(cache, False)  # another GPU's times are refused by the library
    return cache


def _keep(cache: Any, path: Path) -> None:
    data = bytes(cache.serialize())
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_bytes(hashlib.sha256(data).hexdigest().encode() + b"\n" + data)
    partial.replace(path)


def _build(request: dict[str, Any]) -> dict[str, Any]:
    """Build the engine of `request["model"]`, write it, and return what is known of it."""
    _say(f"loading {request['module']}")
    trt: Any = importlib.import_module(request["module"])
    log = _logger(trt)
    builder = trt.Builder(log)
    _say("reading the graph")
    network = _network(trt, builder, log, request["model"])
    config = _config(trt, builder, request)
    cache_file = Path(request["timing_cache"]) if request["timing_cache"] else None
    cache = _timing_cache(config, cache_file) if cache_file else None
    started = time.perf_counter()
    engine = builder.build_serialized_network(network, config)
    seconds = time.perf_counter() - started
    if engine is None:
        raise _RefusedError({"build": log.errors[-_MESSAGES:] or ["it gives no reason"]})
    if cache is not None and cache_file is not None:
        _keep(cache, cache_file)
    Path(request["engine"]).write_bytes(memoryview(engine))
    return {
        "seconds": seconds,
        "version": trt.__version__,
        "inputs": [network.get_input(index).name for index in range(network.num_inputs)],
        "outputs": [network.get_output(index).name for index in range(network.num_outputs)],
        "layers": log.layers,
        "warnings": list(dict.fromkeys(log.warnings))[:_MESSAGES],
    }


def main(path: str) -> int:
    """Do what the request at `path` asks; return 0, or 1 with the reason in the answer."""
    request = json.loads(Path(path).read_text(encoding="utf-8"))
    warnings.simplefilter("ignore", DeprecationWarning)  # the library's own, about itself
    answer: dict[str, Any]
    try:
        answer = _build(request)
        code = 0
    except _RefusedError as refused:
        answer, code = refused.answer, 1
    except Exception as error:  # the library raises bare ones: report them all
        answer, code = {"error": f"{type(error).__name__}: {error}"}, 1
    target = Path(request["answer"])
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps(answer), encoding="utf-8")
    partial.replace(target)
    return code


if __name__ == "__main__":
    status = main(sys.argv[1])
    sys.stderr.flush()
    # The vendor's library can crash while Python unloads it, after all the work is done.
    os._exit(status)
