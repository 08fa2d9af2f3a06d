"""A precision whose library is not installed, among several."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from core import Requirement, hookimpl
from core.cli import main
from core.config import discovery
from tests import runtimes, toy
from tests.conftest import Command

MISSING = "quantizer `unheard` needs `no_such_library`, not installed"
PRESETS = (
    ("precision", "near", "name: near\n"),
    ("precision", "unheard", "name: unheard\n"),
    ("quantizer", "near", "defaults: [none]\n"),
    ("target", "duo", "defaults: [schema]\nname: duo\nprecisions: [unheard, near]\n"),
)


class Unheard(toy.Coarse):
    """A quantizer whose library nobody has."""

    name = "unheard"
    libraries = (Requirement("no_such_library", "pip install no-such-library"),)


@hookimpl
def _plugins() -> list[type[Unheard]]:
    return [Unheard]


@pytest.fixture
def duo(
    command: Command,  # noqa: ARG001  # it installs the toys first
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Return a recipe for a target of two precisions, one of them without its library."""
    plugins = {
        "toy": toy,
        "unheard": SimpleNamespace(luthier_plugins=_plugins),
        "presets": runtimes.brought(tmp_path / "conf", PRESETS),
    }
    monkeypatch.setattr(main, "discover", lambda: discovery.discover(plugins))
    recipe.write_text(recipe.read_text().replace("quantizer: coarse\n", ""))
    return recipe


def test_auto_leaves_it_out(command: Command, duo: Path) -> None:
    """`auto` goes on with the other precisions, and says which library is missing."""
    planned = command(f"recipe={duo}", "target=duo", "auto=true", "mode=plan")
    assert planned.code == 0, planned.err
    assert f"unheard: left out, {MISSING}" in planned.out
    assert "precision near" in planned.out


@pytest.mark.parametrize(
    "words", [["auto=true", "target.precisions=[unheard]"], ["ladder=[near,unheard]"]]
)
def test_what_was_asked_for_is_not_left_out(command: Command, duo: Path, words: list[str]) -> None:
    """A ladder that names it ends with the install command, as does `auto` with nothing else."""
    planned = command(f"recipe={duo}", "target=duo", *words, "mode=plan")
    assert planned.code == 2
    assert MISSING in planned.err
    assert "install it: pip install no-such-library" in planned.err
