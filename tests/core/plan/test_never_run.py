"""A runtime that compiles here and cannot open the result here: compiled, never run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from core.cli import main
from core.config import discovery
from tests import runtimes, toy
from tests.conftest import Command

WHY = "its device is not here"
SAID = f"compiled, never run: {WHY}"


@pytest.fixture
def elsewhere(
    command: Command,  # noqa: ARG001  # it installs the toys first
    recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Return a recipe whose runtime compiles for a device that is absent."""
    plugins = {"toy": toy, "runtimes": runtimes}
    monkeypatch.setattr(main, "discover", lambda: discovery.discover(plugins))
    recipe.write_text(recipe.read_text().replace("runtime: distant", "runtime: elsewhere"))
    runtimes.ASKED.clear()
    return recipe


def report(folder: Path) -> dict[str, Any]:
    """Return the report of the newest run below a folder."""
    (file,) = (folder / "outputs" / "toy").glob("*/report.json")
    read: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return read


def test_it_is_compiled_and_the_host_plays_the_artifact_before(
    command: Command, elsewhere: Path, tmp_path: Path
) -> None:
    """The run ends well without a probe, and every report says why nothing ran the model."""
    done = command(f"recipe={elsewhere}", "reporter=[terminal,json,html]")
    assert done.code == 0, done.err
    assert SAID in done.out
    record = report(tmp_path)
    assert record["never_run"] == WHY
    assert record["target_took_part"] is False
    assert record["probed_on"] == ""
    assert record["played_on"] == "a pocket calculator"
    names = [stage["name"] for stage in record["stages"]]
    assert "runtime" in names
    assert not {"probe", "budget.runtime"} & set(names)
    (page,) = (tmp_path / "outputs" / "toy").glob("*/report.html")
    assert SAID in page.read_text(encoding="utf-8")


def test_the_bundle_says_so(command: Command, elsewhere: Path, tmp_path: Path) -> None:
    """The bundle ships the compiled model with a warning; one that was run has none."""
    assert command(f"recipe={elsewhere}").code == 0
    (bundle,) = (tmp_path / "outputs" / "toy").glob("*/bundle")
    assert f"The model was {SAID}" in (bundle / "README.md").read_text(encoding="utf-8")
    metadata = json.loads((bundle / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["runtime"]["never_run"] == WHY
    assert metadata["model"]["format"] == "distant"
    assert command(f"recipe={elsewhere}", "runtime.absent=''").code == 0
    other = next(b for b in (tmp_path / "outputs" / "toy").glob("*/bundle") if b != bundle)
    assert "never run" not in (other / "README.md").read_text(encoding="utf-8")


def test_the_plan_says_so_and_asks_once(command: Command, elsewhere: Path) -> None:
    """`mode=plan` gives the reason; the runtime is asked once for a pipeline."""
    done = command(f"recipe={elsewhere}", "mode=plan")
    assert done.code == 0, done.err
    assert f"runtime: {SAID}" in done.out
    assert "probe" not in done.out
    assert runtimes.ASKED == [WHY]


def test_where_the_device_is_present_it_plays(
    command: Command, elsewhere: Path, tmp_path: Path
) -> None:
    """The same recipe plays the compiled model where it can be opened."""
    assert command(f"recipe={elsewhere}", "runtime.absent=''", "target=cpu").code == 0
    record = report(tmp_path)
    assert record["never_run"] == ""
    assert record["target_took_part"] is True
    assert "budget.runtime" in [stage["name"] for stage in record["stages"]]


def test_a_result_that_another_recipe_kept_is_not_the_targets(
    command: Command, elsewhere: Path, tmp_path: Path
) -> None:
    """If the host is another recipe's runtime, its kept result still says nothing of the target."""
    played = command(f"recipe={elsewhere}", "runtime=plain", "~runtime@host", "output=other")
    assert played.code == 0, played.err
    assert command(f"recipe={elsewhere}").code == 0
    record = report(tmp_path)
    (play,) = (stage for stage in record["stages"] if stage["name"] == "play")
    assert play["status"] == "cached"
    assert record["target_took_part"] is False


def test_without_a_host_the_plan_names_one(command: Command, elsewhere: Path) -> None:
    """The refusal gives the reason, and hosts that play the format: none that compiles."""
    done = command(f"recipe={elsewhere}", "host=null")
    done.refused(["this machine cannot open what it makes", WHY, "add a host", "host="])
    playing = done.err.partition("runtimes that play torch: ")[2].splitlines()[0].split(", ")
    assert "plain" in playing
    assert "elsewhere" not in playing
    advised = command(f"recipe={elsewhere}", "host=null", "target.host=strict")
    assert "host=strict" in advised.err


def test_a_limit_on_the_devices_time_is_refused(command: Command, elsewhere: Path) -> None:
    """The host's times say nothing about the device: the plan refuses such a limit."""
    command(f"recipe={elsewhere}", "contract.max_chunk_ms=1000").refused(
        ["`contract.max_chunk_ms` cannot be judged", WHY, "contract.max_chunk_ms=null"]
    )


def test_a_limit_that_only_the_device_answers_is_not_held(
    command: Command, elsewhere: Path, tmp_path: Path
) -> None:
    """What nothing measured is not held, and nothing is shipped."""
    done = command(f"recipe={elsewhere}", "contract.min_accelerator_coverage=0.5")
    assert done.code == 3
    assert "nothing measured it" in done.err
    assert not list((tmp_path / "outputs" / "toy").glob("*/bundle"))


def test_a_batch_is_played_by_the_host(command: Command, elsewhere: Path, tmp_path: Path) -> None:
    """A batch compiles nothing for it, and warns that the host plays."""
    songs = tmp_path / "songs"
    songs.mkdir()
    for name in ("a", "b"):
        (songs / f"{name}.line").write_text("1 2 3 4")
    words = (f"recipe={elsewhere}", "dataset=lines", f"input={songs}/*.line", "scale=here")
    words = (*words, "reporter=[terminal]")
    planned = command(*words, "mode=plan")
    assert planned.code == 0, planned.err
    assert "`plain` plays, and nothing is compiled: this machine cannot open" in planned.out
    done = command(*words)
    assert done.code == 0, done.err
    assert WHY in done.out
    assert "runtime" not in toy.RAN


def test_a_sweep_says_so(
    command: Command, elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The summary of a sweep has the reason once."""
    about = tmp_path / "site" / "runtimes-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: runtimes\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[luthier]\nruntimes = tests.runtimes\n")
    others = os.environ["PYTHONPATH"]  # of the points of a sweep: the toys
    monkeypatch.setenv("PYTHONPATH", f"{about.parent}{os.pathsep}{others}")
    done = command("-m", f"recipe={elsewhere}", "quantizer.levels=5,6", "reporter=[terminal]")
    assert done.code == 0, done.err + done.out
    assert (done.out + done.err).count(SAID) == 1


def test_auto_leaves_out_what_cannot_be_measured_here(
    command: Command, elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A precision whose artifact cannot be opened is left out: the host would be timed instead."""
    presets = (
        ("precision", "near", "name: near\nruntime: {elsewhere: {absent: ''}}\n"),
        ("precision", "far", "name: far\n"),
        ("quantizer", "near", "defaults: [none]\n"),
        ("quantizer", "far", "defaults: [none]\n"),
        ("target", "duo", "defaults: [schema]\nname: duo\nprecisions: [near, far]\n"),
    )
    plugins = {
        "toy": toy,
        "runtimes": runtimes,
        "presets": runtimes.brought(tmp_path / "conf", presets),
    }
    monkeypatch.setattr(main, "discover", lambda: discovery.discover(plugins))
    elsewhere.write_text(elsewhere.read_text().replace("quantizer: coarse\n", ""))
    planned = command(f"recipe={elsewhere}", "target=duo", "auto=true", "mode=plan")
    assert planned.code == 0, planned.err
    assert f"far: left out, precision `far` cannot be measured here: {WHY}" in planned.out
    assert "precision near" in planned.out
    alone = command(f"recipe={elsewhere}", "target=duo", "precision=far", "auto=true", "mode=plan")
    assert alone.code == 0, alone.err
    assert SAID in alone.out
