"""Shared by the quantisers of torch programs: where integers go, constants, feeds, counts."""

from plugins.quantizer._torchao.choices import Backend, Operator, matching
from plugins.quantizer._torchao.feeding import windows
from plugins.quantizer._torchao.half_limits import Reason, likely, weight_reasons, window_reasons
from plugins.quantizer._torchao.halving import halved
from plugins.quantizer._torchao.integers import TORCHAO, quantised
from plugins.quantizer._torchao.losses import Loudest, check_outputs
from plugins.quantizer._torchao.ranges import types_for
from plugins.quantizer._torchao.rewriting import opened
from plugins.quantizer._torchao.writing import write

__all__ = [
    "TORCHAO",
    "Backend",
    "Loudest",
    "Operator",
    "Reason",
    "check_outputs",
    "halved",
    "likely",
    "matching",
    "opened",
    "quantised",
    "types_for",
    "weight_reasons",
    "window_reasons",
    "windows",
    "write",
]
