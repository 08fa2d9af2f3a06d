"""ONNX Runtime on this machine's CPU: the settings that every session there begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.machine.cores import threads

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["session_options", "silent_onnxruntime"]


def silent_onnxruntime() -> None:
    """Import ONNX Runtime and make it record no events; call this before the first session.

    The variable in `core.machine.telemetry` silences the builds for Linux and macOS. The official
    builds for Windows send events to the system's own tracing until this call (ONNX Runtime's
    docs/Privacy.md); elsewhere it changes nothing.
    """
    import onnxruntime

    onnxruntime.disable_telemetry_events()


def session_options() -> onnxruntime.SessionOptions:
    """Return settings with this process's share of the cores, and threads that wait asleep.

    ONNX Runtime sends nothing from then on, and rounds no input to 8 bits that the graph does not.

    By default a thread of ONNX Runtime that has nothing to do keeps its core busy for a while, to
    avoid being woken. That saves 5 % while one graph runs alone. Where the graphs of a dsp
    alternate with the model's, each with its own threads, a window of the bundled HTDemucs took 66
    to 88 ms that way and 40 ms this way, on two cores (ONNX Runtime 1.31.1).
    """
    import onnxruntime

    silent_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A product with weights of 4 or 8 bits becomes MatMulNBits, whose default rounds the other
    # input to 8 bits: at `w8a16` a Gemm had 49 dB in place of 52 (ONNX Runtime 1.32.0; 1.31.1 does
    # so with weights in blocks alone). 1 is float.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    # Nothing on the terminal but what ends the process: errors arrive as exceptions too.
    options.log_severity_level = 4
    return options
