"""ONNX Runtime on this machine's CPU: the settings that all who open a graph there begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.machine.cores import threads

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["session_options", "silent_onnxruntime"]


def silent_onnxruntime() -> None:
    """Tell ONNX Runtime, once imported, to record no events: a call before the first session.

    The variable of `core.machine.telemetry` reaches the builds for Linux and macOS. The official
    builds for Windows hand events to the system's own tracing until they are told otherwise by this
    call (its docs/Privacy.md); elsewhere it changes nothing.
    """
    import onnxruntime

    onnxruntime.disable_telemetry_events()


def session_options() -> onnxruntime.SessionOptions:
    """Return settings with this process's share of the cores, and threads that wait asleep.

    ONNX Runtime sends nothing from then on.

    By default a thread of ONNX Runtime that has nothing to do keeps its core busy for a while,
    lest it must be woken. That spares 5 % while one graph runs and nothing else. Where the graphs
    of a dsp run in turn with the model's, each with threads of its own, a window of the bundled
    HTDemucs took 66 to 88 ms that way and 40 ms this way, on two cores (ONNX Runtime 1.31.1).
    """
    import onnxruntime

    silent_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Nothing on the terminal but what ends the process: errors arrive as exceptions too.
    options.log_severity_level = 4
    return options
