"""What the quantisers of torch programs share: where integers go, constants, feeds, counts."""

from plugins.quantizer.torch_program.choices import Backend, Operator
from plugins.quantizer.torch_program.constants import fold_constants
from plugins.quantizer.torch_program.feeding import windows
from plugins.quantizer.torch_program.integers import TORCHAO, quantised
from plugins.quantizer.torch_program.ranges import types_for
from plugins.quantizer.torch_program.writing import write

__all__ = [
    "TORCHAO",
    "Backend",
    "Operator",
    "fold_constants",
    "quantised",
    "types_for",
    "windows",
    "write",
]
