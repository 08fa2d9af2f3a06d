"""Compares two ONNX graphs on random inputs, for plugins that must not change the result."""

from plugins.graph._same_result.compare import check_same
from plugins.graph._same_result.feeds import NotPlayableError, free_axes

__all__ = ["NotPlayableError", "check_same", "free_axes"]
