"""Composing a config takes no effect of its own, and Hydra's part of it is the box's."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore

from core.cli import main
from core.config.compose import composing, register
from core.errors import ConfigError
from tests.conftest import Command

EVIL = {"defaults": ["/dataset/_evil@hydra.job_logging"], "title": "t"}


@pytest.mark.parametrize("typed", [(), ("hydra.verbose=true",), ("hydra/launcher=basic",)])
def test_nothing_runs_where_hydras_own_part_was_changed(typed: tuple[str, ...]) -> None:
    """Recipes that change Hydra's loggers or folders are refused, even past the grammar."""
    register(main.discover(), {})
    store = ConfigStore.instance()
    store.store(group="dataset", name="_evil", node={"root": {"handlers": ["h"]}})
    store.store(group="recipe", name="_evil", node=EVIL, package="_global_")
    with (
        pytest.raises(ConfigError, match="changed Hydra's own settings"),
        composing(["recipe=_evil", *typed]),
    ):
        pytest.fail("the config was given")
    with composing(typed):
        pass


def test_a_sweep_looks_before_hydra_acts(command: Command, tmp_path: Path) -> None:
    """A sweep is checked before Hydra sets its loggers and calls the sweeper."""
    ConfigStore.instance().store(group="recipe", name="_evil", node=EVIL, package="_global_")
    node = {"root": {"handlers": ["h"]}, "handlers": {"h": {"()": "os.mkdir", "path": "RAN"}}}
    ConfigStore.instance().store(group="dataset", name="_evil", node=node)
    done = command("-m", "recipe=_evil,cpu_fp32")
    assert done.code == 2
    assert "changed Hydra's own settings" in done.err
    assert not (tmp_path / "RAN").exists()


@pytest.mark.parametrize(
    "word", ["hydra.run.dir=x", "hydra/job_logging=default", "+hydra.job.env_set.X=1",
             "hydra/launcher=joblib"],
)  # fmt: skip
def test_what_does_nothing_in_a_single_run_is_said(
    command: Command, recipe: Path, word: str
) -> None:
    """Options of Hydra that have no effect in a single run end in exit code 2."""
    done = command(f"recipe={recipe}", word)
    assert done.code == 2
    assert "does nothing in a single run" in done.err


def test_to_ask_for_a_run_is_to_run(command: Command, recipe: Path) -> None:
    """Hydra's own flag for a run has the same result as no flag."""
    done = command(f"recipe={recipe}", "mode=plan", "--run")
    assert done.code == 0
    assert "would run" in done.out


def test_what_hydra_prints_is_text(command: Command, recipe: Path) -> None:
    """A title in Hydra's output cannot move the cursor."""
    recipe.write_text(recipe.read_text().replace("a toy", '"a \\e[2J toy"'))
    out = command(f"recipe={recipe}", "--cfg", "job", "-p", "title").out
    assert "toy" in out
    assert "\x1b" not in out
