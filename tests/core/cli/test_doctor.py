"""`mode=doctor`: nothing that is not set up is called ok, and programs get the same as JSON."""

from __future__ import annotations

import importlib.metadata
import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from core import Notice
from core.cli import extras as module
from core.cli.doctor import SCHEMA
from core.cli.extras import BRINGS, extras
from core.plugin.stages import Requirement
from plugins.dataset._audio import libav
from plugins.dataset.files import Files
from plugins.vendor.qai_hub.devices import findings
from tests import toy
from tests.conftest import Command

ROOT = Path(__file__).parents[3]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that sets what the toy runtime `plain` finds."""

    def set_findings(*notices: Notice) -> None:
        monkeypatch.setattr(toy.Plain, "findings", classmethod(lambda _: notices))
        monkeypatch.setattr(toy.Plain, "_guarded", {}, raising=False)  # made of the class as it was

    return set_findings


@pytest.mark.parametrize(
    ("severity", "mark", "state"),
    [("info", "ok", "ready"), ("warning", "--", "to set up"), ("danger", "!!", "broken")],
)
def test_json_has_the_state_of_every_plugin(
    command: Command, found: Callable[..., None], severity: str, mark: str, state: str
) -> None:
    """A plugin is ready only if nothing that it finds is to be set up."""
    found(Notice("info", "2 abaci"), Notice(severity, "a [third]"))  # type: ignore[arg-type]  # of them
    done = command("mode=doctor", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["schema"] == SCHEMA
    (plain,) = [one for one in told["plugins"] if one["name"] == "plain"]
    assert plain["state"] == state
    assert plain["findings"][1] == {"mark": mark, "text": "a [third]"}
    assert {"machine", "python", "store", "libraries", "broken", "extras"} < set(told)


def test_a_plugin_without_its_library_is_not_installed(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that installs the library is in the JSON, too."""
    needs = (Requirement("no_such_module", "pip install no-such"),)
    monkeypatch.setattr(toy.Plain, "libraries", needs)
    told = json.loads(command("mode=doctor", "--json").out)
    (plain,) = [one for one in told["plugins"] if one["name"] == "plain"]
    assert plain["state"] == "not installed"
    assert "pip install no-such" in plain["findings"][0]["text"]


def test_the_store_is_the_one_of_the_command(command: Command, tmp_path: Path) -> None:
    """`store=` moves the store that is looked at, in both forms."""
    place = str(tmp_path / "elsewhere")
    told = json.loads(command(f"store={place}", "mode=doctor", "--json").out)
    assert told["store"]["address"] == place
    assert told["store"]["free_bytes"] > 0
    assert f"store    {place} (" in command(f"store={place}", "mode=doctor").out


def test_json_is_for_doctor_alone(command: Command, recipe: Path) -> None:
    """With another mode, `--json` is refused, and the message names the report of a run."""
    done = command(f"recipe={recipe}", "--json")
    done.refused(["`--json` is for mode=doctor", "report.json", "mode=doctor --json"])


def test_every_extra_says_what_it_brings() -> None:
    """The extras of pyproject.toml but that of developers are those that doctor knows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(project["optional-dependencies"]) - {"dev"} == set(BRINGS)


@pytest.mark.parametrize(
    ("versions", "missing"),
    [
        ({"abacus": "2.1", "beads": "1"}, ()),
        ({"abacus": "1.9", "beads": "1"}, ("abacus>=2 (here: 1.9)",)),
        ({"beads": "1"}, ("abacus",)),
        ({}, ("abacus", "beads")),
    ],
)
def test_an_extra_lacks_packages_that_are_absent_or_too_old(
    monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], missing: tuple[str, ...]
) -> None:
    """Packages of the base, of other extras and of other machines are not counted."""
    asked = [
        "numpy>=99",
        "abacus>=2; extra == 'counting'",
        "beads; extra == 'counting'",
        "ghost; platform_machine == 'abacus' and extra == 'counting'",
        "other; extra == 'more'",
    ]
    about = importlib.metadata.metadata("luthier")
    monkeypatch.setattr(about, "get_all", lambda _: ["counting", "dev"])
    monkeypatch.setattr(importlib.metadata, "metadata", lambda _: about)
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: asked)
    monkeypatch.setattr(module, "installed_version", versions.get)
    (extra,) = extras()
    assert extra.missing == missing
    assert extra.install == "pip install 'luthier[counting]'"


def test_a_missing_extra_is_shown_with_its_command(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Doctor says what the extra would bring, and how to install it."""
    extra = module.Extra("webgpu", BRINGS["webgpu"], ("onnxruntime-ep-webgpu",))
    monkeypatch.setattr("core.cli.doctor.extras", lambda: [extra])
    said = command("mode=doctor").out
    assert "--  extra `webgpu` brings WebGPU" in said
    assert "pip install 'luthier[webgpu]'" in said


def test_what_is_not_set_up_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """An account without a token and formats without their library are not called ok."""
    monkeypatch.delenv("QAI_HUB_API_TOKEN", raising=False)
    assert [one.severity for one in findings()] == ["warning"]
    monkeypatch.setattr(libav, "installed", lambda: False)
    assert [one.severity for one in Files.findings()] == ["warning"]
