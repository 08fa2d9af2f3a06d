"""Chooses a level for every group: the cheapest assignment that holds a limit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from core import StageError
from core.errors import did_you_mean

if TYPE_CHECKING:
    from plugins.quantizer._mixed_precision.grouping import Group
    from plugins.quantizer._mixed_precision.levels import Level
    from plugins.quantizer._mixed_precision.sensitivity import Sensitivity
    from plugins.quantizer._mixed_precision.trial import Noise

__all__ = ["Move", "given", "lowered_by", "most", "moves", "with_room"]


@dataclass(frozen=True)
class Move:
    """One group goes to a cheaper level, which adds noise at every output of the graph."""

    group: str
    level: Level
    added: Noise


def given(groups: Sequence[Group], entries: Mapping[str, Level]) -> dict[str, Level]:
    """Return the levels that a recipe gives, by the name of each group that an entry matches.

    An entry is the name of a group, or a pattern of names; where two match, the later one counts,
    but a name goes before patterns. Raises StageError for an entry that matches nothing.
    """
    names = [group.name for group in groups]
    levels: dict[str, Level] = {}
    for entry, level in entries.items():
        hits = [entry] if entry in names else [n for n in names if fnmatchcase(n, entry)]
        if not hits:
            raise StageError(
                f"`assignment` has `{entry}`, which is not a group of the graph",
                did_you_mean(entry, names),
                f"the graph has {len(names)} groups, the first `{names[0]}`",
                "give a group's name as in recipe.lock.yaml, or a pattern: `/encoder.0/*`",
            )
        levels.update({name: level for name in hits if name == entry or name not in entries})
    return levels


def moves(found: Sequence[Sensitivity], levels: Sequence[Level]) -> list[Move]:
    """Return every step from the most precise level to the cheapest, the best bargains first.

    A step saves the group's size times the bits by which its activations shrink, and it adds noise.
    Noises of groups are independent, so their powers add, and taking steps by noise per
    saving is the greedy solution of the knapsack problem. A group's steps keep their order: a step
    that is a better bargain than the one before it is taken together with it.
    """
    ladder = sorted(set(levels), key=lambda level: -level.value)
    steps: list[tuple[float, int, int, Move]] = []
    for number, entry in enumerate(found):
        rate = 0.0
        for depth, (precise, cheap) in enumerate(itertools.pairwise(ladder)):
            # By chance a level may be less noisy than a more precise one: that counts as equal.
            added = (entry.noise[cheap] - entry.noise.get(precise, 0.0)).clip(0)
            saved = entry.group.size * (precise.value - cheap.value)
            rate = max(rate, float(added.sum()) / saved)
            steps.append((rate, number, depth, Move(entry.group.name, cheap, added)))
    return [move for *_, move in sorted(steps, key=lambda step: step[:3])]


def lowered_by(start: Mapping[str, Level], taken: Sequence[Move]) -> dict[str, Level]:
    """Return the levels of groups after some moves."""
    return {**start, **{move.group: move.level for move in taken}}


def with_room(steps: Sequence[Move], count: int, room: Noise) -> list[Move]:
    """Return the first `count` moves, and each later one whose noise fits into `room`.

    `room` is what the limit leaves, per output of the graph. A large group may be a good bargain
    but too loud; a later move may still fit.
    """
    taken = list(steps[:count])
    skipped: set[str] = set()
    for move in steps[count:]:
        if move.group in skipped or (move.added > room).any():
            skipped.add(move.group)
        else:
            taken.append(move)
            room = room - move.added
    return taken


def most(count: int, holds: Callable[[int], bool]) -> int | None:
    """Return the largest number of moves, 0 to `count`, that holds; None where not even 0 does.

    Every move adds noise, so bisection finds the number.
    """
    if holds(count):
        return count
    if not holds(0):
        return None
    good, bad = 0, count
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return good
