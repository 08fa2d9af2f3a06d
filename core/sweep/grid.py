"""The overrides of a sweep, expanded into its points: every combination of the swept values."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, RangeSweep

from core.config.recipes import OWN
from core.config.settings import SLOTS, group_of
from core.errors import ConfigError
from core.plugin.records import Axis

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override

__all__ = ["MANY", "MOST", "Combination", "Grid", "again", "choices", "expand", "parsed"]

#: A sweep of more points than this asks first.
MANY = 1000
#: A sweep of more is refused, confirmed or not: a list of its points would fill the memory.
MOST = 100_000
#: How far from 0 a range may reach: beyond, no float can tell its steps apart.
_LARGEST = 1e100
_GROUPS = frozenset(group_of(slot) for slot in SLOTS)


@dataclass(frozen=True)
class Combination:
    """One point: its number, from 1 on, its value along every axis, and the overrides of it."""

    number: int
    values: dict[str, str]
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """The axes of a sweep and every combination of their values, the last axis fastest."""

    axes: tuple[Axis, ...]
    points: tuple[Combination, ...]


def expand(
    arguments: Sequence[str], *, confirmed: bool, loader: ConfigLoader | None = None
) -> Grid:
    """Return the grid that `key=a,b` and its like span; `loader` knows what a glob may match.

    Raises ConfigError for an axis without a value, for a range that has no steps, for more than
    `MOST` points, and, unless `confirmed`, for more than `MANY`. Points are counted first.
    """
    overrides = parsed(arguments, loader)
    values_of = [choices(override) for override in overrides]
    count = math.prod(len(values) for values in values_of)
    if count > MOST or (count > MANY and not confirmed):
        raise ConfigError(
            f"the sweep has {_in_words(count)} points",
            *_longest(overrides, values_of),
            f"more than {MANY:,} points need sweep.confirm=true"
            if count <= MOST
            else f"possible: up to {MOST:,}, with sweep.confirm=true",
            "or let a search choose among them: hydra/sweeper=optuna",
        )
    axes = tuple(
        Axis(str(override.get_key_element()), tuple(values))
        for override, values in zip(overrides, values_of, strict=True)
        if override.is_sweep_override()
    )
    points = [
        _combination(number, overrides, values)
        for number, values in enumerate(itertools.product(*values_of), start=1)
    ]
    return Grid(axes, tuple(points))


def parsed(arguments: Sequence[str], loader: ConfigLoader | None = None) -> list[Override]:
    """Return Hydra's own reading of overrides; a key that is given twice is an error."""
    try:
        overrides: list[Override] = OverridesParser.create(loader).parse_overrides(list(arguments))
    except (RecursionError, ValueError) as error:  # Python reads no more than 4,300 digits
        raise ConfigError(
            "an override cannot be read: it is nested too deeply, or holds too long a number",
            f"at: {max(arguments, key=len)[:80]}...",
            "give a plain value, or a list of plain values",
        ) from error
    often = Counter(str(override.get_key_element()) for override in overrides)
    for key, times in often.items():
        if times > 1:
            raise ConfigError(
                f"`{key}` is given twice",
                *(f"at: {o.input_line}" for o in overrides if o.get_key_element() == key),
                f"give all its values at once: {key}=a,b",
            )
    return overrides


def choices(override: Override) -> list[str]:
    """Return the values of one override, each once, as they stand on a command line."""
    if not override.is_sweep_override():
        return [override.get_value_element_as_str()]
    if not override.is_discrete_sweep():
        raise ConfigError(
            f"`{override.input_line}` names an interval, which no grid can run through",
            "give values, key=1,2,4, or steps, 'key=range(1,9,2)'",
            "or let a search choose in it: hydra/sweeper=optuna",
        )
    _check_count(override)
    values = list(dict.fromkeys(override.sweep_string_iterator()))
    if isinstance(override.value(), Glob):
        # These files of a group are no choices: its schema, and those that belong to recipes.
        values = [name for name in values if name != "schema" and not name.startswith(OWN)]
    if not values:
        raise ConfigError(
            f"the sweep is empty: `{override.input_line}` gives no value",
            "give values, key=1,2,4, or steps that exist, 'key=range(1,9,2)'",
        )
    return values


def _check_count(override: Override) -> None:
    """Raise ConfigError for a range that does not end, or is too long to list."""
    value = override.value()
    if not isinstance(value, RangeSweep):
        return  # every value of a choice stands on the command line
    numbers = (value.start, value.stop, value.step)
    if not value.step or not all(n is not None and abs(n) <= _LARGEST for n in numbers):
        raise ConfigError(
            f"`{override.input_line}` has no end",
            "give three numbers up to 1e100: the first, the one to stop at, a step that is not 0",
        )
    start, stop, step = (Fraction(number or 0) for number in numbers)
    count = max(0, math.ceil((stop - start) / step))
    if count > MOST:
        raise ConfigError(
            f"the sweep has {_in_words(count)} points along `{override.get_key_element()}` alone",
            f"at: {override.input_line}",
            f"possible: up to {MOST:,}; more than {MANY:,} need sweep.confirm=true",
            "take larger steps, or let a search choose between two ends: hydra/sweeper=optuna "
            f"'{override.get_key_element()}=interval(low,high)'",
        )


def _longest(overrides: Sequence[Override], values_of: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for each of the first ten swept axes."""
    lines = [
        f"{override.get_key_element()}: {len(values)} values"
        for override, values in zip(overrides, values_of, strict=True)
        if len(values) > 1
    ]
    more = [f"and {len(lines) - 10} more"] if len(lines) > 10 else []  # noqa: PLR2004  # a screen
    return [*lines[:10], *more]


def _in_words(count: int) -> str:
    return f"{count:,}" if count < 10**30 else f"some 10^{math.floor(math.log10(count))}"


def _combination(number: int, overrides: Sequence[Override], values: Sequence[str]) -> Combination:
    pairs = list(zip(overrides, values, strict=True))
    return Combination(
        number,
        {str(o.get_key_element()): value for o, value in pairs if o.is_sweep_override()},
        tuple(again(override, value) for override, value in pairs),
    )


def again(override: Override, value: str) -> str:
    """Return one override with one value; deletions (`~host`) stand as they are."""
    if override.is_delete() and not override.is_sweep_override():
        return str(override.input_line)
    key = str(override.get_key_element())
    if value == "null" and key in _GROUPS:
        # Hydra deletes a choice with `~`; `=null` ends in a raw ValueError.
        return f"~{key}"
    return f"{key}={value}"
