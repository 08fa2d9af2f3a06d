"""A sweep over a grid of toy plugins: planned, shared, recorded, started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Command

ROOT = Path(__file__).parent.parent.parent.parent


def results(tmp_path: Path) -> list[dict[str, Any]]:
    """Return what every point of the only sweep left behind."""
    files = tmp_path.glob("outputs/toy/sweep-*/points/*.json")
    return [json.loads(file.read_text())["content"]["result"] for file in files]


def record(tmp_path: Path) -> dict[str, Any]:
    """Return the record of the only sweep."""
    (file,) = tmp_path.glob("outputs/toy/sweep-*/sweep.json")
    return dict(json.loads(file.read_text()))


def test_what_points_share_runs_once(command: Command, recipe: Path, tmp_path: Path) -> None:
    """With two windows and two losses, each step runs once for every distinct result."""
    done = command("-m", f"recipe={recipe}", "chunker.length=4,8", "quantizer.loss=0.0,0.1")
    assert (done.code, done.err) == (0, "")
    ran = Counter(name for point in results(tmp_path) for name in point["ran"])
    # Windows as long as the plan's are those of the training, which a layout may have rounded up.
    assert (ran["model"], ran["ideal"]) == (1, 2)
    assert ran["sample"] == ran["reference"] == 2
    assert ran["quantizer"] == ran["runtime"] == ran["play"] == 4
    folders = {f.parent.name for f in tmp_path.glob("outputs/toy/sweep-*/*/report.json")}
    assert folders == {f"length-{n}_loss-{x}" for n in (4, 8) for x in ("0.0", "0.1")}


def test_the_same_sweep_again_runs_no_point(command: Command, recipe: Path, tmp_path: Path) -> None:
    """The same sweep in any order runs no point again."""
    command("-m", f"recipe={recipe}", "chunker.length=4,8", "quantizer.loss=0.0")
    before = record(tmp_path)["points"]
    done = command("-m", f"recipe={recipe}", "quantizer.loss=0.0", "chunker.length=4,8")
    assert done.code == 0
    assert "..." not in done.out
    after = record(tmp_path)["points"]
    assert [p["figures"] for p in after] == [p["figures"] for p in before]


def test_a_failed_point_is_recorded_and_tried_again(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """Other points run on after a failure, exit code 1; the next start runs only the failed one."""
    arguments = ("-m", f"recipe={recipe}", "chunker.length=4,8", "quantizer.fail='',bug")
    done = command(*arguments)
    assert done.code == 1
    assert "2 of 4 points failed" in done.err
    assert "quantizer `coarse` failed: ZeroDivisionError" in done.err
    statuses = Counter(point["status"] for point in record(tmp_path)["points"])
    assert statuses == {"done": 2, "failed": 2}
    again = command(*arguments)
    assert again.out.count("...") == 2


def test_a_device_without_room_refuses_a_point_and_is_not_asked_again(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """A compiler's refusal is kept, and the plan of another sweep knows it."""
    done = command("-m", f"recipe={recipe}", "chunker.length=4,8", "runtime.room=5")
    assert done.code == 0
    assert [p["status"] for p in record(tmp_path)["points"]] == ["done", "refused"]
    plan = command("-m", f"recipe={recipe}", "chunker.length=8,4", "runtime.room=5", "mode=plan")
    assert "refused: chunker.length=8: 8 places do not fit" in plan.out


def test_a_bad_value_fails_before_the_first_point(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """The error is the point's own message, with the number of bad points."""
    done = command("-m", f"recipe={recipe}", "chunker.length=4,abc,8")
    assert done.code == 2
    assert "`chunker.length` cannot be `abc`" in done.err
    assert "1 of 3 points are not possible; no point was run" in done.err
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("swept", "said"),
    [
        (["chunkr.length=1,2"], "did you mean `chunker`"),
        (["chunker.length=range(3,3)"], "the sweep is empty"),
        (["chunker.length=interval(1,3)"], "names an interval"),
        (["chunker.length=range(1,2000)"], "need sweep.confirm=true"),
        (["chunker.length=4", "chunker.length=8"], "`chunker.length` is given twice"),
        (["chunker.length=4,8", "sweep.retries=-1"], "`retries` cannot be -1"),
        (["chunker.length=4,8", "hydra/launcher=slrm"], "slrm"),
        (
            ["chunker.length=4,8", "hydra/sweeper=optuna", "hydra.sweeper.sampler=x"],
            "samplers: front, gp",
        ),
        (["hydra/sweeper=optuna"], "nothing is swept"),
        (
            ["chunker.length=4,8", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=0"],
            "`n_trials` is 0",
        ),
        (
            ["chunker.length=4,8", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=x"],
            "cannot be `x`",
        ),
        (["chunker.length=4,8", "hydra/sweeper=optuna", "hydra.sweeper.trials=3"], "trials"),
    ],
)
def test_a_sweep_that_cannot_be_says_why(
    command: Command, recipe: Path, tmp_path: Path, swept: list[str], said: str
) -> None:
    """An impossible sweep ends in exit code 2 with one message, and writes nothing."""
    done = command("-m", f"recipe={recipe}", *swept)
    assert done.code == 2, done.err
    assert said in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "outputs").exists()


def test_more_points_than_it_asks_for_run_when_confirmed(
    command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is four points here; more are planned when confirmed."""
    monkeypatch.setattr("core.sweep.grid.MANY", 4)
    swept = ("-m", f"recipe={recipe}", "chunker.length=range(1,6)", "mode=plan")
    assert command(*swept).code == 2
    done = command(*swept, "sweep.confirm=true")
    assert done.code == 0
    assert "5 points" in done.out


def test_the_plan_says_what_is_shared_and_runs_nothing(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """The plan shows a table by step, with the results that the store has."""
    done = command(
        "-m", f"recipe={recipe}", "chunker.length=4,8", "quantizer.loss=0.0,0.1", "mode=plan"
    )
    assert done.code == 0
    lines = {line.split()[0]: line.split()[1:] for line in done.out.splitlines() if line.split()}
    assert lines["model"][:4] == ["4", "1", "0", "1"]
    assert lines["play"][:4] == ["4", "4", "0", "4"]
    assert "nothing was executed" in done.out
    assert not (tmp_path / "outputs").exists()


def test_the_plan_fits_a_narrow_terminal(
    command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns are left out before the name of a step breaks; what would run stays."""
    monkeypatch.setenv("COLUMNS", "40")
    out = command("-m", f"recipe={recipe}", "chunker.length=4,8", "mode=plan").out
    lines = out.split("\n\n")[1].splitlines()
    assert lines[0].split() == ["step", "would", "run", "about"]
    assert max(map(len, lines)) <= 40
    runs = {words[0]: words[1] for words in map(str.split, lines) if words[1:]}
    assert (runs["model"], runs["play"], runs["evaluate"]) == ("1", "2", "2")


def test_a_store_that_cannot_be_written_is_found_before_the_first_point(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """An unwritable store gives one message, not one per point."""
    (tmp_path / "store").touch()
    done = command("-m", f"recipe={recipe}", "chunker.length=4,8")
    assert done.code == 1
    assert "the store cannot be written" in done.err
    assert "..." not in done.out


@pytest.mark.long
def test_a_contract_decides_on_the_winner(command: Command, recipe: Path, tmp_path: Path) -> None:
    """Points that miss the contract are off the front; if all miss it, the exit code is 3."""
    arguments = ("-m", f"recipe={recipe}", "quantizer.loss=0.0,0.5", "chunker.length=4")
    done = command(*arguments, "contract.min_snr_db=30")
    assert done.code == 0
    points = record(tmp_path)["points"]
    assert [p["status"] for p in points] == ["done", "missed"]
    assert [p["front"] for p in points] == [True, False]
    assert record(tmp_path)["winner"] == 1
    none = command("-m", f"recipe={recipe}", "quantizer.loss=0.4,0.5", "contract.min_snr_db=30")
    assert none.code == 3
    assert "no point of the sweep holds the contract" in none.err


def test_a_point_whose_process_is_killed_is_run_again(command: Command, recipe: Path) -> None:
    """A killed point is tried again; one that always dies is recorded as failed."""
    done = command("-m", f"recipe={recipe}", "quantizer.fail='kill once',''")
    assert (done.code, done.err) == (0, "")
    done = command("-m", f"recipe={recipe}", "quantizer.fail=kill,''", "sweep.retries=1")
    assert done.code == 1
    assert "its process ended 2 times without an answer (signal 9)" in done.err


def test_two_starts_of_one_sweep_do_not_meet(command: Command, recipe: Path) -> None:
    """The second start of a sweep is refused while the first runs."""
    from core.sweep.folder import identity, owned, place_of

    arguments = [f"recipe={recipe.stem}", "chunker.length=4,8"]
    sweep = identity(arguments)
    with owned(place_of("outputs", "toy", sweep), sweep):
        done = command("-m", f"recipe={recipe}", "chunker.length=4,8")
    assert done.code == 1
    assert "this sweep is running already" in done.err


def test_points_side_by_side_give_what_points_in_turn_give(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """Joblib's launcher gives the same results, and no step runs twice."""
    pytest.importorskip("joblib")
    swept = ("-m", f"recipe={recipe}", "chunker.length=4,8", "quantizer.loss=0.0,0.1")
    done = command(*swept, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert (done.code, done.err) == (0, "")
    ran = Counter(name for point in results(tmp_path) for name in point["ran"])
    # Windows as long as the plan's are those of the training, which a layout may have rounded up.
    assert (ran["model"], ran["ideal"]) == (1, 2)
    assert ran["sample"] == ran["reference"] == 2
    assert ran["quantizer"] == ran["play"] == 4


@pytest.mark.long
def test_killed_at_any_moment_it_goes_on_where_it_was(
    recipe: Path, toys: Path, tmp_path: Path
) -> None:
    """After each of three SIGKILLs, finished work is kept and no process is left."""
    swept = [f"recipe={recipe}", "chunker.length=4,6,8", "quantizer.loss=0.0,0.1"]
    run = [sys.executable, "-m", "core", "-m", *swept, f"store={tmp_path / 'store'}"]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{toys}"}
    for seconds in (4.0, 9.0, 6.0):
        process = subprocess.Popen(
            run, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(run, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    points = record(tmp_path)["points"]
    assert [point["status"] for point in points] == ["done"] * 6
    entries = Counter(p.parent.parent.name for p in (tmp_path / "store").glob("*/*/artifact.json"))
    assert entries["play"] == 6
    assert entries["reference"] == 3
    assert not list(tmp_path.glob("outputs/toy/sweep-*/.*"))


def test_a_reference_in_a_path_is_text(command: Command, recipe: Path, tmp_path: Path) -> None:
    """Each point reads the song, and the sweep writes to the folder, that have such a name."""
    song = tmp_path / "a ${x},b.line"
    song.write_text("1 2 3")
    done = command("-m", f"recipe={recipe}", f"input={song}", "output=o ${x}", "model.gain=1,2")
    assert (done.code, done.err) == (0, "")
    assert len(list(tmp_path.glob("o ${x}/toy/sweep-*/gain-*/report.json"))) == 2
