"""A realistic run to report on: the recipe `s24_int8`, partly from a store, with short sounds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core import (
    Array,
    Artifact,
    Fact,
    Metric,
    ModelInfo,
    Notice,
    SavedFile,
    Signature,
    Target,
    TensorSpec,
)
from core.formats.tensors import save
from core.plugin.placement import Placed, Placement
from core.plugin.records import (
    BudgetLine,
    CandidateRecord,
    Judged,
    PlacementRecord,
    PlayedItem,
    RunRecord,
    StageRecord,
)
from core.plugin.values import Row
from tests.plugins.reporter import chromium
from tests.plugins.reporter.chromium import Browser

RATE = 44100
STEMS = ("drums", "bass", "other", "vocals")
CPU = "CPU (ONNX Runtime 1.31.1)"
EMULATOR = "HTP emulator on x86-64 (QNN 2.51, SM8650, v75)"
NAMES = ("Evening Song", "AC/DC <b>live</b> \"quoted\" & 'more'")

SIGNATURE = Signature(
    (TensorSpec("mix", ("channel", "time"), (2, "T"), rates={"time": 44100.0}),),
    (
        TensorSpec(
            "stems", ("stem", "channel", "time"), (4, 2, "T"),
            rates={"time": 44100.0}, labels={"stem": STEMS},
        ),
    ),
)  # fmt: skip
INFO = ModelInfo(
    SIGNATURE, ("mix", "mag"), ("time_out", "spec_out"), {"n_fft": 4096, "hop": 1024},
    {"time": 343980}, 904_812, "bundled htdemucs_small, trained on generated songs", "Apache-2.0",
)  # fmt: skip
UNSUPPORTED = "Operators of type `Erf` are not supported by QNN EP."
NPU_FACTS: dict[str, Fact] = {
    "partitions": 1, "nodes_total": 738, "nodes_on_npu": 735, "nodes_on_cpu": 3,
    "cpu_nodes": [
        {"node": "/encoder.0/dconv/Erf", "operator": "Erf", "reason": UNSUPPORTED},
        {"node": "/encoder.1/dconv/Erf", "operator": "Erf", "reason": UNSUPPORTED},
        {"node": "/mask/Cast", "operator": "Cast", "reason": "the provider gives no reason"},
    ],
    "npu_op_counts": {
        "Conv": 96, "Mul": 142, "Add": 131, "Reshape": 88, "Transpose": 61, "MatMul": 58,
        "Sigmoid": 40, "ReduceMean": 36, "Slice": 30, "Gelu": 28, "Concat": 15, "Softmax": 10,
    },
}  # fmt: skip


def part(name: str, macs: int, low: float | None, high: float | None, level: str) -> Row:
    """Return a row of the sensitivity chart of `mixed`."""
    return {"name": name, "macs": macs, "snr_8_db": low, "snr_16_db": high, "level": level}


QUANTISED: dict[str, Fact] = {
    "sensitivity": [
        part("/encoder.0/conv", 120000000, 24.1, 61.2, "int16"),
        part("/encoder.1/conv", 280000000, 48.7, 74.0, "int8"),
        part("/crosstransformer/layers.0/linear1", 600000000, None, None, "int8"),
    ],
    "worst_tensors": [
        {"tensor": "/decoder.3/Add_output_0", "operator": "Add", "snr_db": 21.4},
        {"tensor": "/encoder.0/Gelu_output_0", "operator": "Gelu", "snr_db": 30.2},
    ],
}
CENSUS: dict[str, Fact] = {
    "nodes_by_precision": {"a8": 266, "a16": 81, "w8a8": 58, "w8a16": 28},
    "macs_by_precision": {"w8a8": 675479552, "w8a16": 498139136},
    "macs": 1173618688,
    "moved_bytes": 159759788,
}
FACTS = {"runtime": NPU_FACTS, "quantizer": QUANTISED, "precision_census": CENSUS}
CONTRACT = (
    Judged(
        "min_snr_db",
        30.0,
        34.4,
        "dB",
        EMULATOR,
        held=True,
        where="other of 1 window",
        is_least=True,
    ),
    Judged(
        "max_sdr_drop_db",
        0.1,
        0.12,
        "dB",
        CPU,
        held=False,
        guilty="lost by quantizer: 117.6 → 35.9 dB",
    ),
)
RUNGS = (
    CandidateRecord(
        "a8w8",
        "missed",
        "`max_sdr_drop_db` asks for at most 0.1 dB: 1.2 dB, 1.1 dB off",
        CONTRACT,
        14.7,
        1_500_000,
    ),
    CandidateRecord(
        "int8", "held", "", CONTRACT[:1], 35.2, 1_600_000, 159.8e6, "a window moves 160 MB"
    ),
    CandidateRecord("bf16", "refused", "quantizer `torch_half` accepts torch_export"),
    CandidateRecord("fp16", "not tried"),
)
PLACEMENTS = (
    PlacementRecord(
        "probe", "runtime `qnn`", EMULATOR,
        Placement(
            "ONNX Runtime's profile and the compiler's partition map",
            (Placed("HTP (emulated)", 735, "w8a8"), Placed("CPU", 3, "fp32", asked=False)),
            (("/encoder.0/dconv/Erf", "Erf"), ("/mask/<b>Cast", "Cast")),
        ),
    ),
    PlacementRecord("play", "runtime `onnxruntime`", CPU, None),
)  # fmt: skip
#: Name, title, plugin, format, precision, megabytes, seconds when made, peak MB, ran now, options.
STAGES: tuple[tuple[str, str, str, str, str, float, float, float, bool, dict[str, Fact]], ...] = (
    ("model", "load the weights", "model `htdemucs`", "torch", "fp32",
     3.6, 0.4, 310, False, {"layout": "npu", "weights": "bundled"}),
    ("exporter", "export", "exporter `onnx`", "onnx", "fp32", 4.4, 6.2, 870, False,
     {"opset": 20, "dynamo": False}),
    ("graph.onnxsim", "rewrite the graph", "graph `onnxsim`", "onnx", "fp32",
     4.0, 1.7, 640, False, {}),
    ("quantizer", "quantise", "quantizer `qdq`", "onnx", "int8", 1.6, 21.4, 1420, True,
     {"activation": "uint8", "weight": "int8", "windows": 16, "per_channel": True}),
    ("runtime", "compile for Samsung Galaxy S24 (Snapdragon 8 Gen 3)", "runtime `qnn`",
     "onnx+qnn-context", "int8", 2.9, 48.8, 1610, True, {"soc_model": 57, "htp_arch": "75"}),
    ("precision_census", "count the operations at each precision", "core", "facts", "fp32",
     0.001, 0.2, 300, False, {}),
    ("sample", "take windows to compare on", "model `htdemucs`", "tensors", "fp32",
     6.4, 3.1, 900, False, {}),
    ("budget.exporter", "compare exporter with FP32 PyTorch", "runtime `onnxruntime`", "facts",
     "fp32", 0.001, 0.9, 500, False, {}),
    ("budget.graph.onnxsim", "compare graph.onnxsim with FP32 PyTorch", "runtime `onnxruntime`",
     "facts", "fp32", 0.001, 0.8, 500, False, {}),
    ("budget.quantizer", "compare quantizer with FP32 PyTorch", "runtime `onnxruntime`", "facts",
     "fp32", 0.001, 1.1, 510, True, {}),
    ("probe", "run a few windows on the compiled model", "runtime `qnn`", "facts", "fp32",
     0.001, 14.2, 2100, True, {}),
    ("reference", "play the whole input in FP32 PyTorch", "model `htdemucs`", "tensors", "fp32",
     84.7, 11.3, 1240, False, {}),
    ("play", "play the whole input", "runtime `onnxruntime`", "tensors", "fp32",
     42.3, 6.9, 730, True, {"length": 44100, "overlap": 0.25}),
    ("evaluate", "measure the result", "evaluator `separation`", "facts", "fp32", 0.01, 2.6, 1100,
     True, {}),
    ("save", "write the result as files", "dataset `synthetic`", "files", "fp32", 26.5, 0.3, 700,
     True, {}),
)  # fmt: skip
CONFIG = """# Reproduces this run: python -m core recipe=recipe.lock.yaml
title: HTDemucs on a Galaxy S24's NPU, 8-bit weights and activations
target: s24
precision: int8
model:
  plugin: htdemucs
  layout: npu
dataset:
  plugin: files
  path: {path}
  api_token: hf_AbCdEf123456
chunker:
  plugin: overlap_add
  length: 44100
  overlap: 0.25
"""


def make_stems(seconds: float, rate: int = RATE) -> dict[str, Array]:
    """Return four stems (time,): noise bursts, gliding tones, chords."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).standard_normal(len(time))
    return {
        "drums": noise * np.exp(-9 * (time % 0.5)) * 0.3,
        "bass": np.sin(2 * np.pi * 55 * 2 ** (np.floor(time * 2) % 5 / 12) * time) * 0.3,
        "other": sum(np.sin(2 * np.pi * f * time) for f in (262, 330, 392)) * 0.08,
        "vocals": np.sin(2 * np.pi * (440 * time + 30 * np.sin(5 * time))) * 0.2,
    }


def write_results(folder: Path, seconds: float) -> tuple[PlayedItem, ...]:
    """Write what `reference` and `play` keep of every item, and return the items.

    The shipped graph is 0.1 dB quieter everywhere. In the bass a tone is added from 1.5 s to 1.6 s.
    """
    time = np.arange(round(seconds * RATE)) / RATE
    burst = np.where((time >= 1.5) & (time < 1.6), 0.05 * np.sin(2 * np.pi * 900 * time), 0)
    mono = np.stack([*make_stems(seconds).values()])
    reference = np.stack([mono, 0.8 * mono], axis=1).astype(np.float32)
    played = 10 ** (-0.1 / 20) * reference
    played[STEMS.index("bass")] += burst.astype(np.float32)
    items = []
    spans = tuple((s, min(s + RATE, len(time))) for s in range(0, len(time), 3 * RATE // 4))
    for name, content in (("reference", reference), ("play", played)):
        file = folder / "store" / name / "main"
        file.parent.mkdir(parents=True, exist_ok=True)
        save({f"id-{number}/stems": content for number in range(len(NAMES))}, file)
    for number, name in enumerate(NAMES):
        items.append(PlayedItem(f"id-{number}", name, {"time": spans}))
    return tuple(items)


def write_sounds(folder: Path, seconds: float, rate: int = RATE) -> tuple[SavedFile, ...]:
    """Write a mixture and four stems per item: gliding tones, noise bursts, chords."""
    stems = make_stems(seconds, rate)
    saved = []
    for number, item in enumerate(NAMES):
        for label, sound in {"mixture": sum(stems.values()), **stems}.items():
            path = f"stems/{number} {label}.wav"
            (folder / "stems").mkdir(exist_ok=True)
            both = np.stack([sound, 0.8 * sound], axis=1)
            soundfile.write(folder / path, both, rate, subtype="PCM_16")
            saved.append(SavedFile(path, label, item))
    return tuple(saved)


def stages(folder: Path) -> tuple[StageRecord, ...]:
    """Return every step of the recipe, with its artifact in a store's place."""
    return tuple(
        StageRecord(
            name, title, plugin, "ran" if ran else "cached", took if ran else 0.02,
            Artifact(
                str(folder / "store" / name), str(folder / "store" / name / "main"), form,
                precision,
                "0" * 64, int(size * 1e6), (name,), INFO, FACTS.get(name, {}),
                (), "2026-11-20T11:02:03+00:00", took, peak,
            ),
            {**options, "cache": str(folder / "cache")} if name == "exporter" else options,
        )
        for name, title, plugin, form, precision, size, took, peak, ran, options in STAGES
    )  # fmt: skip


def metrics() -> tuple[Metric, ...]:
    """Return the metrics of the core and of `separation`, for both items."""
    found = [
        Metric("latency", 121.4, "ms", CPU, statistic="median", better="lower"),
        Metric("latency", 109.6, "ms", CPU, statistic="p5", better="lower"),
        Metric("latency", 148.9, "ms", CPU, statistic="p95", better="lower"),
        Metric("real_time_factor", 0.163, "×", CPU, better="lower"),
        Metric("cold_start", 412.0, "ms", CPU, better="lower", note="open and first window"),
        Metric("cold_start", 380.4, "ms", CPU, statistic="open", better="lower"),
        Metric("cold_start", 31.6, "ms", CPU, statistic="first window", better="lower"),
        Metric("cold_start", 18.2, "ms", CPU, statistic="second window", better="lower"),
        Metric("peak_memory", 731.0, "MB", CPU, better="lower", note="whole process"),
    ]
    sdr = dict(zip((*STEMS, "mean"), (9.31, 8.02, 5.47, 7.88, 7.67), strict=True))
    for item in NAMES:
        for label, db in {"": 35.2, **dict.fromkeys(STEMS, 34.1)}.items():
            note = "against FP32 PyTorch with the same windows"
            found.append(
                Metric("parity_snr", db, "dB", CPU, item, label, better="higher", note=note)
            )
        for label, db in sdr.items():
            of = (item, "", "mean") if label == "mean" else (item, label, "")
            found += [
                Metric("sdr", db, "dB", CPU, *of, "higher"),
                Metric("si_sdr", db - 0.6, "dB", CPU, *of, "higher"),
                Metric("sdr_reference", db + 0.12, "dB", CPU, *of, "higher"),
                Metric("sdr_drop", 0.12, "dB", CPU, *of, "lower"),
                Metric("sdr_mixture", db - 8.4, "dB", CPU, *of, "neither"),
                Metric("seam_error", -61.3, "dB", CPU, *of, "lower"),
            ]
    return tuple(found)


def make_record(folder: Path, seconds: float) -> RunRecord:
    """Return the record of a whole run, whose sounds are in `folder`."""

    def line(
        stage: str,
        db: float,
        step: float,
        total: float | None,
        *,
        device: str = CPU,
        windows: int = 2,
        took: float | None = 0.14,
        note: str = "",
    ) -> BudgetLine:
        def labels(of: float | None) -> tuple[float, ...]:
            offsets = (1.8, 4.1, -2.2, -0.7)
            return () if of is None else tuple(round(of + offset, 1) for offset in offsets)

        return BudgetLine(
            stage, db, device, windows, STEMS, labels(db), took, step, labels(step), total,
            labels(total), note,
        )  # fmt: skip

    return RunRecord(
        recipe="s24_int8",
        title="HTDemucs on a Galaxy S24's NPU, 8-bit weights and activations",
        started="2026-11-20T11:44:34+00:00",
        seconds=104.6,
        target=Target(
            "s24", "Samsung Galaxy S24 (Snapdragon 8 Gen 3)", ["fp16", "int8"]
        ),
        precision="int8",
        signature=SIGNATURE,
        weights=INFO.weights,
        parameters=INFO.parameters,
        licence=INFO.licence,
        notices=(
            Notice("danger", "random weights: the stems will not be separated"),
            Notice("warning", "fallback to bundled: `htdemucs` could not be fetched"),
            Notice("info", "the songs were generated, not recorded"),
        ),
        stages=stages(folder),
        budget=(
            line("chunk", 28.7, 28.7, 28.7, device="CPU (PyTorch)", took=None,
                 note="windows of 1.00 s; the training had 2.00 s"),
            line("exporter", 117.8, 117.8, 28.7, took=0.18),
            line("graph.onnxsim", 117.6, 131.1, 28.7, took=0.12),
            line("quantizer", 35.9, 35.9, 27.9, took=0.15),
            line("probe", 34.4, 41.2, None, device=EMULATOR, windows=1, took=6.5,
                 note="1 of the 2 windows; compared with the row before on these only"),
            BudgetLine("play", 35.2, CPU, 0, STEMS, (35.2,) * 4, total_db=28.1,
                       label_total_db=(29.9, 32.2, 25.9, 27.4),
                       note="all of its windows, so it is not compared with the rows above"),
        ),
        metrics=metrics(),
        saved=write_sounds(folder, seconds),
        played_on=CPU,
        probed_on=EMULATOR,
        target_took_part=False,
        config=CONFIG.format(path=folder / "my songs" / "evening song.flac"),
        versions={"luthier": "0.1.0", "torch": "2.13.0", "onnxruntime": "1.31.1"},
        machine="x86_64, 2 cores, 24 GiB memory, Linux, Python 3.11.9",
        contract=CONTRACT,
        candidates=RUNGS,
        chosen="int8 is the fastest that holds the contract: a window moves 160 MB",
        placements=PLACEMENTS,
        items=write_results(folder, seconds),
        command=f"python -m core recipe=s24_int8 'input={folder}/my songs/evening song.flac'",
    )  # fmt: skip


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty run folder for the module."""
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def record(run_folder: Path) -> RunRecord:
    """Return a run whose target took no part."""
    return make_record(run_folder, 2.0)


@pytest.fixture
def on_target(record: RunRecord) -> RunRecord:
    """Return a run that the target itself played."""
    target = Target("cpu", "this machine's CPU")
    return dataclasses.replace(record, target=target, target_took_part=True, probed_on="")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Give one browser to all tests of a module."""
    if not chromium.PATH:
        pytest.skip(f"needs a browser, one of: {', '.join(chromium.NAMES)}")
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()
