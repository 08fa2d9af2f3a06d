"""Hostile recipes from the whole syntax of Hydra and YAML: each is refused with one message."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.recipes import read_recipes
from core.errors import ConfigError
from tests.conftest import Command
from tests.fuzz.hydra_syntax import Hostile, hostile

SEED, COUNT, WHOLE = 1, 1000, 4


def refused(recipe: Hostile, file: Path) -> bool:
    """Return whether reading alone refuses a recipe; composing finds the remaining faults."""
    file.write_bytes(recipe.data)
    try:
        read_recipes([], [str(file)])
    except ConfigError:
        return True
    return False


def test_a_thousand_hostile_recipes_are_refused(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading refuses most of 1,000 hostile recipes, and composing refuses a sample of the rest."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LUTHIER_CANARY", "a-value-that-nobody-may-see")
    file = tmp_path / "toy.yaml"
    left = [recipe for recipe in hostile(COUNT, SEED) if not refused(recipe, file)]
    # Composing takes long: `make torture` composes all of them.
    for recipe in left[:: len(left) // WHOLE + 1]:
        file.write_bytes(recipe.data)
        done = command(f"recipe={file}", "mode=plan")
        assert done.code != 0, recipe
        assert done.err.startswith("error: "), (recipe, done.err)
        assert "unexpected" not in done.err, (recipe, done.err)
        assert "a-value-that" not in done.out + done.err, recipe
    file.unlink()
    assert list(tmp_path.iterdir()) == []
