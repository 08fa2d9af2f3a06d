"""Finds what FP16 cannot hold in a program, from its weights and from calibration windows.

FP16 ends at 65,504, and below 6.1e-5 it has fewer than its 11 bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.formats.torch_export import constant, operator

if TYPE_CHECKING:
    import torch

__all__ = ["Reason", "likely", "weight_reasons", "window_reasons"]

#: The largest finite number of IEEE 754 binary16, and the smallest with all its 11 bits.
LARGEST, SMALLEST_NORMAL = 65504.0, 2.0**-14
#: Rounding to 11 bits leaves some 73 dB. A tensor that keeps less lies below the normal range.
WEAK_DB = 60.0
#: A row of weights this much weaker than the whole is lost in FP32 too, which has 24 bits.
RESIDUE = 2.0**-24
#: Operators whose result explodes where FP16 rounds an argument to zero: which argument.
SENSITIVE = {
    "div": 1, "div_": 1, "log": 0, "log10": 0, "log2": 0, "reciprocal": 0, "rsqrt": 0, "sqrt": 0,
}  # fmt: skip
#: Operators that stay in FP32 where no data decides: those that sum, square or divide by a sum.
LIKELY = frozenset({
    "batch_norm", "cumsum", "div", "exp", "group_norm", "instance_norm", "layer_norm",
    "linalg_vector_norm", "log", "logsumexp", "mean", "norm", "pow", "reciprocal", "rms_norm",
    "rsqrt", "softmax", "sqrt", "square", "std", "sum", "var", "var_mean",
})  # fmt: skip


@dataclass(frozen=True)
class Reason:
    """Why the makers and readers of a tensor stay in FP32: its node, and what was seen."""

    node: str
    operator: str
    value: str

    def __str__(self) -> str:
        """Name node, operator and value."""
        return f"{self.node} ({self.operator}): {self.value}"


@dataclass
class _Seen:
    """The values of a tensor over all windows: peak, smallest value but zero, energies."""

    peak: float = 0.0
    least: float = math.inf
    signal: float = 0.0
    noise: float = 0.0

    def add(self, tensor: torch.Tensor) -> None:
        """Record the finite values of a tensor; infinities are FP16's as well."""
        values = tensor[tensor.isfinite()].float().abs()
        values = values[values > 0]
        if not values.numel():
            return
        self.peak = max(self.peak, float(values.max()))
        self.least = min(self.least, float(values.min()))
        held = values.clamp_max(LARGEST)
        self.signal += float(held.double().square().sum())
        self.noise += float((held.half().float() - held).double().square().sum())

    def wrong(self, headroom: float, *, every_value: bool) -> str:
        """Return in words what FP16 cannot hold of the tensor; empty where it holds all."""
        if self.peak * headroom > LARGEST:
            return f"reaches {_amount(self.peak)}"
        if self.signal > 0 and self.noise * 10 ** (WEAK_DB / 10) > self.signal:
            return f"is nowhere above {_amount(self.peak)}"
        if every_value and self.least < SMALLEST_NORMAL:
            return f"falls to {_amount(self.least)} where it is a divisor, a root or a logarithm"
        return ""


def likely(module: torch.fx.GraphModule) -> set[str]:
    """Return the nodes that sum or square: FP16 overflows in these first, whatever the data."""
    found = set()
    for node in module.graph.nodes:
        square = operator(node) == "mul" and len(node.all_input_nodes) == 1
        if operator(node) in LIKELY or (square and node.args[0] is node.args[1]):
            found.add(node.name)
    return found


def weight_reasons(module: torch.fx.GraphModule) -> list[Reason]:
    """Return the weights that FP16 does not hold."""
    import torch

    found = []
    for node in module.graph.nodes:
        held: Any = module
        for part in str(node.target).split(".") if node.op == "get_attr" else ():
            held = getattr(held, part)
        if isinstance(held, torch.Tensor) and held.dtype is torch.float32:
            wrong = _wrong_weight(constant(module, node).detach())
            if wrong:
                found.append(Reason(node.name, "weight", wrong))
    return found


def _wrong_weight(weight: torch.Tensor) -> str:
    """Return what FP16 cannot hold of a weight, or of one channel of it: a norm may raise it."""
    seen = [_Seen()]
    seen[0].add(weight)
    for row in weight if weight.dim() > 1 else ():
        seen.append(_Seen())
        seen[-1].add(row)
    least = RESIDUE * seen[0].peak
    # A weight does not grow, so it needs no headroom.
    found = (one.wrong(1.0, every_value=False) for one in seen if one.peak > least)
    return next(filter(None, found), "")


def window_reasons(
    module: torch.fx.GraphModule, windows: Iterable[tuple[torch.Tensor, ...]], headroom: float
) -> list[Reason]:
    """Return the tensors of `module` that FP16 does not hold on `windows`, and this much louder."""
    seen: dict[str, _Seen] = {}
    watcher = _watcher(module, seen)
    for arguments in windows:
        watcher.run(*arguments)
    sensitive = set(_sensitive(module))
    found = []
    for node in module.graph.nodes:
        if node.name in seen:
            wrong = seen[node.name].wrong(headroom, every_value=node.name in sensitive)
            if wrong:
                found.append(Reason(node.name, operator(node), wrong))
    return found


def _sensitive(module: torch.fx.GraphModule) -> Iterator[str]:
    for node in module.graph.nodes:
        place = SENSITIVE.get(operator(node))
        if place is not None and len(node.args) > place and hasattr(node.args[place], "name"):
            yield node.args[place].name


def _watcher(module: torch.fx.GraphModule, seen: dict[str, _Seen]) -> torch.fx.Interpreter:
    """Return an interpreter that runs `module` and records every tensor in FP32."""
    import torch

    class Watcher(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> Any:
            result = super().run_node(n)
            own = n.op in ("placeholder", "call_function")
            if own and isinstance(result, torch.Tensor) and result.dtype is torch.float32:
                seen.setdefault(n.name, _Seen()).add(result)
            return result

    return Watcher(module)


def _amount(value: float) -> str:
    """Return a number as a person reads it: 81,234 or 1.2e-07."""
    return f"{value:,.0f}" if 100 <= value < 1e9 else f"{value:.2g}"  # noqa: PLR2004  # readable
