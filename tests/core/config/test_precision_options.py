"""Options of runtimes that a precision sets."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from core.cli import main
from core.config import discovery
from core.config.grammar import check_preset
from core.errors import ConfigError
from tests import runtimes, toy
from tests.conftest import Command, Done

LOWERED = """\
name: lowered
title: lower, by the runtime itself
runtime:
  strict: {level: bf16, scale: 0.5, layers: [a, b], sizes: {c: 1}, chip: 7}
  demanding: {level: low}
  absent_one: {anything: 1}
"""

Planned = Callable[..., Done]


@pytest.fixture
def planned(
    command: Command, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Planned:
    """Return a function that runs a recipe on `strict`, with presets of a distribution."""
    presets = (
        ("precision", "lowered", LOWERED),
        ("precision", "wrong", "name: wrong\nruntime: {strict: {levl: bf16}}\n"),
        ("precision", "mistyped", "name: mistyped\nruntime: {strict: {level: high}}\n"),
        ("quantizer", "lowered", "defaults: [none]\n"),
        ("quantizer", "wrong", "defaults: [none]\n"),
        ("quantizer", "mistyped", "defaults: [none]\n"),
        ("runtime", "exact", "defaults: [strict]\nlevel: fp32\n"),
    )
    plugins = {
        "toy": toy,
        "runtimes": runtimes,
        "presets": runtimes.brought(tmp_path / "conf", presets),
    }
    monkeypatch.setattr(main, "discover", lambda: discovery.discover(plugins))
    text = recipe.read_text().replace("runtime: distant", "runtime: strict")
    recipe.write_text(text.replace("host: plain\n", "").replace("quantizer: coarse\n", ""))

    def run(*words: str) -> Done:
        return command(f"recipe={recipe}", *words)

    return run


def options(tmp_path: Path, slot: str = "runtime") -> SimpleNamespace:
    """Return the options of a slot in the newest lock file."""
    files = (tmp_path / "outputs" / "toy").glob("*/recipe.lock.yaml")
    newest = max(files, key=os.path.getmtime)
    return SimpleNamespace(**yaml.safe_load(newest.read_text())[slot])


def test_a_precision_sets_options_of_the_runtime(planned: Planned, tmp_path: Path) -> None:
    """The plan and the lock file have the options; a run of the lock file has the same."""
    shown = planned("precision=lowered", "mode=plan")
    assert shown.code == 0, shown.err
    assert "runtime.level=bf16" in shown.out
    done = planned("precision=lowered")
    assert done.code == 0, done.err
    found = options(tmp_path)
    assert (found.level, found.scale, found.chip) == ("bf16", 0.5, 7)
    assert (found.layers, found.sizes, found.note) == (["a", "b"], {"c": 1}, "a, b")
    report = next((tmp_path / "outputs" / "toy").glob("*/report.json")).read_text()
    assert '"runtime.level": "bf16"' in report


def test_without_an_entry_a_runtime_keeps_its_defaults(planned: Planned, tmp_path: Path) -> None:
    """Another precision, and another runtime, are not affected."""
    assert planned("precision=fp32").code == 0
    found = options(tmp_path)
    assert (found.level, found.scale, found.layers, found.chip) == ("fp32", None, [], 3)
    done = planned("precision=lowered", "runtime=plain")
    assert done.code == 0, done.err


def test_a_fact_of_the_target_counts_where_the_precision_is_silent(planned: Planned) -> None:
    """The option's reference to the target stays its default."""
    done = planned("precision=fp32", "+target.facts.chip=9", "mode=plan")
    assert "runtime.chip=9" in done.out, done.err
    done = planned("precision=lowered", "+target.facts.chip=9", "mode=plan")
    assert "runtime.chip=7" in done.out, done.err


def test_the_command_line_wins(planned: Planned, tmp_path: Path) -> None:
    """An option that is typed is kept, even if it is the plugin's default."""
    words = ("runtime.level=fp32", "runtime.layers=[z]", "runtime.sizes={c: 2}")
    done = planned("precision=lowered", *words)
    assert done.code == 0, done.err
    found = options(tmp_path)
    assert (found.level, found.layers, found.sizes, found.scale) == ("fp32", ["z"], {"c": 2}, 0.5)


def test_the_recipe_and_a_preset_of_the_runtime_win(planned: Planned, recipe: Path) -> None:
    """So does an option in the recipe, or in a preset that the recipe names."""
    assert "runtime.level=fp32" in planned("precision=lowered", "runtime=exact", "mode=plan").out
    text = recipe.read_text()
    own = "runtime: {plugin: strict, level: fp32}"
    recipe.write_text(text.replace("runtime: strict", own) + "precision: lowered\n")
    shown = planned("mode=plan")
    assert shown.code == 0, shown.err
    assert "runtime.level=fp32" in shown.out
    assert "runtime.scale=0.5" in shown.out


def test_a_host_keeps_its_defaults(planned: Planned) -> None:
    """A host plays the stages before the runtime, so the runtime's precision is not its own."""
    done = planned("precision=lowered", "runtime=elsewhere", "host=strict", "mode=plan")
    assert done.code == 0, done.err
    assert "host.level=fp32" in done.out


def test_a_ladder_composes_the_options_of_each_precision(planned: Planned) -> None:
    """Every precision of a ladder has its own options, and none of the one before."""
    shown = planned("ladder=[lowered,fp32]", "mode=plan")
    assert shown.code == 0, shown.err
    first, second = shown.out.split("runtime.level=")[1:]
    assert (first[:4], second[:4]) == ("bf16", "fp32")


def test_a_required_option_may_come_from_the_precision(planned: Planned) -> None:
    """Where the precision gives it, nobody else needs to; elsewhere the error is the usual one."""
    done = planned("precision=lowered", "runtime=demanding", "mode=plan")
    assert done.code == 0, done.err
    assert "runtime.level=low" in done.out
    planned("precision=fp32", "runtime=demanding").refused(
        ["runtime `demanding` needs the option `level`", "runtime.level=..."]
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["precision=wrong"],
            ["precision `wrong` sets `levl`", "runtime `strict`", "did you mean `level`?"],
        ),
        (
            ["precision=mistyped"],
            ["precision `mistyped`", "high", "at: precision.runtime.strict.level"],
        ),
        (
            ["precision=fp32", "+precision.runtime={local: {x: 1}}", "runtime=local"],
            ["sets `x`, but runtime `local` has no such option"],
        ),
        (["precision=fp32", "+precision.runtime=bf16"], ["by the names of runtimes"]),
        (
            ["precision=fp32", "+precision.runtime={distant: {room: 3}}", "runtime=distant",
             "host=plain"],
            ["only a preset of a precision sets `room`", "runtime.room=..."],
        ),
    ],
)  # fmt: skip
def test_an_option_that_the_runtime_cannot_take_is_refused(
    planned: Planned, words: list[str], said: list[str]
) -> None:
    """The error names the precision, the runtime and the nearest option."""
    planned(*words).refused(said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"runtme": {}}, "did you mean `runtime`"),
        ({"runtime": ["strict"]}, "`runtime` that is no mapping"),
        ({"runtime": {"a/b": {}}}, "has no name at `runtime`"),
        ({"runtime": {"strict": "bf16"}}, "options at `runtime.strict` that are no mapping"),
        ({"runtime": {"strict": {"_target_": "os.system"}}}, "special meaning at `runtime.strict`"),
        ({"runtime": {"strict": {"level": "${oc.env:HOME}"}}}, "outside the recipe"),
        ({"runtime": {"strict": {"level": {"_target_": "x"}}}}, "special meaning"),
    ],
)  # fmt: skip
def test_a_preset_of_a_precision_holds_options_and_nothing_else(
    content: dict[str, object], said: str
) -> None:
    """Class paths, resolvers, unknown keys and other forms are refused."""
    with pytest.raises(ConfigError) as caught:
        check_preset({"name": "x", **content}, "precision", "preset `x`", "x.yaml")
    assert said in str(caught.value)


def test_a_recipe_that_describes_its_precision_sets_no_options(
    planned: Planned, recipe: Path
) -> None:
    """A recipe sets options where the plugin stands, not through a precision of its own."""
    own = "precision: {name: x, runtime: {strict: {level: bf16}}}\n"
    recipe.write_text(recipe.read_text() + own)
    planned().refused(["describes its precision by `runtime`"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["runtime=plain"], True),
        (["runtime=strict"], False),
        (["runtime=plain", "quantizer=coarse"], False),  # the quantizer lowers something
    ],
)
def test_a_precision_that_changes_nothing_is_told(
    planned: Planned, words: list[str], told: bool
) -> None:
    """A precision that only other runtimes make is a warning, not a silent FP32."""
    done = planned("precision=lowered", *words, "mode=plan")
    assert done.code == 0, done.err
    said = "precision `lowered` changes nothing: runtimes make it (absent_one, demanding, strict)"
    assert (said in " ".join(done.out.split())) is told
