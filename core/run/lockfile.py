"""The lock file of a run: a recipe with every option, which reproduces it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import yaml

from core.config.settings import PLURAL, SLOTS, literal
from core.plugin.values import Artifact
from core.text.shown import plain

__all__ = ["lock"]


def lock(
    config: Mapping[str, Any], artifacts: Mapping[str, Artifact], versions: Mapping[str, str]
) -> str:
    """Return a recipe in YAML that holds every option, with the hashes and versions as comments.

    `artifacts` are those of the run, by the name of their step. Options that a stage chose
    replace those of the config.
    """
    config = _settled(config, artifacts)
    recipe: dict[str, Any] = {"title": config.get("title", "")}
    for key in ("target", "precision"):
        if (config.get(key) or {}).get("name"):
            recipe[key] = config[key]["name"]
    for slot in SLOTS:
        node = config.get(slot)
        if slot in PLURAL:
            recipe[slot] = {
                name: {k: v for k, v in (options or {}).items() if k != "plugin"}
                for name, options in (node or {}).items()
            }
        elif node is not None:
            recipe[slot] = node
    recipe["measure"] = config.get("measure")
    if config.get("scale"):
        recipe |= {key: config.get(key) for key in ("scale", "batch")}
    head = [
        "# Reproduces this run: python -m core recipe=recipe.lock.yaml",
        f"# weights sha256: {artifacts['model'].sha256}",
        *(f"# {name} {version}" for name, version in versions.items()),
    ]
    recipe = _literal(recipe)
    body: str = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    if plain(body) != body:
        # Escaped, a title keeps its value, and no terminal that shows the file executes it.
        body = yaml.safe_dump(recipe, sort_keys=False)
    return "\n".join([*head, body])


def _literal(value: Any) -> Any:
    """Return a value whose texts a recipe takes as they are: a name of a file may hold `${`."""
    if isinstance(value, Mapping):
        return {key: _literal(inside) for key, inside in value.items()}
    if isinstance(value, list):
        return [_literal(inside) for inside in value]
    return literal(value) if isinstance(value, str) else value


def _settled(config: Mapping[str, Any], artifacts: Mapping[str, Artifact]) -> dict[str, Any]:
    """Return a copy of `config` with the options that stages chose: `slot` or `slot.plugin`."""
    merged = copy.deepcopy(dict(config))
    for step, artifact in artifacts.items():
        node = merged
        for key in step.split(".") if artifact.chosen_options else ():
            node = node[key]
        node.update(artifact.chosen_options)
    return merged
