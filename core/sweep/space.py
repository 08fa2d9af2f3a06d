"""What a search chooses from: an axis per swept key, in Hydra's own sweep syntax.

precision=fp16,int8                        one of these
chunker.length=22050,44100,88200           one of these, which have an order
'chunker.length=range(8192,90112,4096)'    a whole number, in steps
'chunker.overlap=interval(0,0.5)'          any number between
'chunker.length=int(interval(8192,90112))' any whole number between
'x=tag(log,interval(0.001,1))'             the same, evenly over its logarithm
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import IntervalSweep, RangeSweep

from core.errors import ConfigError
from core.plugin.records import Axis
from core.sweep.grid import MANY, again, choices, parsed

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override
    from optuna.distributions import BaseDistribution

__all__ = ["Dimension", "Space", "space_of"]

#: How far from 0 an interval may reach: the distance of larger ends may be no number, and samplers
#: cannot distinguish larger whole numbers.
_LARGEST, _WHOLE = 1e100, 2**53


@dataclass(frozen=True)
class Dimension:
    """One axis: `values` that can be listed, in their order, or a `low` and a `high` end.

    Listed values that are numbers are chosen by their place in the list, so that a sampler knows
    which of them are neighbours.
    """

    key: str
    values: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    log: bool = False

    @property
    def ordered(self) -> bool:
        """Return whether the listed values are numbers."""
        return all(_number(value) is not None for value in self.values)

    def distribution(self) -> BaseDistribution:
        """Return what Optuna draws from."""
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        if self.values and self.ordered:
            return IntDistribution(0, len(self.values) - 1)
        if self.values:
            return CategoricalDistribution(self.values)
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def spoken(self, drawn: Any) -> str:
        """Return the value that was drawn, as it stands on a command line."""
        return self.values[int(drawn)] if self.values and self.ordered else str(drawn)

    def at(self, part: float) -> str:
        """Return the value that lies a part of the way from the low end to the high one."""
        if self.values:
            return self.values[round(part * (len(self.values) - 1))]
        drawn = self.low + part * (self.high - self.low)
        if self.log:
            drawn = self.low * (self.high / self.low) ** part
        # An end may be no exact float: do not pass it.
        drawn = min(max(drawn, self.low), self.high)
        return str(round(drawn) if self.whole else drawn)

    def at_random(self, source: random.Random) -> str:
        """Return a value that `source` draws."""
        if self.values:
            return source.choice(self.values)
        if self.log:
            drawn = math.exp(source.uniform(math.log(self.low), math.log(self.high)))
        else:
            drawn = source.uniform(self.low, self.high)
        return str(round(drawn) if self.whole else drawn)

    def drawn(self, value: str) -> Any:
        """Return what Optuna would have drawn for a value: the inverse of `spoken`."""
        if self.values:
            return self.values.index(value) if self.ordered else value
        return int(value) if self.whole else float(value)


@dataclass(frozen=True)
class Space:
    """The dimensions of a search, and the overrides that all of its points share."""

    dimensions: tuple[Dimension, ...]
    overrides: tuple[Override, ...]

    @property
    def size(self) -> float:
        """Return how many points there are, infinite where a dimension is continuous."""
        # Infinity is no factor here: the product of many axes is too large for a float.
        if not all(d.values for d in self.dimensions):
            return math.inf
        return math.prod(len(d.values) for d in self.dimensions)

    @property
    def listed(self) -> bool:
        """Return whether the points are few enough to be listed."""
        return self.size <= MANY

    def points(self) -> Iterator[dict[str, str]]:
        """Yield the values of every point of a space that can be listed."""
        keys = [d.key for d in self.dimensions]
        for chosen in itertools.product(*(d.values for d in self.dimensions)):
            yield dict(zip(keys, chosen, strict=True))

    def corner(self, part: float = 0.0, slot: str = "") -> dict[str, str]:
        """Return the values of the low corner, which stands for a space that cannot be listed.

        The options of `slot` are a part of the way up.
        """
        return {
            d.key: d.at(part if d.key.partition(".")[0] == slot else 0.0) for d in self.dimensions
        }

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Return the axes of the sweep's record."""
        return tuple(
            Axis(d.key, d.values or (f"{d.low:g} to {d.high:g}",)) for d in self.dimensions
        )

    def without(self, refused: Sequence[Mapping[str, str]]) -> Space:
        """Return the space without the listed values that are refused wherever they occur."""
        counts = Counter((key, value) for point in refused for key, value in point.items())
        kept = [
            replace(
                d,
                values=tuple(v for v in d.values if counts[d.key, v] * len(d.values) < self.size),
            )
            for d in self.dimensions
        ]
        return replace(self, dimensions=tuple(kept))

    def line(self, values: Mapping[str, str]) -> tuple[str, ...]:
        """Return the overrides of the point with these values."""
        given = [(o, str(o.get_key_element())) for o in self.overrides]
        return tuple(
            again(override, values[key] if key in values else choices(override)[0])
            for override, key in given
        )


def space_of(arguments: Sequence[str], loader: ConfigLoader | None = None) -> Space:
    """Return the space that a command line spans; `loader` knows what a glob may match.

    Raises ConfigError where nothing is swept, and for an empty interval.
    """
    overrides = parsed(arguments, loader)
    dimensions = tuple(_dimension(o) for o in overrides if o.is_sweep_override())
    if not dimensions:
        raise ConfigError(
            "nothing is swept, so there is nothing to search",
            "give several values: key=a,b, 'key=range(1,9,2)' or 'key=interval(0,1)'",
        )
    return Space(dimensions, tuple(overrides))


def _dimension(override: Override) -> Dimension:
    key, value = str(override.get_key_element()), override.value()
    if isinstance(value, IntervalSweep):
        assert value.start is not None
        assert value.end is not None
        whole = isinstance(value.start, int) and isinstance(value.end, int)
        largest = _WHOLE if whole else _LARGEST
        if not (abs(value.start) <= largest and abs(value.end) <= largest):
            raise ConfigError(
                f"`{override.input_line}` has an end out of range",
                f"possible: two numbers from {-largest:g} to {largest:g}",
                "write: interval(low,high)",
            )
        if value.start >= value.end:
            raise ConfigError(
                f"`{override.input_line}` ends before it starts", "write: interval(low,high)"
            )
        log = "log" in value.tags
        if log and value.start <= 0:
            raise ConfigError(
                f"`{override.input_line}` reaches {value.start:g}, which has no logarithm",
                "start above zero, or leave tag(log,...) out",
            )
        return Dimension(key, (), float(value.start), float(value.end), whole, log)
    values = tuple(choices(override))
    if isinstance(value, RangeSweep) or all(_number(v) is not None for v in values):
        values = tuple(sorted(values, key=float))
    return Dimension(key, values)


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None
