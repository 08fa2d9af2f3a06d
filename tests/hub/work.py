"""The jobs of the stand-in: ONNX Runtime does them on this machine's CPU."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import traceback
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
from qai_hub import public_api_pb2 as pb
from qai_hub.util.dataset_entries_converters import h5_to_dataset_entries

from tests.hub.cloud import STATES, Blob, Cloud, kind_of

Entries = dict[str, list[Any]]


def do(cloud: Cloud, job_id: str) -> None:
    """Do one job to its end, through the states that the service shows."""
    job = cloud.jobs[job_id]
    kind = kind_of(job)
    detail = getattr(job, f"{kind}_job")
    faults = cloud.faults
    detail.start_time.GetCurrentTime()
    if faults.held_state is not None:
        detail.job_state = faults.held_state
        faults.resume.wait()
    if kind in faults.failing and faults.take("failures"):
        detail.failure_reason, job.failure_type = faults.failing[kind]
        _end(detail, STATES.JOB_STATE_FAILED)
        return
    try:
        {"compile": _compile, "quantize": _quantize, "inference": _infer}[kind](cloud, detail)
    except Exception as error:
        detail.failure_reason = f"{type(error).__name__}: {error}"
        detail.error_details = traceback.format_exc()
        _end(detail, STATES.JOB_STATE_FAILED)
        return
    _end(detail, STATES.JOB_STATE_DONE)


def _end(detail: Any, state: int) -> None:
    detail.completion_time.GetCurrentTime()
    detail.job_state = state


def _compile(cloud: Cloud, detail: pb.CompileJob) -> None:
    """Return the graph unchanged: in an archive as a precompiled graph, bare as `onnx`."""
    detail.job_state = STATES.JOB_STATE_OPTIMIZING_MODEL
    source, target = cloud.models[detail.model.model_id], cloud.models[detail.target_model.model_id]
    graph = _graph(source)
    _, _, runtime = detail.options.partition("--target_runtime ")
    if runtime == "onnx":
        shutil.copyfile(graph, target.file)
        target.filename = "compiled.onnx"
    elif runtime == "precompiled_qnn_onnx":
        target.filename = "compiled.onnx.zip"
        with zipfile.ZipFile(target.file, "w") as archive:
            for file in sorted(graph.parent.iterdir()) if source.about.is_directory else [graph]:
                name = "model.onnx" if file == graph else file.name
                archive.write(file, f"compiled.onnx/{name}")
    else:
        raise ValueError(f"this server has no compiler for {runtime}")
    target.about.file_upload_complete = True
    detail.target_model.CopyFrom(target.about)


def _quantize(cloud: Cloud, detail: pb.QuantizeJob) -> None:
    """Quantise with ONNX Runtime's static quantizer, on the uploaded windows."""
    from onnxruntime import quantization

    detail.job_state = STATES.JOB_STATE_QUANTIZING_MODEL
    source, target = cloud.models[detail.model.model_id], cloud.models[detail.target_model.model_id]
    entries = _entries(cloud.datasets[detail.calibration_dataset.dataset_id])
    windows = [
        dict(zip(entries, values, strict=True)) for values in zip(*entries.values(), strict=True)
    ]

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # ships no types
        def __init__(self) -> None:
            self.left = iter(windows)

        def get_next(self) -> Any:
            return next(self.left, None)

    wide = detail.activations_dtype == pb.QuantizeDtype.QUANTIZE_DTYPE_INT16
    quantization.quantize_static(
        str(_graph(source)),
        str(target.file),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt16 if wide else quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    target.filename = "quantized.onnx"
    target.about.file_upload_complete = True
    detail.target_model.CopyFrom(target.about)


def _infer(cloud: Cloud, detail: pb.InferenceJob) -> None:
    """Run every window, and report the time per window as measured here."""
    import onnxruntime

    detail.job_state = STATES.JOB_STATE_RUNNING_INFERENCE
    graph = _graph(cloud.models[detail.model.model_id])
    started = time.perf_counter()
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    load_s = time.perf_counter() - started
    names = [output.name for output in session.get_outputs()]
    made = cloud.add_dataset(f"{detail.name}-outputs")
    times: list[int] = []
    first: dict[str, Any] = {}
    source = cloud.datasets[detail.dataset.dataset_id].file
    with h5py.File(source, "r") as given, h5py.File(made.file, "w") as file:
        inputs = {str(g.attrs["name"]): g for g in given["data"].values()}
        (count,) = {int(g.attrs["batch_count"]) for g in inputs.values()}
        for order, name in enumerate(names):
            attributes = file.create_group(f"data/{order}").attrs
            attributes["order"], attributes["name"], attributes["batch_count"] = order, name, count
        for number in range(count):
            feeds = {name: np.array(group[f"batch_{number}"]) for name, group in inputs.items()}
            first = first or feeds
            started = time.perf_counter()
            values = session.run(names, feeds)
            times.append(round(1e6 * (time.perf_counter() - started)))
            for order, value in enumerate(values):
                file[f"data/{order}"].create_dataset(f"batch_{number}", data=value)
    made.about.file_upload_complete = True
    detail.execution_time = sorted(times)[len(times) // 2]
    detail.execution_peak_memory.lower = psutil.Process().memory_info().rss // 2
    detail.execution_peak_memory.upper = psutil.Process().memory_info().rss
    result = pb.JobResult()
    result.inference_job_result.output_dataset_id = made.about.dataset_id
    if detail.is_profiling_on:
        detail.job_state = STATES.JOB_STATE_MEASURING_PERFORMANCE
        result.inference_job_result.detail.CopyFrom(_profile(graph, first, times, load_s))
    cloud.results[detail.inference_job_id] = result


def _profile(graph: Path, feeds: Entries, times: list[int], load_s: float) -> pb.ProfileDetail:
    """Return the measurements of ONNX Runtime's profiler for one window, node by node."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = f"{folder}/profile"
        started = time.perf_counter()
        session = onnxruntime.InferenceSession(str(graph), options, ["CPUExecutionProvider"])
        warm_s = time.perf_counter() - started
        session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text())
    memory = psutil.Process().memory_info().rss
    about = pb.ProfileDetail(
        major_version=1,
        minor_version=2,
        execution_time=sorted(times)[len(times) // 2],
        cold_load_time=round(1e6 * load_s),
        warm_load_time=round(1e6 * warm_s),
        all_execution_times=times,
    )
    for stage in (about.cold_load_memory, about.warm_load_memory, about.execution_memory):
        stage.peak.lower, stage.peak.upper = memory // 2, memory
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            about.layer_details.add(
                name=event["name"].removesuffix("_kernel_time"),
                layer_type_name=event["args"]["op_name"],
                compute_unit=pb.ComputeUnit.COMPUTE_UNIT_CPU,
                execution_time=event["dur"],
            )
    return about


def _entries(dataset: Blob) -> Entries:
    with h5py.File(dataset.file, "r") as file:
        return {str(name): list(arrays) for name, arrays in h5_to_dataset_entries(file).items()}


def _graph(model: Blob) -> Path:
    """Return the graph of a model as a file that ONNX Runtime opens, unpacked if necessary."""
    if not zipfile.is_zipfile(model.file):
        named = model.file.with_name(f"{model.file.name}.onnx")
        if not named.exists():
            shutil.copyfile(model.file, named)
        return named
    folder = model.file.with_name(f"{model.file.name}.unpacked")
    with zipfile.ZipFile(model.file) as archive:
        archive.extractall(folder)
    (graph,) = (file for file in folder.rglob("*.onnx") if file.is_file())
    return graph
