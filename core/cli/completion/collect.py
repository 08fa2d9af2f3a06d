"""Collects what can be completed from the installed plugins, presets and recipes."""

from __future__ import annotations

import dataclasses
import enum
import importlib.util
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.cli.completion.vocabulary import Choices, Vocabulary, titles
from core.config import limits
from core.config.arguments import PATHS
from core.config.compose import CONF
from core.config.discovery import discover, entry_points
from core.config.presets import Preset, plugin_of, read_presets
from core.config.recipes import read_recipes
from core.config.settings import PLURAL, SLOTS, Mode, Settings
from core.plugin.options import PLUGIN_KEY
from core.plugin.registry import Registry

__all__ = ["collect"]

CORE = Path(__file__).parents[2]


def collect() -> Vocabulary:
    """Return all that can be completed here; its stamp is still empty."""
    registry = discover()
    recipes = read_recipes(registry.recipes)
    presets = read_presets([CONF, *registry.presets])
    names = {
        "recipe": titles({name: one.title for name, one in recipes.items()}),
        "mode": {mode.name: "" for mode in Mode},
        **{group: _titles(presets, group) for group in ("target", "precision")},
    }
    for slot, kind in SLOTS.items():
        of_kind = {entry.name: entry.summary for entry in registry if entry.kind == kind}
        names[slot] = titles(of_kind) | _titles(presets, kind)
    options: dict[str, dict[str, dict[str, Choices]]] = {}
    for entry in registry:
        options.setdefault(entry.kind, {})[entry.name] = _options(entry.cls.Options)
    options[""] = _sections(registry)
    plugins: dict[str, dict[str, str]] = {}
    for preset in presets:
        plugins.setdefault(preset.group, {})[preset.name] = plugin_of(preset, presets)
    return Vocabulary(
        stamp="",
        watched=tuple(sorted({str(path) for path in _watched(registry)})),
        slots=dict(SLOTS),
        plural=tuple(sorted(PLURAL)),
        keys=_keys(),
        names=names,
        options=options,
        plugins=plugins,
        chosen={
            "recipe": {name: _chosen(one.content) for name, one in recipes.items()},
            "target": {one.name: _chosen(one.node) for one in presets if one.group == "target"},
        },
    )


def _titles(presets: list[Preset], group: str) -> dict[str, str]:
    return titles({one.name: one.title for one in presets if one.group == group})


def _keys() -> dict[str, Choices]:
    """Return the keys that are no slot, with what each can be."""
    found = _options(Settings)
    kept = {key: one for key, one in found.items() if key not in SLOTS}
    paths = {key: Choices((), files=True) for key in PATHS}
    return {"recipe": Choices(), **kept, **paths}


def _sections(registry: Registry) -> dict[str, dict[str, Choices]]:
    """Return the options below each key that is no slot, by the key."""
    found = {}
    for key, annotation in typing.get_type_hints(Settings).items():
        if dataclasses.is_dataclass(annotation):
            found[key] = _options(annotation)
    found["contract"] = dict.fromkeys(limits.names(registry), Choices(("null",)))
    return found


def _options(options: Any) -> dict[str, Choices]:
    """Return the options of a dataclass with what each can be, as far as its type says so."""
    try:
        hints = typing.get_type_hints(options)
    except Exception:  # a plugin's annotation that names nothing
        hints = {}
    return {f.name: _choices(hints.get(f.name)) for f in dataclasses.fields(options)}


def _choices(annotation: Any) -> Choices:
    parts = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    values: list[str] = []
    for part in parts:
        if isinstance(part, type) and issubclass(part, enum.Enum):
            values += [one.name for one in part]
        elif part is bool:
            values += ["true", "false"]
        elif part is types.NoneType:
            values.append("null")
    return Choices(tuple(values), files=str in parts)


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _chosen(content: Mapping[str, Any]) -> dict[str, str]:
    """Return the names that a recipe or a target chooses, by their keys."""
    found = {}
    for key in ("target", "precision", *SLOTS):
        value = content.get(key)
        name = value.get(PLUGIN_KEY) if isinstance(value, Mapping) else value
        if isinstance(name, str):
            found[key] = name
    return found


def _watched(registry: Registry) -> Iterator[Path]:
    """Yield the folders and files whose change can change what is completed."""
    yield from (CORE, CONF, *registry.presets, *registry.recipes)
    for point in entry_points():
        found = importlib.util.find_spec(point.module.partition(".")[0])
        if found is not None and found.submodule_search_locations:
            yield from map(Path, found.submodule_search_locations)
        elif found is not None and found.origin:
            yield Path(found.origin)
