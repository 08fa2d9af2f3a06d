"""Which steps measure what the stages cost."""

from __future__ import annotations

import pytest

from core.config import compose as schemas
from core.config.discovery import discover
from core.config.pipeline import make_pipeline
from core.config.recipes import read_recipes
from core.config.settings import Measure
from core.inference.context import RunContext
from core.steps.compare import budget, comparison
from core.steps.convert import conversion
from core.steps.step import Step


def _steps(*overrides: str) -> list[Step]:
    registry = discover()
    recipes = read_recipes(registry.recipes)
    schemas.register(registry, recipes)
    with schemas.composing(["recipe=s24_int8", *overrides]) as cfg:
        context = RunContext(make_pipeline(cfg, registry, "s24_int8", recipes))
    steps = conversion(context)
    return [*comparison(context, steps), budget(context, steps)]


def test_the_worst_tensors_are_looked_for_on_demand() -> None:
    """One step compares the graph before the quantizer with the quantised one, on request."""
    assert not any(step.name == "tensor_error" for step in _steps())
    (step,) = [s for s in _steps("measure.worst_tensors=5") if s.name == "tensor_error"]
    assert step.inputs[:2] == ("graph.onnxsim", "quantizer")
    assert step.depends["count"] == 5
    assert "tensor_error" not in [
        s.name for s in _steps("measure.worst_tensors=5", "precision=fp32")
    ]


def test_the_budget_has_a_row_for_every_stage_that_plays_here() -> None:
    """Rows follow the recipe's order, with the compiled model's probe; no stage lacks a name."""
    (step,) = [s for s in _steps() if s.name == "budget"]
    assert step.inputs[5:] == (
        "budget.exporter",
        "budget.graph.onnxsim",
        "budget.quantizer",
        "probe",
    )
    assert not any(step.depends["unmeasured"].values())


def test_a_stage_that_nothing_plays_is_counted_with_the_next_one() -> None:
    """Without a host, only the device can play, and only the compiled model."""
    (step,) = [s for s in _steps("runtime=qai_hub", "~runtime@host") if s.name == "budget"]
    assert step.inputs[5:] == ("budget.runtime",)
    skipped = ["exporter", "graph.onnxsim", "quantizer"]
    assert step.depends["unmeasured"] == {"runtime": skipped}


def test_a_negative_number_of_tensors_is_refused() -> None:
    """The config error for a negative number of tensors names the option."""
    with pytest.raises(ValueError, match="`worst_tensors` cannot be -1"):
        Measure(worst_tensors=-1)
