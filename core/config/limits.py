"""The limits that a contract in a recipe may set, those of the core and those of evaluators."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError
from core.plugin.kinds import Evaluator
from core.plugin.values import LimitSpec

if TYPE_CHECKING:
    from core.plugin.registry import Registry

__all__ = ["OWN", "TIMED", "Limit", "is_held", "known_limits", "limits_of", "names", "schema"]


def is_held(value: float, bound: float, *, is_least: bool) -> bool:
    """Return whether `value` holds `bound`, which it may equal; NaN never does."""
    return value >= bound if is_least else value <= bound


@dataclass(frozen=True)
class Limit:
    """One line of a contract: its name in the recipe, its bound, and what that bounds."""

    name: str
    bound: float
    spec: LimitSpec

    def is_held_by(self, value: float) -> bool:
        """Return whether `value` holds the bound, which it may equal; NaN never does."""
        return is_held(value, self.bound, is_least=self.spec.is_least)


#: The limits that apply to any model.
OWN: Mapping[str, LimitSpec] = {
    "min_snr_db": LimitSpec(
        "parity_snr",
        "dB",
        is_least=True,
        about="the lowest SNR of all items, outputs and labels (stems), against FP32 PyTorch "
        "with the same windows (in a sweep over windows: with the best windows); the windows on "
        "a device that is too slow for whole inputs count too",
    ),
    "max_chunk_ms": LimitSpec(
        "latency",
        "ms",
        about="the median time of one window on the device that played the input",
    ),
    "max_cold_start_ms": LimitSpec(
        "cold_start",
        "ms",
        about="the time to open the model and to run the first window, on the device that played "
        "the input",
    ),
    "max_real_time_factor": LimitSpec("real_time_factor", about="compute time over playing time"),
    "max_memory_mb": LimitSpec(
        "peak_memory", "MB", about="peak memory of the process that played the input"
    ),
    "max_size_mb": LimitSpec("size", "MB", about="size of what goes to the device"),
    "min_accelerator_coverage": LimitSpec(
        "accelerator_coverage",
        is_least=True,
        about="share of the nodes that ran on the device and at the precision that were asked for, "
        "0 to 1, from the runtime's own trace, or else from the compiler's partition map",
    ),
}
#: The limits that only a device that plays whole inputs can answer.
TIMED = frozenset({"max_chunk_ms", "max_cold_start_ms", "max_real_time_factor", "max_memory_mb"})


def known_limits(
    registry: Registry, evaluators: Sequence[Evaluator[Any]] = ()
) -> dict[str, LimitSpec]:
    """Return every limit that the core or an evaluator knows.

    Where several evaluators have one of a name it is that of the first of `evaluators`, which are
    those of a recipe: only what they measure can answer it.
    """
    known = dict(OWN)
    of_recipe = [evaluator.limits for evaluator in evaluators]
    for limits in (*of_recipe, *(cls.limits for cls in registry.classes(Evaluator).values())):
        for name, spec in limits.items():
            known.setdefault(name, spec)
    return known


def names(registry: Registry) -> tuple[str, ...]:
    """Return the names of every limit that the core or an evaluator knows."""
    return tuple(known_limits(registry))


def schema(names: Iterable[str]) -> type[Any]:
    """Return the options of a contract that may set the limits of these names."""
    fields = [(name, float | None, dataclasses.field(default=None)) for name in names]
    return dataclasses.make_dataclass("Contract", fields)


def limits_of(
    node: Mapping[str, float | None], registry: Registry, evaluators: Sequence[Evaluator[Any]] = ()
) -> tuple[Limit, ...]:
    """Return the limits that a recipe with `evaluators` sets.

    Raises ConfigError for what is no mapping of limits, and for a bound that is no number.
    """
    if not isinstance(node, Mapping):
        raise ConfigError(
            f"`contract` cannot be `{node}`", "it takes limits by name: contract.<limit>=..."
        )
    known = known_limits(registry, evaluators)
    limits = tuple(
        Limit(str(name), bound, known[str(name)])
        for name, bound in node.items()
        if bound is not None
    )
    for limit in limits:
        # No value is above, below or equal to NaN: no result would hold.
        if math.isnan(limit.bound):
            raise ConfigError(f"`contract.{limit.name}` is no number", "give a bound, or null")
    return limits
