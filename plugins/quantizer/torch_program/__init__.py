"""What the quantisers of torch programs share: where integers go, constants, feeds, counts."""

from plugins.quantizer.torch_program.choices import Backend, Operator, matching
from plugins.quantizer.torch_program.feeding import windows
from plugins.quantizer.torch_program.half_limits import (
    Reason,
    likely,
    weight_reasons,
    window_reasons,
)
from plugins.quantizer.torch_program.halving import halved
from plugins.quantizer.torch_program.integers import TORCHAO, quantised
from plugins.quantizer.torch_program.losses import Loudest, check_outputs
from plugins.quantizer.torch_program.ranges import types_for
from plugins.quantizer.torch_program.rewriting import opened
from plugins.quantizer.torch_program.writing import write

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
