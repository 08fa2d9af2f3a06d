"""What a stored result depends on: the plugin, its source, options and libraries, the machine.

The fingerprint is plain JSON, so that `mode=plan` can say which line of it changed.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import sys
from enum import Enum
from typing import Any

from core.machine.environment import installed_version
from core.plugin.kinds import Plugin
from core.store import source_code

#: Longest value that a line of `changes` shows whole, in characters.
SHOWN = 40


__all__ = ["changes", "of_plugin"]


def of_plugin(plugin: Plugin[Any]) -> dict[str, Any]:
    """Return what the results of `plugin` depend on, beside its inputs."""
    cls = type(plugin)
    facts = dict(plugin.machine())
    options = dataclasses.asdict(plugin.options)
    return {
        "kind": cls.kind,
        "plugin": cls.name,
        "version": cls.version,
        "source": source_code.of_module(cls.__module__),
        "kind_source": [
            source_code.tree_digest(c) for c in cls.__mro__ if c.__module__ == Plugin.__module__
        ],
        "options": json.loads(json.dumps(options, sort_keys=True, default=_plain)),
        "libraries": {
            name: installed_version(name) or "absent"
            for name in (lib.distribution or lib.module for lib in cls.libraries)
        },
        "platform": f"{sys.platform}-{platform.machine()}",
        # Only where there are any, so that no other key changes.
        **({"machine": facts} if facts else {}),
    }


def _plain(value: object) -> str:
    return value.name if isinstance(value, Enum) else str(value)


def changes(old: object, new: object, path: str = "") -> list[str]:
    """Return one line per difference, such as `runtime.options.length: 1 -> 2`."""
    if isinstance(old, dict) and isinstance(new, dict):
        lines: list[str] = []
        for key in sorted({*old, *new}):
            both = old.get(key), new.get(key)
            lines += changes(*both, ".".join(filter(None, (path, _named(str(key), *both)))))
        return lines
    if old == new:
        return []
    if path.startswith("code."):
        return [f"{path.removeprefix('code.')}: the core's code changed"]
    if path.endswith("source"):
        return [f"{path}: the plugin's code changed"]
    return [f"{path}: {_short(old)} -> {_short(new)}"]


def _named(key: str, *values: object) -> str:
    """Return a key as a person knows it: the plugin of a step by its kind, `runtime`."""
    kinds = {value.get("kind") for value in values if isinstance(value, dict)}
    return str(next(iter(kinds))) if key == "stage" and len(kinds) == 1 else key


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= SHOWN else f"{text[:12]}…"
