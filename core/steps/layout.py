"""The steps that a run consists of, in the order in which they run."""

from __future__ import annotations

from core.inference.context import RunContext
from core.steps import convert
from core.steps.compare import budget, comparison
from core.steps.evaluate import evaluation, rated
from core.steps.play import _against, _ideal, _play, _reference, _save
from core.steps.step import Step

__all__ = ["lay_out", "rating"]


def lay_out(context: RunContext) -> tuple[Step, ...]:
    """Return every step of a run, in the order in which they run."""
    steps = convert.conversion(context)
    whole = (
        _reference(context),
        _ideal(context),
        *_against(context),
        _play(context, convert.source(context, steps)),
        budget(context, steps),
        evaluation(context),
        _save(context),
    )
    return (*steps, *comparison(context, steps), *whole)


def rating(context: RunContext) -> tuple[Step, ...]:
    """Return the steps that say how good FP32 PyTorch is in the windows of the recipe."""
    return (*convert.conversion(context)[:1], _reference(context), _ideal(context), rated(context))
