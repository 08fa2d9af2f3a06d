"""Finds plugins, presets and recipes through the entry-point group `luthier`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from core.errors import (
    LuthierError,
    PluginError,
)
from core.plugin import hooks
from core.plugin.broken import Broken, in_one_line, last_line
from core.plugin.kinds import KINDS
from core.plugin.origin import Terminated
from core.plugin.registry import Registry

__all__ = ["discover", "entry_points"]


def discover(extra: Mapping[str, ModuleType] | None = None) -> Registry:
    """Load every module of the entry-point group `luthier`, and the modules of `extra` (tests).

    Raises nothing for a broken distribution: `Registry.broken` lists it.
    """
    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    registry = Registry(manager)
    origins: dict[str, str] = {}
    for point in entry_points():
        distribution = (point.dist.name if point.dist else "") or "?"
        key = f"{distribution}:{point.name}"
        if key in origins:
            continue
        origins[key] = distribution
        with _noted(registry, point.value, distribution):
            _register(manager, point.load(), key)
    for key, module in (extra or {}).items():
        origins[key] = key
        with _noted(registry, getattr(module, "__file__", None) or "?", key):
            _register(manager, module, key)
    _note_misspelt(registry, origins)
    _collect(registry, origins)
    return registry


def entry_points() -> importlib.metadata.EntryPoints:
    """Return the entry points of the installed distributions that bring plugins."""
    return importlib.metadata.entry_points(group=hooks.PROJECT)


@contextlib.contextmanager
def _noted(registry: Registry, file: str, distribution: str) -> Iterator[None]:
    """Record an error of the block as a broken distribution, and go on."""
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        raise
    except LuthierError as error:
        named = (line.removeprefix("file: ") for line in error.lines if line.startswith("file: "))
        found = next(named, file)
        registry.broken.append(Broken(in_one_line(error), found, distribution=distribution))
    except BaseException as error:
        registry.broken.append(Broken(last_line(error), file, distribution=distribution))


def _register(manager: pluggy.PluginManager, module: object, key: str) -> None:
    try:
        manager.register(module, key)
    except (pluggy.PluginValidationError, ValueError) as error:
        raise PluginError(
            f"plugin module `{getattr(module, '__name__', module)}` is not valid: {error}"
        ) from error


def _note_misspelt(registry: Registry, origins: Mapping[str, str]) -> None:
    """Record a hook that does not exist: pluggy would silently never call it."""
    known = ", ".join(n for n in dir(hooks) if n.startswith("luthier_"))
    callers = {name: hook for name, hook in vars(registry.manager.hook).items() if name[0] != "_"}
    for name, hook in callers.items():
        if hook.has_spec():
            continue
        for implementation in hook.get_hookimpls():
            distribution = origins[implementation.plugin_name]
            file = getattr(implementation.plugin, "__file__", None) or "?"
            with _noted(registry, file, distribution):
                raise PluginError(f"there is no hook `{name}`", f"hooks: {known}")


def _collect(registry: Registry, origins: Mapping[str, str]) -> None:
    """Call the hooks of every distribution, and accept the values that they return one by one."""
    hook = registry.manager.hook
    accepts: tuple[tuple[pluggy.HookCaller, Callable[[Any, str], None]], ...] = (
        (hook.luthier_plugins, functools.partial(_accept, registry)),
        (hook.luthier_presets, functools.partial(_add_folder, registry.presets, _read_presets)),
        (hook.luthier_recipes, functools.partial(_add_folder, registry.recipes, _read_recipes)),
    )
    for caller, accept in accepts:
        for implementation in caller.get_hookimpls():
            distribution = origins[implementation.plugin_name]
            file = getattr(implementation.plugin, "__file__", None) or "?"
            values: list[Any] = []
            with _noted(registry, file, distribution):
                values = _returned(implementation)
            for value in values:
                with _noted(registry, file, distribution):
                    accept(value, distribution)


def _add_folder(
    folders: list[Path], read: Callable[[list[Path]], object], path: Any, distribution: str
) -> None:
    """Add a folder of presets or recipes; raises what `read` raises for a file in it."""
    folder = Path(path)
    if distribution != hooks.PROJECT:
        # A file that cannot be read, or that repeats a name, would stop every command.
        read([*folders, folder])
    folders.append(folder)


def _read_presets(folders: list[Path]) -> None:
    from core.config.presets import read_presets

    read_presets(folders)


def _read_recipes(folders: list[Path]) -> None:
    from core.config.recipes import read_recipes

    read_recipes(folders)


def _accept(registry: Registry, found: Any, distribution: str) -> None:
    if isinstance(found, Broken):
        registry.broken.append(dataclasses.replace(found, distribution=distribution))
        return
    try:
        registry.add(found, distribution)
    except PluginError as error:
        kind, name = getattr(found, "kind", ""), getattr(found, "name", "")
        if kind not in KINDS or not isinstance(name, str) or not name:
            raise
        file = getattr(sys.modules.get(found.__module__), "__file__", None) or "?"
        registry.broken.append(Broken(in_one_line(error), file, kind, name, distribution))


def _returned(implementation: pluggy.HookImpl) -> list[Any]:
    """Call one plugin module's hook; turn its errors into a PluginError that names the hook."""
    name = implementation.function.__name__
    try:
        returned: Any = implementation.function()
        return list(returned)
    except (KeyboardInterrupt, Terminated):
        raise
    except BaseException as error:
        raise PluginError(f"its `{name}` failed: {last_line(error)}") from error
