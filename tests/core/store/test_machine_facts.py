"""Facts of a machine as a part of the key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from core.cli import main
from core.config import discovery
from core.store import fingerprint
from tests import runtimes, toy
from tests.conftest import Command


@pytest.fixture
def local(
    command: Command,  # noqa: ARG001  # it installs the toys first
    recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Path]:
    """Return a recipe that plays on the toy `local`."""
    plugins = {"toy": toy, "runtimes": runtimes}
    monkeypatch.setattr(main, "discover", lambda: discovery.discover(plugins))
    text = recipe.read_text().replace("runtime: distant", "runtime: local")
    recipe.write_text(text.replace("host: plain\n", ""))
    yield recipe
    runtimes.FACTS.clear()


def test_a_plugin_without_facts_has_the_key_that_it_had() -> None:
    """Without facts the fingerprint has no such entry; with some it has them as they are."""
    plugin = runtimes.Local(runtimes.Local.Options())
    assert "machine" not in fingerprint.of_plugin(plugin)
    runtimes.FACTS["cpu"] = "a"
    try:
        assert fingerprint.of_plugin(plugin)["machine"] == {"cpu": "a"}
    finally:
        runtimes.FACTS.clear()


def test_a_step_is_made_anew_where_the_facts_differ(
    command: Command, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan names the fact that changed; what the runtime did not do is kept."""
    runtimes.FACTS.update(cpu="a", cores=2)
    assert command(f"recipe={local}").code == 0
    same = command(f"recipe={local}", "mode=plan")
    assert "0 of" in same.out
    runtimes.FACTS["cpu"] = "b"
    monkeypatch.setenv("COLUMNS", "400")
    other = command(f"recipe={local}", "mode=plan").out
    assert "runtime.machine.cpu: a -> b" in other
    assert "cores" not in other
    toy.RAN.clear()
    assert command(f"recipe={local}").code == 0
    assert "play" in toy.RAN
    assert "quantizer" not in toy.RAN
    runtimes.FACTS["cpu"] = "a"
    assert "0 of" in command(f"recipe={local}", "mode=plan").out


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"cpu": {1, 2}}, "cpu"),
        ({"cpu": float("nan")}, "no finite number"),
        ({3: "cpu"}, "has the key 3"),
    ],
)
def test_what_is_no_fact_is_refused(
    command: Command, local: Path, facts: Mapping[Any, Any], said: str
) -> None:
    """The error names the plugin, its method, and what JSON does not keep."""
    runtimes.FACTS.update(facts)
    done = command(f"recipe={local}", "mode=plan")
    assert done.code != 0
    assert "runtime `local`" in done.err
    assert "machine" in done.err
    assert said in done.err
    assert "Traceback" not in done.err
