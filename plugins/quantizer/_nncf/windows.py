"""Writes calibration windows to files, for a process that reads one at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import Calibration, InputError, Notice
from core.formats.onnx_session import session_options
from core.formats.tensors import save
from core.plugin.progress import Progress
from plugins.quantizer._onnx.calibration.endless import check_outputs
from plugins.quantizer._onnx.graph.constants import failures
from plugins.quantizer._onnx.graph.feeding import fitting, refused
from plugins.quantizer._windows import finite
from plugins.quantizer._windows.held import held_windows

__all__ = ["Written", "written"]


@dataclass(frozen=True)
class Written:
    """The files of windows: those that ranges come from, and those held back from them."""

    windows: tuple[Path, ...]
    held: tuple[Path, ...]
    apart: bool
    """Whether the windows held back are other ones; false for a stream too short."""
    notices: tuple[Notice, ...]


def written(model: Path, calibration: Calibration, held: int, progress: Progress) -> Written:
    """Write the windows beside the graph `model`, with the inputs that it takes.

    About `held` windows are held back from ranges; from a stream too short to hold any back, those
    held back are all windows. Raises InputError for windows that hold NaN or infinities, that do
    not fit the graph, and that are nothing but zeros; StageError for a graph that cannot be opened,
    and for one that gives NaN or infinities that it does not mean.
    """
    import numpy as np
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(
            str(model), session_options(), providers=["CPUExecutionProvider"]
        )
    except failures() as error:
        raise refused("open the graph", error) from error
    inputs = session.get_inputs()
    wanted = set(held_windows(calibration, held)) if held else set()
    peaks: dict[str, float] = {}
    files: list[Path] = []
    for index, feeds in enumerate(finite(calibration), 1):
        progress(index - 1, calibration.count, "preparing calibration windows")
        given = fitting(inputs, feeds, index)
        try:
            outputs = session.run(None, dict(given))
        except failures() as error:
            raise refused(f"run the graph on calibration window {index}", error) from error
        if not all(np.isfinite(one).all() for one in outputs if _is_float(one)):
            check_outputs(model, given)
        for name, values in given.items():
            if values.dtype.kind == "f":
                peak = float(np.abs(values).max(initial=0))
                peaks[name] = max(peaks.get(name, 0.0), peak)
        files.append(model.with_name(f"window_{index}.safetensors"))
        save(given, files[-1])
    # The stream may hold fewer windows than its count.
    apart = [file for index, file in enumerate(files) if index in wanted]
    others = [file for file in files if file not in apart]
    return Written(
        tuple(others or files),
        tuple(apart or files) if held else (),
        bool(apart and others),
        _silent(peaks),
    )


def _is_float(values: Any) -> bool:
    kind: str = getattr(getattr(values, "dtype", None), "kind", "")
    return kind == "f"


def _silent(peaks: dict[str, float]) -> tuple[Notice, ...]:
    """Return the notice about inputs that were zero in all windows; raises where all were."""
    silent = [name for name, peak in peaks.items() if peak == 0]
    if not silent:
        return ()
    if len(silent) == len(peaks):
        raise InputError(
            "the calibration data is silent: every value of every window is zero, so there is no "
            "range to quantise to",
            "give it data with a signal: calibration=...",
        )
    named = ", ".join(f"`{name}`" for name in silent)
    text = f"calibration data is zero in all windows at {named}: other values there are clipped"
    return (Notice("warning", f"{text}; give data that has them: calibration=..."),)
