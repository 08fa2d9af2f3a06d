"""The limits that a contract in a recipe may set, those of the core and those of evaluators."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from core.errors import ConfigError

if TYPE_CHECKING:
    from core.plugin.kinds import Evaluator
    from core.plugin.registry import Registry

__all__ = ["OWN", "Limit", "limits_of", "schema"]


@dataclass(frozen=True)
class Limit:
    """One line of a contract: its name in the recipe and the bound that it sets."""

    name: str
    bound: float

    @property
    def is_least(self) -> bool:
        """Return whether the measure must reach the bound, and not stay under it."""
        return self.name.startswith("min_")

    def is_held_by(self, value: float) -> bool:
        """Return whether a measure keeps to the bound, which it may reach; no NaN does."""
        return value >= self.bound if self.is_least else value <= self.bound

    @property
    def unit(self) -> str:
        """Return the unit that the name ends in, as a person writes it; "" for a part of one."""
        return {"db": "dB", "ms": "ms", "mb": "MB"}.get(self.name.rpartition("_")[2], "")


#: The limits that are about any model, with what each is compared with.
OWN: Mapping[str, str] = {
    "min_snr_db": "the lowest SNR of any output or label (stem) of any item, against FP32 PyTorch "
    "with the same windows (in a sweep over windows: with the best of them), and of the windows on "
    "a device that is too slow for whole inputs",
    "max_chunk_ms": "the median time of one window on the device that played the input",
    "max_real_time_factor": "compute time over playing time",
    "max_memory_mb": "peak memory of the process that played the input",
    "max_size_mb": "size of what goes to the device",
    "min_npu_coverage": "part of the graph's nodes that the accelerator took, 0 to 1",
}
#: What only a device that plays whole inputs can answer.
TIMED = frozenset({"max_chunk_ms", "max_real_time_factor", "max_memory_mb"})


def schema(registry: Registry) -> type[Any]:
    """Return the options of a contract: every limit that the core or an evaluator knows."""
    names = dict.fromkeys(OWN)
    for entry in registry.entries["evaluator"].values():
        names |= dict.fromkeys(cast("type[Evaluator[Any]]", entry.cls).limits)
    fields = [(name, float | None, dataclasses.field(default=None)) for name in names]
    return dataclasses.make_dataclass("Contract", fields)


def limits_of(node: Mapping[str, float | None]) -> tuple[Limit, ...]:
    """Return the limits that a recipe sets; raises ConfigError for what is no mapping of them."""
    if not isinstance(node, Mapping):
        raise ConfigError(
            f"`contract` cannot be `{node}`", "it takes limits by name: contract.<limit>=..."
        )
    limits = tuple(Limit(str(name), bound) for name, bound in node.items() if bound is not None)
    for limit in limits:
        # Nothing is above or below what is no number: any result would hold.
        if math.isnan(limit.bound):
            raise ConfigError(f"`contract.{limit.name}` is no number", "give a bound, or null")
    return limits
