"""Which steps measure what the stages cost."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from core import compose as schemas
from core.assembly import assemble
from core.compare import comparison
from core.config import Measure
from core.convert import conversion
from core.recipes import read_recipes
from core.registry import discover
from core.steps import Bench, Step

ROOT = Path(__file__).parents[2]


def _steps(*overrides: str) -> list[Step]:
    registry = discover()
    recipes = read_recipes(registry.recipes)
    schemas.register(registry, recipes)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("config", ["recipe=s24_int8", *overrides])
    bench = Bench(assemble(cfg, registry, "s24_int8", recipes))
    return comparison(bench, conversion(bench))


def test_the_worst_tensors_are_looked_for_on_demand() -> None:
    """One step compares the graph before the quantizer with the one after it."""
    assert not any(step.name == "worst" for step in _steps())
    (step,) = [s for s in _steps("measure.worst_tensors=5") if s.name == "worst"]
    assert step.inputs[:2] == ("graph.onnxsim", "quantizer")
    assert step.depends["count"] == 5
    assert "worst" not in [s.name for s in _steps("measure.worst_tensors=5", "precision=fp32")]


def test_a_negative_number_of_tensors_is_refused() -> None:
    """The config error names the option."""
    with pytest.raises(ValueError, match="`worst_tensors` cannot be -1"):
        Measure(worst_tensors=-1)
