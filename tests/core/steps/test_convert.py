"""What the results of the converting stages depend on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from core.config import compose as schemas
from core.config.discovery import discover
from core.config.pipeline import make_pipeline
from core.config.recipes import read_recipes
from core.inference.context import RunContext
from core.steps.convert import conversion

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def exporter() -> Callable[..., Any]:
    """Return a function that gives what the exporter's result depends on, for some overrides."""
    registry = discover()
    recipes = read_recipes(registry.recipes)
    schemas.register(registry, recipes)

    def depends(*overrides: str) -> Any:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            cfg = compose("config", ["recipe=cpu_fp32", *overrides], return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        with open_dict(cfg):
            del cfg["hydra"]
        steps = conversion(RunContext(make_pipeline(cfg, registry, "cpu_fp32", recipes)))
        return next(step for step in steps if step.name == "exporter").depends

    return depends


def test_how_the_model_is_written_down_decides_on_the_graph(
    exporter: Callable[..., Any],
) -> None:
    """Two layouts of the same weights have different graphs, so their results differ."""
    assert exporter("model.layout=plain") == exporter("model.layout=plain")
    assert exporter("model.layout=plain") != exporter("model.layout=npu")


def test_the_window_decides_on_the_graph(exporter: Callable[..., Any]) -> None:
    """The graph depends on the window's length, not on the overlap."""
    assert exporter("chunker.length=4096") != exporter("chunker.length=8192")
    assert exporter("chunker.overlap=0.1") == exporter("chunker.overlap=0.5")
