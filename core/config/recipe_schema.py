"""The JSON Schema of recipes, from the options of every installed plugin.

An editor that reads it completes keys and options, shows what they mean, and marks what is
misspelt. The judges of a recipe remain `core/config/grammar.py` and the plugins themselves.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.config import limits
from core.config.grammar import CHOICES
from core.config.presets import Preset, plugin_of, read_presets
from core.config.settings import PLURAL, SLOTS, Batch, Fit, Measure, Mode, Scale, Sweep
from core.plugin.kinds import KINDS
from core.plugin.options import PLUGIN_KEY, describe
from core.plugin.registry import Registry
from core.plugin.values import Target

__all__ = ["TITLE", "recipe_schema"]

TITLE = "A recipe of Luthier"
#: A value may be a reference to another one of the same recipe.
REFERENCE = {"type": "string", "pattern": r"^\$\{[a-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*\}$"}
NAME = {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_]*$"}
PLAIN: dict[type, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    # OmegaConf turns numbers into texts.
    str: {"type": ["string", "number", "boolean"]},
    types.NoneType: {"type": "null"},
}


def recipe_schema(registry: Registry, conf: Path) -> dict[str, Any]:
    """Return the schema of a recipe that names plugins of `registry` and presets of `conf`."""
    presets = read_presets([conf, *registry.presets])
    definitions = {kind: _kind(kind, registry, presets) for kind in KINDS}
    slots = {slot: {"$ref": f"#/$defs/{kind}"} for slot, kind in SLOTS.items()}
    precisions = _names(presets, "precision")
    sections = {
        "measure": _object(Measure),
        "fit": _object(Fit),
        "batch": _object(Batch, without=("address",)),
        "sweep": _object(Sweep),
        "contract": _contract(registry),
    }
    choices = {
        "target": _one_of(_enum(_names(presets, "target")), _object(Target)),
        "precision": _one_of(
            _enum(precisions), _closed({"name": {"type": "string"}, "title": {"type": "string"}})
        ),
        **slots,
    }
    plain = {
        "title": {"type": "string", "description": "What the recipe is for, in a few words."},
        "input": {"type": ["string", "null"]},
        "mode": _enum([mode.name for mode in Mode]),
        "scale": _one_of(_enum([scale.name for scale in Scale]), PLAIN[types.NoneType]),
        "auto": {"type": "boolean"},
        "ladder": {"type": ["array", "null"], "items": NAME},
        "defaults": _defaults(),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": TITLE,
        **_closed({**plain, **choices, **sections}),
        "$defs": definitions,
    }


def _kind(kind: str, registry: Registry, presets: Sequence[Preset]) -> dict[str, Any]:
    """Return what a recipe may say for a slot: a name, or a plugin with its options."""
    plugins, named = registry.names(kind), [one for one in presets if one.group == kind]
    names, null = _enum([*plugins, *(one.name for one in named)]), PLAIN[types.NoneType]
    about = {"description": inspect.cleandoc(KINDS[kind].__doc__ or "").partition("\n")[0]}
    options = {name: _options(registry, kind, name) for name in plugins}
    if kind in PLURAL:
        several = {"type": "array", "items": names, "uniqueItems": True}
        mapping = {name: _one_of(one, null) for name, one in options.items()}
        return about | _one_of(names, several, _closed(mapping), null)
    bases = {name: name for name in plugins}
    bases |= {one.name: plugin_of(one, presets) for one in named}
    with_options = []
    for plugin in plugins:
        meant = _enum(name for name, base in bases.items() if base == plugin)
        whole = _closed({PLUGIN_KEY: meant, **options[plugin]["properties"]})
        with_options.append({**whole, "required": [PLUGIN_KEY]})
    # Without a name, the options are those of the plugin that the target or `defaults` chooses.
    every: dict[str, Any] = {key: {} for one in options.values() for key in one["properties"]}
    return about | _one_of(names, null, *with_options, _closed(every))


def _options(registry: Registry, kind: str, name: str) -> dict[str, Any]:
    entry = registry.entries[kind][name]
    return {"description": entry.summary, **_object(entry.cls.Options)}


def _contract(registry: Registry) -> dict[str, Any]:
    number = {"type": ["number", "null"]}
    known = limits.known_limits(registry)
    return _closed(
        {
            name: {"description": known[name].about, **_one_of(number, REFERENCE)}
            for name in limits.names(registry)
        }
    )


def _defaults() -> dict[str, Any]:
    """Return Hydra's own way to write the choices, which a recipe may use, too."""
    group = rf"^(override )?/?({'|'.join(sorted(CHOICES))}|[a-z]+@[a-z]+)$"
    names = _one_of(NAME, {"type": "array", "items": NAME}, PLAIN[types.NoneType])
    entry = {
        "type": "object",
        "patternProperties": {group: names},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }
    return {"type": "array", "items": _one_of({"const": "_self_"}, entry)}


def _object(options: Any, without: Sequence[str] = ()) -> dict[str, Any]:
    """Return the schema of a dataclass of options."""
    try:
        hints = typing.get_type_hints(options)
    except Exception:  # a plugin's annotation that names nothing
        hints = {}
    properties = {}
    for one in describe(options):
        if one.name in without:
            continue
        about = " ".join(part for part in (one.text, f"Default: {one.default}.") if part)
        properties[one.name] = {"description": about, **_of(hints.get(one.name, Any))}
    return _closed(properties)


def _of(annotation: Any) -> dict[str, Any]:
    """Return the schema of one option's type, or a reference in its place."""
    schema = _type(annotation)
    if not schema or "string" in str(schema.get("type", "")):
        return schema
    return _one_of(schema, REFERENCE)


def _type(annotation: Any) -> dict[str, Any]:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return _one_of(*(_type(part) for part in parts))
    if origin is list:
        return {"type": "array", "items": _of(parts[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(parts[1])}
    if annotation in (list, dict):
        return {"type": "array" if annotation is list else "object"}
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _enum([one.name for one in annotation])
    if dataclasses.is_dataclass(annotation):
        return _object(annotation)
    return PLAIN.get(annotation, {})


def _names(presets: Sequence[Preset], group: str) -> list[str]:
    return sorted(one.name for one in presets if one.group == group)


def _enum(names: Iterable[str]) -> dict[str, Any]:
    return {"enum": list(dict.fromkeys(names))}


def _closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "additionalProperties": False}


def _one_of(*schemas: dict[str, Any]) -> dict[str, Any]:
    return {} if {} in schemas else {"anyOf": list(schemas)}
