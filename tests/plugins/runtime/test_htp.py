"""Qualcomm's compiler and emulator run in a process, and every failure has its message."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from core.machine.child_process import ChildEnd, Limits, run_watched
from plugins.runtime._htp import library
from plugins.runtime._htp.failure import QnnFailure, failure_of
from plugins.runtime._htp.process import HtpDevice, available, compile_context, emulate

REASON = available()
needs_qnn = pytest.mark.skipif(REASON is not None, reason=str(REASON))


def tiny(path: Path) -> Path:
    """Write a convolution with a ReLU as an ONNX file."""
    weight = np.random.default_rng(0).normal(size=(8, 4, 3, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "weight"], ["hidden"], pads=[1, 0, 1, 0], name="conv"),
        helper.make_node("Relu", ["hidden"], ["y"], name="relu"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 64, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 64, 8])],
        [numpy_helper.from_array(weight, "weight")],
    )
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


@needs_qnn
def test_compiles_and_emulates(tmp_path: Path) -> None:
    """The compiler gives one partition, and the emulator agrees with the CPU by over 50 dB."""
    onnxruntime = pytest.importorskip("onnxruntime")
    model = tiny(tmp_path / "tiny.onnx")
    told: list[tuple[str, float]] = []
    compiled = compile_context(
        model,
        tmp_path / "tiny_ctx.onnx",
        folder=tmp_path,
        progress=lambda message, elapsed: told.append((message, elapsed)),
    )
    assert (compiled.partitions, compiled.left, compiled.ends) == (1, (), 0)
    assert compiled.nodes == 2
    assert compiled.binary_bytes == sum(path.stat().st_size for path in compiled.binaries) > 0
    assert compiled.peak_rss_bytes > 10**7
    assert told
    assert told[0][1] < 5

    chunks = np.random.default_rng(1).normal(size=(3, 1, 4, 64, 8)).astype(np.float32)
    np.savez(tmp_path / "in.npz", x=chunks)
    emulated = emulate(compiled.path, tmp_path / "in.npz", tmp_path / "out.npz", folder=tmp_path)
    assert len(emulated.seconds_per_chunk) == 3
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    with np.load(emulated.outputs) as outputs:
        assert outputs["y"].shape == (3, 1, 8, 64, 8)
        for chunk, actual in zip(chunks, outputs["y"], strict=True):
            (expected,) = session.run(["y"], {"x": chunk})
            error = np.sum((expected - actual) ** 2)
            assert 10 * np.log10(np.sum(expected**2) / error) > 50
    assert not list(tmp_path.glob("qnn-*"))


@needs_qnn
def test_compiling_twice_replaces(tmp_path: Path) -> None:
    """An existing context is replaced by a second compilation."""
    model = tiny(tmp_path / "tiny.onnx")
    for mode in (0, 1):
        compiled = compile_context(
            model,
            tmp_path / "tiny_ctx.onnx",
            folder=tmp_path,
            device=HtpDevice(finalization_mode=mode),
        )
    assert compiled.partitions == 1


@needs_qnn
def test_a_model_that_cannot_be_read(tmp_path: Path) -> None:
    """The error for an unreadable model has the library's message and the model's name."""
    (tmp_path / "broken.onnx").write_bytes(b"not a graph")
    with pytest.raises(QnnFailure, match=r"compiling `broken.onnx`") as failure:
        compile_context(tmp_path / "broken.onnx", tmp_path / "ctx.onnx", folder=tmp_path)
    assert failure.value.cause == "refused"


@needs_qnn
def test_the_time_limit(tmp_path: Path) -> None:
    """A time limit that is too short stops the child, and the message says the limit."""
    with pytest.raises(QnnFailure, match=r"longer than 0.05 s") as failure:
        compile_context(
            tiny(tmp_path / "tiny.onnx"),
            tmp_path / "ctx.onnx",
            folder=tmp_path,
            limits=Limits(seconds=0.05),
        )
    assert failure.value.cause == "timeout"
    assert not list(tmp_path.glob("qnn-*"))


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the library, the reason has the install command and no process starts."""
    find = library.importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "onnxruntime_qnn" else find(name)
    )
    reason = available()
    assert reason is not None
    assert "pip install" in reason
    with pytest.raises(QnnFailure) as failure:
        compile_context(tmp_path / "m.onnx", tmp_path / "c.onnx", folder=tmp_path)
    assert failure.value.cause == "missing"


def python(code: str) -> list[str]:
    """Return the command that runs `code`."""
    return [sys.executable, "-c", textwrap.dedent(code)]


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="POSIX signals")
@pytest.mark.parametrize(
    ("number", "words", "cause"),
    [(signal.SIGSEGV, "SIGSEGV", "crash"), (signal.SIGKILL, "for memory", "killed")],
)
def test_a_death_is_translated(
    tmp_path: Path, number: signal.Signals, words: str, cause: str
) -> None:
    """A crash of the library and a kill for lack of memory have a message each."""
    code = f"import os; os.kill(os.getpid(), {int(number)})"
    limits = Limits(20)
    failure = failure_of(
        "compiling `m.onnx`", run_watched(python(code), limits=limits, folder=tmp_path), limits, ""
    )
    assert words in failure.reason
    assert failure.cause == cause


def test_the_devices_memory_is_told_from_this_machines() -> None:
    """QNN's error 1002 is about the phone's memory, so the hint says to shorten the chunk."""
    tail = "Failed to finalize QNN graph. Error code: 1002 QNN_COMMON_ERROR_MEM_ALLOC"
    end = ChildEnd("exit", 1, tail, 10**9, 60.0)
    failure = failure_of("compiling `m.onnx`", end, Limits(), "RuntimeError: no context")
    assert failure.cause == "device_memory"
    assert "1002" in str(failure)
    assert "shorter chunk" in failure.hint
