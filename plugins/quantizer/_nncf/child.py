"""The child process in which NNCF quantises a graph.

`plugins/quantizer/_nncf/process.py` runs it with a request, which names the file for the answer.
NNCF sets the class of every later logger of its process, prints bars and a log, and imports PyTorch
and OpenVINO: none of that happens to the run. Progress goes to stderr, one line each, after
`PROGRESS_MARK`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any

from core.machine.child_process import PROGRESS_MARK

__all__ = ["main"]

#: NNCF's measure of a graph is its SNR, up to this: that of the float graph itself.
MOST_DB = 120.0
#: How many messages an answer carries, and of how many characters.
_MESSAGES, _WIDTH = 6, 400
#: What the libraries that NNCF computes with read, once, when they are imported.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def _say(message: str) -> None:
    print(f"{PROGRESS_MARK}{message}", file=sys.stderr, flush=True)


class _Log(logging.Handler):
    """Keeps NNCF's warnings, each once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.messages[" ".join(record.getMessage().split())[:_WIDTH]] = None


class _Sessions:
    """Opens graphs on `threads` cores, 0 for all; sums of integers are exact."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def options(self, *, optimised: bool = True) -> Any:
        import onnxruntime

        from core.formats.onnx_session import session_options

        settings = session_options()
        if not optimised:  # opens in a third of the time, and computes integers in float
            settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        settings.intra_op_num_threads = self.threads
        # x86 processors without VNNI would saturate sums of 8-bit products.
        settings.add_session_config_entry("session.x64quantprecision", "1")
        return settings

    def open(self, model: Any) -> Any:
        import onnxruntime

        return onnxruntime.InferenceSession(
            model.SerializeToString(),
            self.options(optimised=False),
            providers=["CPUExecutionProvider"],
        )


class _Loss:
    """The SNR of a graph against the float graph, over the windows of some files."""

    def __init__(self, model: Any, files: Sequence[str], sessions: _Sessions) -> None:
        from core.formats.tensors import load

        self._sessions = sessions
        self._windows = [load(Path(file)) for file in files]
        self._expected = list(self._played(model, range(len(files))))
        self.trials = 0

    def __call__(self, model: Any, items: Iterable[int]) -> tuple[float, list[float]]:
        """Return the SNR at the worst output in dB, over all windows and for each."""
        from plugins.quantizer._nncf.loss import worst_db

        chosen = list(items)
        results = list(self._played(model, chosen))
        expected = [self._expected[item] for item in chosen]
        each = [min(worst_db([a], [b]), MOST_DB) for a, b in zip(expected, results, strict=True)]
        whole = min(worst_db(expected, results), MOST_DB)
        self.trials += 1
        _say(f"measuring what operators cost: trial {self.trials}, {whole:.1f} dB")
        return whole, each

    def _played(self, model: Any, items: Iterable[int]) -> Iterator[list[Any]]:
        session = self._sessions.open(model)
        for item in items:
            yield session.run(None, dict(self._windows[item]))


def _calibration(nncf: Any, files: Sequence[str]) -> Any:
    """Return NNCF's data set of the windows, which are read one at a time."""
    from core.formats.tensors import load

    seen = 0

    def read(file: str) -> Any:
        nonlocal seen
        seen += 1
        _say(f"quantising: {seen} windows read")
        return load(Path(file))

    return nncf.Dataset(list(files), read)


def _settings(nncf: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Return what both of NNCF's functions take."""
    from nncf.quantization import advanced_parameters as advanced
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    wanted = request["options"]
    parameters: dict[str, Any] = {
        "overflow_fix": nncf.OverflowFix(wanted["half_range"]),
        "disable_bias_correction": wanted["bias_correction"] == "none",
        "smooth_quant_alphas": advanced.AdvancedSmoothQuantParameters(
            matmul=wanted["smooth_quant"]
        ),
    }
    if wanted["ranges"]:
        parameters["activations_range_estimator_params"] = getattr(
            RangeEstimatorParametersSet, wanted["ranges"]
        )
    return {
        "preset": nncf.QuantizationPreset(wanted["preset"]),
        "subset_size": len(request["windows"]),
        "fast_bias_correction": wanted["bias_correction"] != "full",
        "model_type": nncf.ModelType.TRANSFORMER if wanted["transformer"] else None,
        "ignored_scope": nncf.IgnoredScope(names=request["ignored"], validate=False),
        "parameters": nncf.AdvancedQuantizationParameters(**parameters),
    }


def _quantise(request: dict[str, Any]) -> dict[str, Any]:
    """Quantise `request["model"]`, write it, and return what is known of it."""
    for name in _THREADS if request["threads"] else ():
        os.environ[name] = str(request["threads"])
    _say("loading NNCF")
    import nncf
    import onnx
    import onnxruntime
    from nncf.onnx import engine

    log = _Log()
    logging.getLogger("nncf").handlers[:] = [log]
    sessions = _Sessions(request["threads"])
    # NNCF opens its sessions with ONNX Runtime's defaults: on all cores, and inexact.
    engine.rt = SimpleNamespace(
        SessionOptions=sessions.options, InferenceSession=onnxruntime.InferenceSession
    )
    model = onnx.load(request["model"])
    data = _calibration(nncf, request["windows"])
    settings = _settings(nncf, request)
    parameters = settings.pop("parameters")
    answer: dict[str, Any] = {"version": nncf.__version__}
    if request["options"]["min_snr_db"] is None:
        lowered = nncf.quantize(model, data, **settings, advanced_parameters=parameters)
    else:
        loss = _Loss(model, request["held"], sessions)
        lowered = _controlled(nncf, request, model, data, settings, parameters, loss)
        items = range(len(request["held"]))
        answer["snr_db"] = loss(lowered, items)[0]
        answer["quantised_snr_db"] = loss(onnx.load(request["uncontrolled"]), items)[0]
    _say("writing the graph")
    from core.formats.onnx_graph import save

    save(lowered, Path(request["quantised"]))
    return {**answer, "warnings": list(log.messages)[:_MESSAGES]}


def _controlled(
    nncf: Any,
    request: dict[str, Any],
    model: Any,
    data: Any,
    settings: dict[str, Any],
    parameters: Any,
    loss: _Loss,
) -> Any:
    """Quantise with accuracy control; writes the graph before any operator is reverted."""
    from nncf.quantization.advanced_parameters import AdvancedAccuracyRestorerParameters

    restorer: dict[str, Any] = {
        "num_ranking_workers": 1,
        "ranking_subset_size": request["options"]["ranking_windows"],
        "intermediate_model_dir": str(Path(request["uncontrolled"]).parent),
    }
    if request["options"]["most_reverted"]:
        restorer["max_num_iterations"] = request["options"]["most_reverted"]
    return nncf.quantize_with_accuracy_control(
        model,
        calibration_dataset=data,
        validation_dataset=nncf.Dataset(list(range(len(request["held"])))),
        validation_fn=loss,
        max_drop=MOST_DB - request["options"]["min_snr_db"],
        **settings,
        advanced_quantization_parameters=parameters,
        advanced_accuracy_restorer_parameters=AdvancedAccuracyRestorerParameters(**restorer),
    )


def _node_of(error: BaseException, path: str) -> dict[str, str]:
    """Return the node that an error is about: one that its text names, else that NNCF was at."""
    import onnx

    nodes = {n.name: n.op_type for n in onnx.load(path, load_external_data=False).graph.node}
    told = str(error)
    found = max((name for name in nodes if name and name in told), key=len, default="")
    trace: TracebackType | None = None if found else error.__traceback__
    while trace is not None:  # from the outermost frame to the one that raised
        for value in trace.tb_frame.f_locals.values():
            if isinstance(value, onnx.NodeProto) and value.name in nodes:
                found = value.name
            elif str(getattr(value, "node_name", "")) in nodes:  # NNCF's own sort of node
                found = value.node_name
        trace = trace.tb_next
    return {"node": found, "operator": nodes[found]} if found else {}


def _place_of(error: BaseException) -> str:
    """Return the innermost line of NNCF that an error passed, by its path inside of NNCF."""
    found = ""
    for frame in traceback.extract_tb(error.__traceback__):
        _, inside, path = frame.filename.rpartition(f"{os.sep}site-packages{os.sep}nncf{os.sep}")
        found = f"nncf/{Path(path).as_posix()}:{frame.lineno}" if inside else found
    return found


def main(path: str) -> int:
    """Do what the request at `path` asks; return 0, or 1 with the reason in the answer."""
    request = json.loads(Path(path).read_text(encoding="utf-8"))
    answer: dict[str, Any]
    try:
        answer, code = _quantise(request), 0
    except Exception as error:  # NNCF raises bare ones: report them all
        text = f"{type(error).__name__}: {error}"
        found = {**_node_of(error, request["model"]), "raised_in": _place_of(error)}
        answer, code = {"error": text, **found}, 1
    target = Path(request["answer"])
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps(answer), encoding="utf-8")
    partial.replace(target)
    return code


if __name__ == "__main__":
    status = main(sys.argv[1])
    sys.stderr.flush()
    os._exit(status)  # no time for what the libraries do at the end
