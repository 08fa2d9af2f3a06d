"""What the exporters share: options, the flow of an export to ONNX, facts, verification."""

from plugins.exporter.graph_file.axes import free_axes
from plugins.exporter.graph_file.export import OnnxExporter
from plugins.exporter.graph_file.options import ExportOptions, ExternalData
from plugins.exporter.graph_file.verify import check_same, verify_others

__all__ = [
    "ExportOptions",
    "ExternalData",
    "OnnxExporter",
    "check_same",
    "free_axes",
    "verify_others",
]
