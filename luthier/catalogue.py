"""Everything that a recipe can name, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from luthier.calls import called

__all__ = ["Catalogue", "list"]


@dataclass(frozen=True)
class Catalogue:
    """Names with their titles; `plugins` by kind; `broken` are distributions that do not load."""

    recipes: Mapping[str, str]
    targets: Mapping[str, str]
    precisions: Mapping[str, str]
    plugins: Mapping[str, Mapping[str, str]]
    broken: tuple[str, ...] = ()


def list() -> Catalogue:  # noqa: A001  # the word of the command line
    """Return what `mode=list` shows."""
    from core.cli.listing import presets
    from core.cli.main import read
    from core.config.compose import CONF
    from core.plugin.kinds import KINDS

    with called(show=False):
        command = read(["mode=list"])
        registry = command.registry
        return Catalogue(
            {name: recipe.title for name, recipe in command.recipes.items()},
            presets(registry, CONF, "target"),
            presets(registry, CONF, "precision"),
            {
                kind: {name: registry.entries[kind][name].summary for name in registry.names(kind)}
                for kind in KINDS
            },
            tuple(str(one) for one in registry.broken),
        )
