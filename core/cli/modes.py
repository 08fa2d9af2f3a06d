"""Runs the `mode` of a command; imports each mode only where it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from core.config.command_line import refuse_credentials
from core.config.compose import CONF
from core.config.inputs import is_batch
from core.config.recipes import Recipe
from core.config.settings import Mode
from core.plugin.registry import Registry

__all__ = ["run_mode"]


def run_mode(
    cfg: DictConfig,
    registry: Registry,
    recipes: Mapping[str, Recipe],
    recipe: str,
) -> None:
    """Run the mode; import the heavy half of the core only where it is needed."""
    # Presets may hold credentials, too.
    refuse_credentials(cast("dict[str, Any]", OmegaConf.to_container(cfg)), "the composed config")
    if cfg.mode is Mode.list:
        from core.cli.listing import show

        show(registry, recipes, CONF)
    elif cfg.mode is Mode.doctor:
        from core.cli.doctor import examine

        examine(registry, cfg.store)
    elif cfg.mode is Mode.usage:
        from core.cli.usage import show_usage

        show_usage(cfg)
    elif cfg.mode is Mode.clean:
        from core.cli.clean import clean

        clean(cfg, recipes)
    elif cfg.mode is Mode.diff:
        from core.cli.diff import diff

        diff(cfg)
    elif cfg.mode is Mode.fit:
        from core.fit.search import run as search

        search(cfg, registry, recipe, recipes)
    elif is_batch(cfg):
        from core.batch.job import run as play_batch

        play_batch(cfg, registry, recipe, recipes)
    else:
        from core.run.job import run

        run(cfg, registry, recipe, recipes)
