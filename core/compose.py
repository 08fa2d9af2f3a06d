"""Tells Hydra of every schema, preset and recipe, from the box and from other distributions."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra import main as hydra_main
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf, open_dict

from core import contract, options
from core.config import PLURAL, Settings
from core.recipes import Recipe
from core.registry import Registry
from core.sweep import launchers
from core.values import Target

__all__ = ["CONF", "composed", "composing", "entered", "recipe_of_job", "register"]

CONF = Path(__file__).parent.parent / "conf"


def composed(arguments: Sequence[str], job: Callable[[DictConfig], None]) -> None:
    """Let Hydra compose a config from `arguments`, and call `job` with it; `-m` starts a sweep."""
    sys.argv = ["python -m core", *arguments]
    hydra_main(version_base="1.3", config_path=str(CONF), config_name="config")(job)()


@contextmanager
def composing(overrides: Sequence[str]) -> Iterator[DictConfig]:
    """Give the config of one job in a process that Hydra does not run; it can compose more inside.

    `composed` would compose it twice, to find out first whether it is to be swept over.
    """
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield entered(compose("config", list(overrides), return_hydra_config=True))


def entered(cfg: DictConfig) -> DictConfig:
    """Make `cfg` what Hydra looks at; returns a copy of it without Hydra's own part."""
    HydraConfig.instance().set_config(cfg)
    own = copy.deepcopy(cfg)
    OmegaConf.set_readonly(own, None)
    with open_dict(own):
        del own["hydra"]
    return own


def recipe_of_job() -> str:
    """Return the name of the recipe that the job was composed from; "" for none."""
    return HydraConfig.get().runtime.choices.get("recipe") or ""


def register(registry: Registry, recipes: Mapping[str, Recipe]) -> None:
    """Store every schema and recipe where Hydra looks, and add the presets to its search path."""
    store = ConfigStore.instance()
    settings, target = OmegaConf.structured(Settings), OmegaConf.structured(Target)
    # A frozen dataclass makes its node read-only, and then no preset could fill it in.
    for node in (settings.target, target):
        OmegaConf.set_readonly(node, None)
    settings.contract = OmegaConf.structured(contract.schema(registry))
    store.store(name="settings", node=settings, provider="luthier")
    store.store(group="target", name="schema", node=target, provider="luthier")
    for entry in registry:
        plural = entry.kind in PLURAL
        store.store(
            group=entry.kind,
            name=entry.name,
            node=options.schema(entry),
            package=f"{entry.kind}.{entry.name}" if plural else None,
            provider=entry.distribution,
        )
    for recipe in recipes.values():
        for (group, name), node in recipe.choices.items():
            store.store(group=group, name=name, node=node, provider=str(recipe.file))
        store.store(
            group="recipe",
            name=recipe.name,
            node=recipe.node,
            package="_global_",
            provider=str(recipe.file),
        )

    class Presets(SearchPathPlugin):
        """Adds the preset folders of every distribution to Hydra's search path."""

        def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
            for folder in registry.presets:
                search_path.append("luthier", f"file://{folder}")

    Plugins.instance().register(Presets)
    launchers.preset()
