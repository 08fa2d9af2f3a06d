"""The steps that a run consists of, in the order in which they run."""

from __future__ import annotations

from core.inference.context import RunContext
from core.steps import convert
from core.steps.compare import budget, comparison
from core.steps.evaluate import evaluation, rated
from core.steps.play import _against, _ideal, _play, _reference, _save
from core.steps.step import Step

__all__ = ["lay_out", "rating"]


def lay_out(bench: RunContext) -> tuple[Step, ...]:
    """Return every step of a run, in the order in which they run."""
    steps = convert.conversion(bench)
    whole = (
        _reference(bench),
        _ideal(bench),
        *_against(bench),
        _play(bench, convert.source(bench, steps)),
        budget(bench, steps),
        evaluation(bench),
        _save(bench),
    )
    return (*steps, *comparison(bench, steps), *whole)


def rating(bench: RunContext) -> tuple[Step, ...]:
    """Return the steps that say how good FP32 PyTorch is in the windows of the recipe."""
    return (*convert.conversion(bench)[:1], _reference(bench), _ideal(bench), rated(bench))
