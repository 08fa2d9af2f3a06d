"""The steps that a run consists of, in the order in which they run."""

from __future__ import annotations

from core.inference.context import RunContext
from core.steps import convert
from core.steps.compare import budget, comparison
from core.steps.evaluate import evaluation, rated
from core.steps.play import against_steps, ideal_step, play_step, reference_step, save_step
from core.steps.step import Step

__all__ = ["lay_out", "rating"]


def lay_out(context: RunContext) -> tuple[Step, ...]:
    """Return every step of a run, in the order in which they run."""
    steps = convert.conversion(context)
    whole = (
        reference_step(context),
        ideal_step(context),
        *against_steps(context),
        play_step(context, convert.source(context, steps)),
        budget(context, steps),
        evaluation(context),
        save_step(context),
    )
    return (*steps, *comparison(context, steps), *whole)


def rating(context: RunContext) -> tuple[Step, ...]:
    """Return the steps that say how good FP32 PyTorch is in the windows of the recipe."""
    model = convert.conversion(context)[0]
    return (model, reference_step(context), ideal_step(context), rated(context))
