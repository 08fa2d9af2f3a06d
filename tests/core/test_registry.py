"""How plugins come in, and what is said of those that break their contract."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import plugins
from core import Graph, Library, Made, hookimpl, registry
from core.errors import ConfigError, MissingLibraryError, PluginError
from tests import toy


def module(**names: Any) -> ModuleType:
    made = ModuleType("visitor")
    made.__file__ = "visitor.py"
    for name, value in names.items():
        setattr(made, name, value)
    return made


def adding(*classes: object) -> ModuleType:
    return module(luthier_plugins=hookimpl(lambda: list(classes), specname="luthier_plugins"))


class Named(Graph[Any]):
    """Does nothing."""

    name = "named"

    def run(self, artifact: Any, work: Any) -> Made:
        """Do nothing."""
        raise AssertionError


def test_builtins_come_in_through_the_same_hooks() -> None:
    """The box's own plugins are found through its entry point."""
    found = registry.discover()
    assert found.find("chunker", "overlap_add").distribution == "luthier"


def test_two_of_one_name_are_refused_with_both_distributions() -> None:
    """Nobody replaces a plugin silently."""
    with pytest.raises(PluginError, match="two graph plugins are named `named`") as error:
        registry.discover({"first": adding(Named), "second": adding(Named)})
    assert "first" in str(error.value)
    assert "second" in str(error.value)


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (type("Nameless", (Named,), {"name": ""}), "no usable `name`"),
        (type("Unfinished", (Graph,), {"name": "unfinished"}), "lacks `run`"),
        (type("Raw", (Named,), {"name": "raw", "Options": dict}), "`Options` is not a dataclass"),
        (int, "derives from none of the kinds"),
        (7, "not a class"),
    ],
)
def test_a_broken_class_is_named_with_its_distribution(cls: object, said: str) -> None:
    """The message says which plugin of which distribution, and what is wrong with it."""
    with pytest.raises(PluginError, match=said) as error:
        registry.discover({"visitor": adding(cls)})
    assert "visitor" in str(error.value)


def test_a_misspelt_hook_is_an_error() -> None:
    """Pluggy alone would ignore it."""

    def adds_nothing() -> list[Any]:
        return []

    misspelt = module(luthier_plugin=hookimpl(adds_nothing))
    with pytest.raises(PluginError, match="luthier_plugin"):
        registry.discover({"visitor": misspelt})


def test_a_hook_that_raises_is_the_plugins_fault() -> None:
    """The error names the distribution and the file."""

    def fails() -> list[Any]:
        raise ZeroDivisionError("x")

    broken = module(luthier_plugins=hookimpl(fails, specname="luthier_plugins"))
    with pytest.raises(PluginError, match="distribution `visitor` failed: ZeroDivisionError"):
        registry.discover({"visitor": broken})


def test_a_missing_library_is_answered_with_its_install_command() -> None:
    """The plugin is listed all the same, and says what it needs when it is made."""

    class Needy(Named):
        """Needs what is not there."""

        name = "needy"
        libraries = (Library("no_such_library", "pip install no-such-library"),)

    entry = registry.discover({"visitor": adding(Needy)}).find("graph", "needy")
    assert "pip install no-such-library" in entry.problem()
    with pytest.raises(MissingLibraryError, match="pip install no-such-library"):
        entry.create(entry.cls.Options())


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    """And with the whole list."""
    found = registry.discover({"toy": toy})
    with pytest.raises(ConfigError, match="did you mean `overlap_add`") as error:
        found.find("chunker", "overlap_ad")
    assert "whole" in str(error.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def (:", "SyntaxError"),
        ("import no_such_library", "No module named 'no_such_library'"),
        ("raise ZeroDivisionError('at import')", "ZeroDivisionError: at import"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def luthier_plugins(): return 1 / 0", "ZeroDivisionError"),
        ("x = 1", "no function `luthier_plugins`"),
    ],
)
def test_a_file_of_the_box_that_fails_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, said: str
) -> None:
    """The very file, what it said, and what to do."""
    file = tmp_path / "kind_of_test" / "broken.py"
    file.parent.mkdir()
    (file.parent / "__init__.py").touch()
    file.write_text(source)
    monkeypatch.setattr(plugins, "HERE", tmp_path)
    monkeypatch.setattr(plugins, "__path__", [str(tmp_path)])
    with pytest.raises(PluginError, match=re.escape(said)) as error:
        registry.discover()
    for name in ("plugins.kind_of_test", "plugins.kind_of_test.broken"):
        sys.modules.pop(name, None)
    assert f"file: {file}" in str(error.value)
    assert error.value.lines[1].startswith(("mend it", "end the file"))
