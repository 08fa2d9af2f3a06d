"""Finds plugins through the entry-point group `luthier` and looks them up by kind and name."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from core import hooks
from core.errors import ConfigError, LuthierError, MissingLibraryError, PluginError, did_you_mean
from core.exchange import Library
from core.kinds import KINDS, Plugin

__all__ = ["Entry", "Registry", "discover"]


@dataclass(frozen=True)
class Entry:
    """A plugin class with the distribution and file that it came from."""

    kind: str
    name: str
    cls: type[Plugin[Any]]
    distribution: str
    file: str

    @property
    def summary(self) -> str:
        """Return the first line of the class's docstring."""
        return (inspect.getdoc(self.cls) or "").partition("\n")[0]

    @property
    def missing(self) -> tuple[Library, ...]:
        """Return the libraries that are not installed; imports none of them."""
        return tuple(lib for lib in self.cls.libraries if not _installed(lib.module))

    def problem(self) -> str:
        """Return why the plugin cannot run on this machine, with what mends it; empty if it can."""
        if self.missing:
            return "; ".join(
                f"{lib.module} is not installed: {lib.install}" for lib in self.missing
            )
        return self.cls.unavailable()

    def create(self, options: object) -> Plugin[Any]:
        """Make the plugin; raises MissingLibraryError with the exact install command."""
        if self.missing:
            raise MissingLibraryError(
                f"{self.kind} `{self.name}` needs `{self.missing[0].module}`, not installed",
                *(f"install it: {lib.install}" for lib in self.missing),
            )
        return self.cls(options)


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


class Registry:
    """The mapping kind → name → plugin class, and the folders with presets and recipes."""

    def __init__(self, manager: pluggy.PluginManager) -> None:
        self.manager = manager
        self.entries: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
        self.presets: list[Path] = []
        self.recipes: list[Path] = []

    def __iter__(self) -> Iterator[Entry]:
        for entries in self.entries.values():
            yield from sorted(entries.values(), key=lambda entry: entry.name)

    def names(self, kind: str) -> list[str]:
        """Return the names of every plugin of `kind`, sorted."""
        return sorted(self.entries[kind])

    def find(self, kind: str, name: str) -> Entry:
        """Return the plugin; raises ConfigError with the nearest name and the whole list."""
        try:
            return self.entries[kind][name]
        except KeyError:
            raise ConfigError(
                f"no {kind} is named `{name}`",
                did_you_mean(name, self.names(kind)),
                f"{kind} plugins: {', '.join(self.names(kind))}",
            ) from None

    def add(self, cls: type[Plugin[Any]], distribution: str) -> None:
        """Add a class after checking that it keeps the contract of its kind."""
        entry = _checked(cls, distribution)
        known = self.entries[entry.kind].get(entry.name)
        if known is not None:
            raise PluginError(
                f"two {entry.kind} plugins are named `{entry.name}`",
                f"from {known.distribution}: {known.file}",
                f"from {entry.distribution}: {entry.file}",
                "uninstall one of the two distributions, or rename its plugin",
            )
        self.entries[entry.kind][entry.name] = entry


def _checked(cls: object, distribution: str) -> Entry:
    """Return the entry for a class, or say which plugin of which distribution is wrong and how."""
    if not inspect.isclass(cls):
        raise PluginError(
            f"`luthier_plugins` of distribution `{distribution}` returned {cls!r}, not a class"
        )
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None) or "?"
    where = (f"plugin: {cls.__name__}", f"distribution: {distribution}", f"file: {file}")
    kind = next((k for k in KINDS.values() if issubclass(cls, k)), None)
    if kind is None or not issubclass(cls, Plugin):
        raise PluginError(
            f"`{cls.__name__}` is no plugin: it derives from none of the kinds",
            *where,
            f"kinds in `core`: {', '.join(k.__name__ for k in KINDS.values())}",
        )
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not name.isidentifier():
        raise PluginError(
            f"{kind.kind} `{cls.__name__}` has no usable `name`: {name!r}",
            *where,
            'give the class an attribute such as `name = "my_plugin"`',
        )
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        raise PluginError(
            f"{kind.kind} `{name}` lacks {', '.join(f'`{method}`' for method in missing)}", *where
        )
    if not (inspect.isclass(cls.Options) and dataclasses.is_dataclass(cls.Options)):
        raise PluginError(f"{kind.kind} `{name}`: `Options` is not a dataclass", *where)
    return Entry(kind.kind, name, cls, distribution, file)


def discover(extra: Mapping[str, ModuleType] | None = None) -> Registry:
    """Load every module of the entry-point group `luthier`, and the modules of `extra` (tests)."""
    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    origins: dict[str, str] = {}
    for point in importlib.metadata.entry_points(group=hooks.PROJECT):
        distribution = point.dist.name if point.dist else "?"
        key = f"{distribution}:{point.name}"
        if key in origins:
            continue
        try:
            module = point.load()
        except LuthierError:
            raise
        except Exception as error:
            raise PluginError(
                f"plugin module `{point.value}` cannot be imported: {error}",
                f"distribution: {distribution}",
                f"mend it, or remove it: pip uninstall {distribution}",
            ) from error
        _register(manager, module, key)
        origins[key] = distribution
    for key, module in (extra or {}).items():
        _register(manager, module, key)
        origins[key] = key
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(
            f"a plugin implements a hook that does not exist: {error}",
            f"hooks: {', '.join(n for n in dir(hooks) if n.startswith('luthier_'))}",
        ) from error
    return _collect(manager, origins)


def _register(manager: pluggy.PluginManager, module: object, key: str) -> None:
    try:
        manager.register(module, key)
    except (pluggy.PluginValidationError, ValueError) as error:
        raise PluginError(
            f"plugin module `{getattr(module, '__name__', module)}` is not valid: {error}",
            f"distribution: {key.partition(':')[0]}",
            f"file: {getattr(module, '__file__', '?')}",
        ) from error


def _collect(manager: pluggy.PluginManager, origins: Mapping[str, str]) -> Registry:
    registry = Registry(manager)
    for hook, accept in (
        (manager.hook.luthier_plugins, registry.add),
        (manager.hook.luthier_presets, lambda path, _: registry.presets.append(Path(path))),
        (manager.hook.luthier_recipes, lambda path, _: registry.recipes.append(Path(path))),
    ):
        for implementation in hook.get_hookimpls():
            distribution = origins[implementation.plugin_name]
            for value in _returned(implementation, distribution):
                accept(value, distribution)
    return registry


def _returned(implementation: pluggy.HookImpl, distribution: str) -> list[Any]:
    """Call one plugin module's hook; what it raises is the module's fault and said so."""
    name = implementation.function.__name__
    try:
        returned: Any = implementation.function()
        return list(returned)
    except LuthierError:
        raise
    except Exception as error:
        raise PluginError(
            f"`{name}` of distribution `{distribution}` failed: {type(error).__name__}: {error}",
            f"file: {getattr(implementation.plugin, '__file__', '?')}",
        ) from error
