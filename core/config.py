"""Hydra's side: the top level of the config, and the schemas, presets and recipes it composes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from core import options
from core.registry import Registry
from core.values import Target

if TYPE_CHECKING:
    from core.recipes import Recipe

__all__ = [
    "PLURAL",
    "SLOTS",
    "Measure",
    "Mode",
    "Settings",
    "group_of",
    "register",
]

#: Every slot of a recipe and the kind of plugin that it takes.
SLOTS: Mapping[str, str] = {
    "model": "model",
    "dataset": "dataset",
    "calibration": "dataset",
    "exporter": "exporter",
    "graph": "graph",
    "quantizer": "quantizer",
    "dsp": "dsp",
    "chunker": "chunker",
    "runtime": "runtime",
    "host": "runtime",
    "evaluator": "evaluator",
    "reporter": "reporter",
}
#: The slots that take several plugins, in order; their options live under `<slot>.<plugin>`.
PLURAL = frozenset({"graph", "evaluator", "reporter"})


class Mode(Enum):
    """What `python -m core` does."""

    run = "run"
    plan = "plan"
    list = "list"
    doctor = "doctor"


@dataclass
class Measure:
    """How much is measured beside the run itself."""

    budget_windows: int = 3
    """Windows per item on which every stage is compared with FP32 PyTorch."""
    probe_windows: int = 2
    """Windows to run on a device that is too slow for whole inputs (an emulator, a queue)."""


@dataclass
class Settings:
    """The top level of the config: what is no plugin."""

    mode: Mode = Mode.run
    title: str = ""
    input: str | None = None
    output: str = "outputs"
    store: str | None = None
    measure: Measure = field(default_factory=Measure)
    precision: Any = field(default_factory=dict)
    target: Target = field(default_factory=Target)
    model: Any = None
    dataset: Any = None
    calibration: Any = None
    exporter: Any = None
    graph: Any = field(default_factory=dict)
    quantizer: Any = None
    dsp: Any = None
    chunker: Any = None
    runtime: Any = None
    host: Any = None
    evaluator: Any = field(default_factory=dict)
    reporter: Any = field(default_factory=dict)


def group_of(slot: str) -> str:
    """Return the group that Hydra chooses a slot from: `dataset@calibration` for `calibration`."""
    kind = SLOTS.get(slot, slot)
    return slot if kind == slot else f"{kind}@{slot}"


def register(registry: Registry, recipes: Mapping[str, Recipe]) -> None:
    """Store every schema and recipe where Hydra looks, and add the presets to its search path."""
    store = ConfigStore.instance()
    settings, target = OmegaConf.structured(Settings), OmegaConf.structured(Target)
    # A frozen dataclass makes its node read-only, and then no preset could fill it in.
    for node in (settings.target, target):
        OmegaConf.set_readonly(node, None)
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
