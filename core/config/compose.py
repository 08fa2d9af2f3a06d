"""Registers every schema, preset and recipe with Hydra, and composes configs.

Hydra's own part of a config names classes that it makes, loggers, folders and variables. Only the
box and the command line may set it: if anything else changed it, nothing runs.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from weakref import WeakKeyDictionary

from hydra import compose, initialize_config_dir
from hydra import main as hydra_main
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from core.config import launchers, limits
from core.config.arguments import SWEEP, is_sweep, key_of
from core.config.precision_options import named, referring
from core.config.presets import Preset, read_group, read_presets
from core.config.recipes import Recipe
from core.config.settings import PLURAL, Settings
from core.errors import ConfigError
from core.machine.program import program
from core.plugin.broken import Broken
from core.plugin.registry import Registry
from core.plugin.values import Target
from core.text.screen import say

__all__ = [
    "CONF",
    "composed",
    "composed_again",
    "composing",
    "entered",
    "recipe_of_job",
    "register",
    "words_of_job",
]

CONF = Path(__file__).parents[2] / "conf"
#: What each store of Hydra's has: the node by group and name, and where it comes from. A process
#: has a second store where Luthier runs inside a program that uses Hydra itself.
_STORED: WeakKeyDictionary[ConfigStore, dict[tuple[str | None, str], tuple[Any, str]]] = (
    WeakKeyDictionary()
)


def composed(arguments: Sequence[str], job: Callable[[DictConfig], None]) -> None:
    """Compose a config from `arguments`, and call `job` with it; `-m` starts a sweep of Hydra's."""
    # A command without a flag is a single run, too.
    arguments = [word for word in arguments if word not in ("--run", "-r")]
    if is_sweep(arguments):
        _check_recipes([a for a in arguments if a not in SWEEP])
    elif not any(argument.startswith("-") for argument in arguments):
        _check_heard(arguments)
        with composing(arguments) as cfg:
            job(cfg)
        return
    sys.argv = [program(), *arguments]
    run = hydra_main(version_base="1.3", config_path=str(CONF), config_name="config")(job)
    if is_sweep(arguments):
        run()
        return
    # Hydra's other flags only show something, and Hydra prints it uncleaned.
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            run()
    finally:
        say(printed.getvalue(), end="")


@contextmanager
def composing(overrides: Sequence[str]) -> Iterator[DictConfig]:
    """Yield the config of one job; more can be composed inside the block.

    Hydra's own part of it takes no effect: no logger, folder or variable is set. Raises ConfigError
    if something but the box and the command line set that part.
    """
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", list(overrides), return_hydra_config=True)
        _check_own(cfg, overrides)
        yield entered(cfg)


def composed_again(overrides: Sequence[str]) -> DictConfig:
    """Return the config of the same job with other overrides, inside a block of `composing`."""
    cfg = compose("config", list(overrides), return_hydra_config=True)
    _check_own(cfg, overrides)
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def _check_own(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Raise ConfigError unless the box and the command line alone set Hydra's part of `cfg`."""
    typed = tuple(word for word in overrides if "hydra" in word.partition("=")[0])
    if _of_hydra(cfg) != _own(typed):
        raise ConfigError(
            "something other than the command line changed Hydra's own settings",
            "a recipe or a preset may name plugins and options, and nothing else",
            "nothing was run; see what was composed: --cfg hydra",
        )


@functools.lru_cache(maxsize=8)
def _own(typed: tuple[str, ...]) -> dict[str, Any]:
    """Return Hydra's part as the box and these words of the command line alone set it."""
    return _of_hydra(compose("config", list(typed), return_hydra_config=True))


def _of_hydra(cfg: DictConfig) -> dict[str, Any]:
    """Return Hydra's part of a config without the values that differ between jobs."""
    part = cast("dict[str, Any]", OmegaConf.to_container(cfg.hydra, resolve=False))
    chosen = part.pop("runtime")["choices"]
    del part["overrides"]
    for name in ("name", "override_dirname", "id", "num", "config_name"):
        del part["job"][name]
    return {**part, "choices": {k: v for k, v in chosen.items() if k.startswith("hydra")}}


def _check_recipes(arguments: Sequence[str]) -> None:
    """Check Hydra's part for every recipe of a sweep, before Hydra acts on it.

    A recipe that cannot be composed is left to the sweep, which reports its points.
    """
    overrides = OverridesParser.create().parse_overrides(list(arguments))
    fixed = [str(o.input_line) for o in overrides if not o.is_sweep_override()]
    swept = [o for o in overrides if o.is_sweep_override() and o.get_key_element() == "recipe"]
    names = [name for o in swept if o.is_discrete_sweep() for name in o.sweep_string_iterator()]
    for words in [[*fixed, f"recipe={name}"] for name in names] or [fixed]:
        try:
            with composing(words):
                pass
        except (HydraException, OmegaConfBaseException):
            continue


def _check_heard(arguments: Sequence[str]) -> None:
    """Refuse a word that only a sweep, or Hydra's own way of running a job, would read."""
    for word in arguments:
        key = key_of(word)
        if key.startswith("hydra") and key != "hydra.verbose":
            sweeps = key.startswith(("hydra/launcher", "hydra/sweeper", "hydra.launcher",
                                     "hydra.sweep"))  # fmt: skip
            raise ConfigError(
                f"`{key}` does nothing in a single run",
                "it is for sweeps: add -m" if sweeps else "where results go: output=... store=...",
                "possible: hydra.verbose=true, for the whole trace of an error",
            )


def entered(cfg: DictConfig) -> DictConfig:
    """Make `cfg` Hydra's current config; return a copy of it without Hydra's own part."""
    HydraConfig.instance().set_config(cfg)
    own = copy.deepcopy(cfg)
    OmegaConf.set_readonly(own, None)
    with open_dict(own):
        del own["hydra"]
    return own


def recipe_of_job() -> str:
    """Return the name of the recipe that the job was composed from; "" for none."""
    return HydraConfig.get().runtime.choices.get("recipe") or ""


def words_of_job() -> list[str]:
    """Return the words of the job as they were given: reading them one by one resolves `${`."""
    words = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    return cast("list[str]", words)


def register(registry: Registry, recipes: Mapping[str, Recipe]) -> None:
    """Store every schema and recipe, and the presets of other distributions, for Hydra."""
    # Hydra 1.3 copies its sources for every config that it composes, and the whole store with them:
    # a fifth of the time. The store itself copies what it hands out, so it need not be copied.
    setattr(ConfigStore, "__deepcopy__", lambda self, _: self)  # noqa: B010  # not ours to type
    _store(name="settings", node=_settings(limits.names(registry)), provider="luthier")
    _store(group="target", name="schema", node=_target(), provider="luthier")
    presets = read_presets(registry.presets)
    precisions = [*read_group(CONF, "precision"), *presets]
    lowered = named(one.node for one in precisions if one.group == "precision")
    for entry, schema in registry.schemas():
        node = schema
        if entry.kind == "runtime" and entry.name in lowered:
            node = referring(entry, frozenset(lowered[entry.name]))
        plural = entry.kind in PLURAL
        _store(
            group=entry.kind,
            name=entry.name,
            node=node,
            package=f"{entry.kind}.{entry.name}" if plural else None,
            provider=entry.distribution,
        )
    _forget_others(recipes)
    for recipe in recipes.values():
        for (group, name), choice in recipe.choices.items():
            _store(group=group, name=name, node=choice, provider=str(recipe.file))
        _store(
            group="recipe",
            name=recipe.name,
            node=recipe.node,
            package="_global_",
            provider=str(recipe.file),
        )

    _store_presets(registry, presets)
    Plugins.instance()  # loads Hydra's plugins, the launchers among them
    launchers.preset(ConfigStore.instance())


def _forget_others(recipes: Mapping[str, Recipe]) -> None:
    """Remove the recipes that an earlier command of this process named by their files."""
    store = ConfigStore.instance()
    stored = _STORED.get(store, {})
    for group, name in [key for key in stored if key[0] == "recipe" and key[1] not in recipes]:
        del stored[group, name]
        store.repo.get("recipe", {}).pop(f"{name}.yaml", None)


@functools.lru_cache(maxsize=8)
def _settings(names: tuple[str, ...]) -> DictConfig:
    """Return the schema of a config whose contract may set the limits of these names."""
    settings = cast("DictConfig", OmegaConf.structured(Settings))
    # A frozen dataclass makes its node read-only, and then no preset could fill it in.
    OmegaConf.set_readonly(settings.target, None)
    settings.contract = OmegaConf.structured(limits.schema(names))
    # Its options depend on the chunker that it names.
    OmegaConf.set_struct(settings.measure.against, False)
    return settings


@functools.cache
def _target() -> DictConfig:
    """Return the schema of a target, which a preset can fill in."""
    target = cast("DictConfig", OmegaConf.structured(Target))
    OmegaConf.set_readonly(target, None)
    return target


def _store(
    *, name: str, node: Any, group: str | None = None, package: str | None = None, provider: str
) -> None:
    """Store a node, unless the same one is there: a process may run many commands."""
    stored = _STORED.setdefault(ConfigStore.instance(), {})
    before, from_where = stored.get((group, name), (None, ""))
    # Only plain nodes are compared: two schemas may be equal and differ in their types.
    same = before is node or (isinstance(node, dict) and before == node)
    if same and from_where == provider:
        return
    ConfigStore.instance().store(name, node, group, package, provider)
    stored[group, name] = node, provider


def _store_presets(registry: Registry, presets: Sequence[Preset]) -> None:
    """Store the presets of other distributions, except one that would hide a plugin or preset."""
    for preset in presets:
        own = CONF / preset.group / f"{preset.name}.yaml"
        if preset.name in registry.entries.get(preset.group, {}) or own.is_file():
            why = f"its preset has the name of another {preset.group}: rename it"
            registry.broken.append(Broken(why, str(preset.file), name=preset.name))
            continue
        _store(group=preset.group, name=preset.name, node=preset.node, provider=str(preset.file))
