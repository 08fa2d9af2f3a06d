"""What the exporters to ONNX share: options, the flow of an export, facts, verification."""

from plugins.exporter.graph_file.axes import free_axes
from plugins.exporter.graph_file.export import OnnxExporter
from plugins.exporter.graph_file.options import ExportOptions, ExternalData

__all__ = ["ExportOptions", "ExternalData", "OnnxExporter", "free_axes"]
