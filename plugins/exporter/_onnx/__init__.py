"""What the exporters share: options, the flow of an export to ONNX, facts, verification."""

from plugins.exporter._onnx.axes import free_axes
from plugins.exporter._onnx.export import OnnxExporter
from plugins.exporter._onnx.options import ExportOptions, ExternalData
from plugins.exporter._onnx.verify import check_same, verify_others

__all__ = [
    "ExportOptions",
    "ExternalData",
    "OnnxExporter",
    "check_same",
    "free_axes",
    "verify_others",
]
