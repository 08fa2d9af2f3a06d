"""What computed the nodes of the graph, from a run's record, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.measure.placement import in_words
from core.plugin.step_names import PLAY

if TYPE_CHECKING:
    from core.plugin.records import PlacementRecord, RunRecord

__all__ = ["placements_in_words", "ran_in"]


def placements_in_words(record: RunRecord) -> list[str]:
    """Return a line for each step that ran the graph: where its nodes ran, or that nobody knows."""
    return [f"{ran_in(one)}: {_said(one)}" for one in record.placements]


def ran_in(one: PlacementRecord) -> str:
    """Return which run of the graph it is: of the whole input, or of a few windows."""
    return "whole input" if one.step == PLAY else "a few windows"


def _said(one: PlacementRecord) -> str:
    if one.placement is None:
        return f"what computed each node was not measured: {one.plugin} has no trace of it"
    return in_words(one.placement)
