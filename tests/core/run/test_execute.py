"""A whole run of toy plugins: what is executed, what is kept, what is left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from core.run.folder import new_folder
from tests import toy
from tests.conftest import Command


def folders(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "outputs" / "toy").glob("*"))


def test_a_run_leaves_result_report_lock_and_bundle(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """The run folder holds result, report, lock file and bundle under its final name."""
    done = command(f"recipe={recipe}")
    assert (done.code, done.err) == (0, "")
    (folder,) = folders(tmp_path)
    names = {p.name for p in folder.iterdir()}
    assert {"y.txt", "report.json", "recipe.lock.yaml", "bundle"} <= names
    metadata = json.loads((folder / "bundle" / "metadata.json").read_text())
    assert metadata["model"]["file"] == "gain.txt"
    assert (folder / "bundle" / "gain.txt").is_file()


def test_the_same_recipe_again_executes_nothing(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """A second run takes every result from the store and writes a new run folder."""
    command(f"recipe={recipe}")
    toy.RAN.clear()
    assert command(f"recipe={recipe}").code == 0
    assert toy.RAN == []
    assert len(folders(tmp_path)) == 2


def test_changing_the_overlap_runs_nothing_before_the_chunker(
    command: Command, recipe: Path
) -> None:
    """Neither the artifact nor its measurements depend on how windows overlap."""
    command(f"recipe={recipe}")
    toy.RAN.clear()
    assert command(f"recipe={recipe}", "chunker.overlap=2").code == 0
    assert set(toy.RAN) == {"play", "evaluate", "save"}


def test_changing_the_window_compiles_again_but_does_not_fetch(
    command: Command, recipe: Path
) -> None:
    """A calibrated graph depends on the window's length; the weights do not."""
    command(f"recipe={recipe}")
    toy.RAN.clear()
    assert command(f"recipe={recipe}", "chunker.length=4").code == 0
    assert "model" not in toy.RAN
    assert "quantizer" in toy.RAN


@pytest.mark.parametrize(
    ("fail", "code", "said"),
    [
        ("bug", 1, "quantizer `coarse` failed: ZeroDivisionError"),
        ("memory", 1, "quantizer `coarse` ran out of memory"),
        ("interrupt", 130, "interrupted"),
    ],
)
def test_a_failed_stage_leaves_nothing_half_written(
    command: Command, recipe: Path, tmp_path: Path, fail: str, code: int, said: str
) -> None:
    """A failed stage gives one message, no traceback, no run folder, and an intact store."""
    done = command(f"recipe={recipe}", f"quantizer.fail={fail}")
    assert done.code == code
    assert said in done.err
    assert "Traceback" not in done.err
    assert folders(tmp_path) == []
    assert list(tmp_path.rglob("half-written")) == []
    assert list((tmp_path / "store" / "staging").iterdir()) == []
    toy.RAN.clear()
    assert command(f"recipe={recipe}").code == 0
    assert "model" not in toy.RAN, "what was finished before the failure is kept"


def test_the_report_says_who_computed_what(command: Command, recipe: Path, tmp_path: Path) -> None:
    """The budget names the device of every stage, and no target took part."""
    command(f"recipe={recipe}")
    (folder,) = folders(tmp_path)
    report = json.loads((folder / "report.json").read_text())
    stages = [line["stage"] for line in report["budget"]]
    # Its windows are those of the training: nothing was cut otherwise.
    assert stages == ["model", "graph.copied", "quantizer", "probe", "play"]
    assert report["played_on"] == "a pocket calculator"
    assert report["stages"][0]["status"] == "ran"
    metrics = {m["name"]: m for m in report["metrics"]}
    assert metrics["largest"]["value"] == pytest.approx(7.8)
    assert metrics["parity_snr"]["value"] > 100


def test_the_report_says_which_items_were_cut_where(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """The report has the id of every item in the results, and the places of its windows."""
    command(f"recipe={recipe}", "chunker.length=8", "chunker.overlap=2")
    (folder,) = folders(tmp_path)
    report = json.loads((folder / "report.json").read_text())
    places = toy.RampOptions().places
    spans = [[start, min(start + 8, places)] for start in range(0, places, 6)]
    item = {"id": f"ramp:evaluation:{places}", "name": "line", "cuts": {"place": spans}}
    assert report["items"] == [item]
    assert report["command"].startswith("python -m core ")
    assert report["command"].endswith("recipe=toy.yaml chunker.length=8 chunker.overlap=2")


def test_the_lock_is_a_recipe_that_gives_the_same(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """`recipe=recipe.lock.yaml` finds every result of the run that wrote it."""
    command(f"recipe={recipe}", "model.gain=3.0", "chunker.overlap=1")
    (folder,) = folders(tmp_path)
    toy.RAN.clear()
    done = command(f"recipe={folder / 'recipe.lock.yaml'}")
    assert (done.code, done.err) == (0, "")
    assert toy.RAN == []


def test_what_a_stage_settled_is_in_the_lock(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """A run of the lock does not search again, whether the first run searched or found its result.

    Only the stage itself runs again: its options differ, what it makes does not.
    """
    for _ in range(2):
        command(f"recipe={recipe}", "quantizer.levels=0")
    assert toy.RAN.count("search") == 1
    toy.RAN.clear()
    for folder in folders(tmp_path):
        lock = yaml.safe_load((folder / "recipe.lock.yaml").read_text())
        assert lock["quantizer"]["levels"] == 7
        done = command(f"recipe={folder / 'recipe.lock.yaml'}")
        assert (done.code, done.err) == (0, "")
    assert toy.RAN == ["quantizer"]


def test_plan_executes_nothing_and_says_why(command: Command, recipe: Path, tmp_path: Path) -> None:
    """The plan lists the steps with their state, and what changed for those that would run."""
    assert "never ran" in command(f"recipe={recipe}", "mode=plan").out
    assert toy.RAN == []
    assert folders(tmp_path) == []
    command(f"recipe={recipe}")
    changed = command(f"recipe={recipe}", "mode=plan", "model.gain=5.0").out
    assert "gain:2.0->gain:5.0" in "".join(changed.split())


def test_two_runs_that_end_at_once_get_two_folders(tmp_path: Path) -> None:
    """Of two runs that end at once, the later one takes the next free folder name."""
    with new_folder(tmp_path, "toy") as place:
        wanted = place.final
        (place.partial / "mine").touch()
        wanted.mkdir()
        (wanted / "of another run").touch()
    assert place.final.name == f"{wanted.name}.2"
    assert [p.name for p in place.final.iterdir()] == ["mine"]
    assert [p.name for p in wanted.iterdir()] == ["of another run"]
