"""The results of other tools on the same float graph and data: the reference of every cell.

The tools are ONNX Runtime's `quantize_static`, its `quantize_dynamic` and its converter to FP16,
torchao's own quantizer for x86, and PyTorch's autocast, all with their default settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["PRODUCTS", "REFERENCES", "Windows", "played"]

Windows = Sequence[Mapping[str, Any]]
#: Operators with weights: if only these are quantised, the rest of a graph stays unchanged.
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def played(path: Path, windows: Windows) -> list[dict[str, Any]]:
    """Return the outputs of ONNX Runtime's CPU for each window."""
    import onnxruntime

    from core.formats.onnx_session import session_options

    settings = session_options()
    settings.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    taken = {given.name for given in session.get_inputs()}
    return [
        dict(
            zip(names, session.run(names, {n: a for n, a in w.items() if n in taken}), strict=True)
        )
        for w in windows
    ]


def _static(
    source: Path, target: Path, calibration: Windows, weight: str, activation: str, *only: str
) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # ships no types
        def __init__(self) -> None:
            self.left = iter([dict(window) for window in calibration])

        def get_next(self) -> dict[str, Any] | None:
            return next(self.left, None)

    quantize_static(
        source,
        target,
        Reader(),
        activation_type=QuantType[activation],
        weight_type=QuantType[weight],
        op_types_to_quantize=list(only) or None,
    )


def _dynamic(source: Path, target: Path, _: Windows) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(source, target, op_types_to_quantize=["MatMul", "Gemm"])


def _half(source: Path, target: Path, _: Windows) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(str(source)), keep_io_types=True), str(target))


def _int8(source: Path, target: Path, calibration: Windows, *only: str) -> None:
    _static(source, target, calibration, "QInt8", "QUInt8", *only)


def _w8a16(source: Path, target: Path, calibration: Windows, *only: str) -> None:
    _static(source, target, calibration, "QInt8", "QUInt16", *only)


def _w4a16(source: Path, target: Path, calibration: Windows, *only: str) -> None:
    _static(source, target, calibration, "QInt4", "QUInt16", *only)


#: The functions that quantise a graph for comparison, by precision.
REFERENCES: dict[str, Callable[..., None]] = {
    "a8w8": _int8,
    "int8": _int8,
    "qat": _int8,
    "mixed": _int8,
    "w8a16": _w8a16,
    "w4a16": _w4a16,
    "dynamic": _dynamic,
    "fp16": _half,
}
