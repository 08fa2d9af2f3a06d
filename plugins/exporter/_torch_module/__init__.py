"""The torch module that is exported: its calls, copies of it, and why PyTorch cannot capture it."""

from plugins.exporter._torch_module.calling import arguments_of, as_arrays, outputs_of
from plugins.exporter._torch_module.frames import Frame
from plugins.exporter._torch_module.fresh import fresh
from plugins.exporter._torch_module.heard import Heard, heard
from plugins.exporter._torch_module.reason import BRANCH, PLAY, one_length, untraceable
from plugins.exporter._torch_module.steady import Expected, expected_of

__all__ = [
    "BRANCH",
    "PLAY",
    "Expected",
    "Frame",
    "Heard",
    "arguments_of",
    "as_arrays",
    "expected_of",
    "fresh",
    "heard",
    "one_length",
    "outputs_of",
    "untraceable",
]
