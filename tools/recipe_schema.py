"""The JSON Schema of recipes of the plugins in the box."""

from __future__ import annotations

import json
from pathlib import Path

from core.config.recipe_schema import recipe_schema
from core.plugin.registry import Registry

__all__ = ["FILE", "text"]

ROOT = Path(__file__).parent.parent
FILE = ROOT / "docs" / "schemas" / "recipe.schema.json"


def text(registry: Registry) -> str:
    """Return the text of the schema; the additions of other distributions are left out."""
    boxed = Registry(registry.manager)
    for entry in registry:
        if entry.distribution == "luthier":
            boxed.entries[entry.kind][entry.name] = entry
    return json.dumps(recipe_schema(boxed, ROOT / "conf"), indent=1, ensure_ascii=False) + "\n"
