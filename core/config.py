"""Hydra's side: the schema of every plugin, presets of every distribution, recipes as a group.

A recipe names one plugin per slot. `bridge` turns that short form into Hydra's defaults list:

    model: htdemucs                                       ->  override /model: htdemucs
    chunker: {plugin: overlap_add, length: 44100}         ->  override /chunker: ... and its options
    graph: [onnxsim]                                      ->  override /graph: [onnxsim]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from core import options
from core.errors import ConfigError, did_you_mean
from core.registry import Registry
from core.values import Target

__all__ = [
    "PLURAL",
    "SLOTS",
    "Measure",
    "Mode",
    "Recipe",
    "Settings",
    "bridge",
    "group_of",
    "read_recipes",
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


@dataclass(frozen=True)
class Recipe:
    """A recipe file: its name, its one line, and its content as Hydra takes it."""

    name: str
    title: str
    file: Path
    node: dict[str, Any]


def read_recipes(folders: Iterable[Path], given: Iterable[str] = ()) -> dict[str, Recipe]:
    """Read every recipe of `folders`, and the files that `given` names by their path."""
    files = [file for folder in folders for file in sorted(folder.glob("*.yaml"))]
    recipes: dict[str, Recipe] = {}
    for file in (*files, *map(Path, given)):
        name = file.name.removesuffix(".yaml").replace(".", "_")
        if name in recipes and file not in map(Path, given):
            raise ConfigError(
                f"two recipes are named `{name}`", f"{recipes[name].file}", f"{file}", "rename one"
            )
        recipes[name] = bridge(name, file)
    return recipes


def bridge(name: str, file: Path) -> Recipe:
    """Read one recipe and turn its short form into Hydra's defaults list."""
    try:
        raw = OmegaConf.load(file)
    except FileNotFoundError:
        raise ConfigError(f"recipe `{file}` does not exist") from None
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"recipe `{name}` cannot be read", f"file: {file}", str(error)) from error
    if not isinstance(raw, DictConfig):
        raise ConfigError(f"recipe `{name}` is not a mapping of stages to plugins", f"file: {file}")
    given: dict[str, Any] = OmegaConf.to_container(raw)  # type: ignore[assignment]  # a mapping
    known = [*Settings.__dataclass_fields__, "defaults", "hydra"]
    node: dict[str, Any] = {}
    defaults = list(given.pop("defaults", []))
    for key, value in given.items():
        if key not in known:
            raise ConfigError(
                f"recipe `{name}` has the unknown key `{key}`",
                f"file: {file}",
                did_you_mean(key, known),
                f"keys: {', '.join(sorted(known))}",
            )
        choice, values = _choice(key, value)
        if choice is not None:
            defaults.append({f"override /{group_of(key)}": choice})
        if values is not None:
            node[key] = values
    return Recipe(
        name, str(given.get("title", "")), file, {"defaults": [*defaults, "_self_"], **node}
    )


def group_of(slot: str) -> str:
    """Return the group that Hydra chooses a slot from: `dataset@calibration` for `calibration`."""
    kind = SLOTS.get(slot, slot)
    return slot if kind == slot else f"{kind}@{slot}"


def _choice(key: str, value: Any) -> tuple[Any, Any]:
    """Split the value of a recipe's key into what Hydra chooses and what it merges."""
    if key in ("target", "precision") and isinstance(value, str):
        return value, None
    if key not in SLOTS:
        return None, value
    if key in PLURAL:
        if isinstance(value, Mapping):
            return list(value), {k: v for k, v in value.items() if v}
        return ([value] if isinstance(value, str) else list(value or [])), None
    if isinstance(value, Mapping):
        values = {k: v for k, v in value.items() if k != options.PLUGIN_KEY}
        return value.get(options.PLUGIN_KEY), values
    return value, None


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
