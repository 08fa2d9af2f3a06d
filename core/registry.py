"""Finds plugins through the entry-point group `luthier` and looks them up by kind and name.

What cannot be loaded takes nothing else down: it is listed as broken, and an error for the recipe
that names it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from core import hooks
from core.blame import Origin, Terminated
from core.boundary import called, guarded
from core.broken import Broken, last_line
from core.errors import (
    ConfigError,
    LuthierError,
    MissingLibraryError,
    PluginError,
    did_you_mean,
)
from core.exchange import Library
from core.kinds import KINDS, Plugin
from core.plugin_class import checked
from core.values import Notice

if TYPE_CHECKING:
    from omegaconf import DictConfig

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
    def origin(self) -> Origin:
        """Return whose it is, for errors."""
        return Origin(self.kind, self.name, self.distribution, self.file)

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
        try:
            return called(self.origin, "unavailable", _class(self).unavailable)
        except LuthierError as error:
            return "; ".join((error.what, *error.lines))

    def findings(self) -> Sequence[Notice]:
        """Return what `mode=doctor` says beside; one that fails says so."""
        try:
            return called(self.origin, "findings", _class(self).findings)
        except LuthierError as error:
            # The line that it stands in names the plugin already.
            said = error.what.removeprefix(f"{self.origin} failed: ")
            return [Notice("warning", f"cannot say: {said}")]

    def create(self, options: object) -> Plugin[Any]:
        """Make the plugin; raises MissingLibraryError with the exact install command.

        Whatever its methods do later is checked (core/boundary.py).
        """
        if self.missing:
            raise MissingLibraryError(
                f"{self.kind} `{self.name}` needs `{self.missing[0].module}`, not installed",
                *(f"install it: {lib.install}" for lib in self.missing),
            )
        return called(self.origin, "__init__", _class(self), options)


def _class(entry: Entry) -> type[Plugin[Any]]:
    return guarded(entry.cls, entry.origin)


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


class Registry:
    """The mapping kind → name → plugin class, and the folders with presets and recipes.

    `broken` has what was found and cannot be used.
    """

    def __init__(self, manager: pluggy.PluginManager) -> None:
        self.manager = manager
        self.entries: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
        self.presets: list[Path] = []
        self.recipes: list[Path] = []
        self.broken: list[Broken] = []

    def __iter__(self) -> Iterator[Entry]:
        for entries in self.entries.values():
            yield from sorted(entries.values(), key=lambda entry: entry.name)

    def names(self, kind: str) -> list[str]:
        """Return the names of every plugin of `kind`, sorted."""
        return sorted(self.entries[kind])

    def find(self, kind: str, name: str) -> Entry:
        """Return the plugin; raises ConfigError with the nearest name and the whole list.

        Raises PluginError for one that is there and broken.
        """
        try:
            return self.entries[kind][name]
        except KeyError:
            raise self.absent(kind, name) or ConfigError(
                f"no {kind} is named `{name}`",
                did_you_mean(name, self.names(kind)),
                f"{kind} plugins: {', '.join(self.names(kind))}",
                *self.doubts(),
            ) from None

    def absent(self, kind: str, name: str) -> PluginError | None:
        """Return why a plugin that was found cannot be used; None where there is none such."""
        found = (one for one in self.broken if (one.kind, one.name) == (kind, name))
        return next((one.error() for one in found), None)

    def doubts(self) -> tuple[str, ...]:
        """Return a line for each broken distribution: what is missing may be one of its plugins."""
        return tuple(f"{one}: it may be one of its" for one in self.broken if not one.ours)

    def add(self, cls: type[Plugin[Any]], distribution: str) -> None:
        """Add a class after checking that it keeps the contract of its kind.

        Raises PluginError; of two with one name neither can be used from then on.
        """
        entry = Entry(*checked(cls, distribution))
        known = self.entries[entry.kind].get(entry.name)
        if known is not None:
            del self.entries[entry.kind][entry.name]
            clash = _clash(known, entry)
            self.broken += [_of(known, clash), _of(entry, clash)]
            return
        first = next((o for o in self.broken if (o.kind, o.name) == (entry.kind, entry.name)), None)
        if first is not None:
            self.broken.append(_of(entry, first.why))
            return
        self.entries[entry.kind][entry.name] = entry

    def schemas(self) -> Iterator[tuple[Entry, DictConfig]]:
        """Yield every plugin with the node of its options; one that has none is broken."""
        from core.options import schema

        for entry in list(self):
            try:
                node = called(entry.origin, "Options", schema, entry)
            except LuthierError as error:
                del self.entries[entry.kind][entry.name]
                self.broken.append(_of(entry, _in_one(error)))
            else:
                yield entry, node


def _clash(one: Entry, other: Entry) -> str:
    return (
        f"two {one.kind} plugins are named `{one.name}`: "
        f"from {one.distribution}, {one.file}, and from {other.distribution}, {other.file}; "
        "uninstall one of the two distributions, or rename its plugin"
    )


def _of(entry: Entry, why: str) -> Broken:
    return Broken(why, entry.file, entry.kind, entry.name, entry.distribution)


def discover(extra: Mapping[str, ModuleType] | None = None) -> Registry:
    """Load every module of the entry-point group `luthier`, and the modules of `extra` (tests).

    Raises nothing for a distribution: what is wrong with one is in `Registry.broken`.
    """
    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    registry = Registry(manager)
    origins: dict[str, str] = {}
    for point in importlib.metadata.entry_points(group=hooks.PROJECT):
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


@contextlib.contextmanager
def _noted(registry: Registry, file: str, distribution: str) -> Iterator[None]:
    """Note what the block raises as a distribution that is broken, and go on."""
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        raise
    except LuthierError as error:
        named = (line.removeprefix("file: ") for line in error.lines if line.startswith("file: "))
        found = next(named, file)
        registry.broken.append(Broken(_in_one(error), found, distribution=distribution))
    except BaseException as error:
        registry.broken.append(Broken(last_line(error), file, distribution=distribution))


def _in_one(error: LuthierError) -> str:
    """Return an error as one line, without what `Broken` says itself."""
    own = ("distribution: ", "file: ", "plugin: ")
    return "; ".join((error.what, *(line for line in error.lines if not line.startswith(own))))


def _register(manager: pluggy.PluginManager, module: object, key: str) -> None:
    try:
        manager.register(module, key)
    except (pluggy.PluginValidationError, ValueError) as error:
        raise PluginError(
            f"plugin module `{getattr(module, '__name__', module)}` is not valid: {error}"
        ) from error


def _note_misspelt(registry: Registry, origins: Mapping[str, str]) -> None:
    """Note a hook that does not exist: pluggy would never call it, and say nothing."""
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
    """Call the hooks of every distribution, and take what they return one by one."""
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
    """Add a folder of presets or recipes; raises what `read` does of a file in it."""
    folder = Path(path)
    if distribution != hooks.PROJECT:
        # One that cannot be read, or that has the name of another, would stop every command.
        read([*folders, folder])
    folders.append(folder)


def _read_presets(folders: list[Path]) -> None:
    from core.presets import read_presets

    read_presets(folders)


def _read_recipes(folders: list[Path]) -> None:
    from core.recipes import read_recipes

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
        registry.broken.append(Broken(_in_one(error), file, kind, name, distribution))


def _returned(implementation: pluggy.HookImpl) -> list[Any]:
    """Call one plugin module's hook; what it raises is the module's fault and said so."""
    name = implementation.function.__name__
    try:
        returned: Any = implementation.function()
        return list(returned)
    except (KeyboardInterrupt, Terminated):
        raise
    except BaseException as error:
        raise PluginError(f"its `{name}` failed: {last_line(error)}") from error
