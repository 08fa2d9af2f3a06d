"""A search with Optuna over toy plugins: what runs, what is pruned, what goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Command

optuna = pytest.importorskip("optuna")

SEARCH = ("hydra/sweeper=optuna", "hydra.sweeper.seed=3")
SWEPT = ("chunker.length=4,6,8,10", "quantizer.loss=0.0,0.1")


def record(tmp_path: Path) -> dict[str, Any]:
    """Return the record of the only search."""
    (file,) = tmp_path.glob("outputs/toy/sweep-*/sweep.json")
    return dict(json.loads(file.read_text()))


def trials(tmp_path: Path) -> list[optuna.trial.FrozenTrial]:
    """Return the trials of the only study, as any program of Optuna's reads them."""
    (file,) = tmp_path.glob("outputs/toy/sweep-*/study.db")
    storage = f"sqlite:///{file}"
    (name,) = optuna.get_all_study_names(storage)
    return list(optuna.load_study(study_name=name, storage=storage).trials)


def test_a_search_runs_as_many_points_as_it_may_and_goes_on(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """A search runs two points, then one more of the same study, and none twice."""
    arguments = ("-m", f"recipe={recipe}", *SWEPT, *SEARCH)
    done = command(*arguments, "hydra.sweeper.n_trials=2")
    assert (done.code, done.err) == (0, "")
    first = record(tmp_path)
    assert len(first["points"]) == 2
    done = command(*arguments, "hydra.sweeper.n_trials=3")
    points = record(tmp_path)["points"]
    assert len(points) == 3
    kept = {tuple(p["values"].values()) for p in first["points"]}
    assert kept < {tuple(p["values"].values()) for p in points}
    assert done.out.count("...") == 1
    complete = [t for t in trials(tmp_path) if t.state.name == "COMPLETE"]
    every = {tuple(p["values"].values()) for p in points}
    assert {tuple(t.user_attrs["values"].values()) for t in complete} == every


@pytest.mark.long
def test_what_the_compiler_refused_before_is_pruned(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """The plan of a second search knows the refusal, so the point never starts."""
    swept = ("chunker.length=8,4", "runtime.room=5")
    command("-m", f"recipe={recipe}", *swept)
    done = command("-m", f"recipe={recipe}", *swept, *SEARCH, "quantizer.levels=5")
    assert done.code == 0
    files = list(tmp_path.glob("outputs/toy/sweep-*/sweep.json"))
    statuses = [[p["status"] for p in json.loads(f.read_text())["points"]] for f in files]
    assert [sorted(each) for each in statuses] == [["done", "refused"]] * 2
    assert "length=8: ..." not in done.out


@pytest.mark.long
def test_a_space_that_is_used_up_ends_the_search(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """The search ends after all eight points, and no sampler repeats one."""
    swept = ("chunker.length=4,8", "quantizer.loss=0.0,0.1")
    command("-m", f"recipe={recipe}", *swept, *SEARCH, "hydra.sweeper.sampler=tpe")
    assert len(record(tmp_path)["points"]) == 4


@pytest.mark.long
def test_a_search_between_two_ends(command: Command, recipe: Path, tmp_path: Path) -> None:
    """A search draws from intervals, which no grid can list."""
    swept = ("quantizer.loss=interval(0.0,0.5)", "chunker.length=4")
    options = ("hydra.sweeper.n_trials=2", "hydra.sweeper.objectives=[snr,size]")
    done = command("-m", f"recipe={recipe}", *swept, *SEARCH, *options)
    assert (done.code, done.err) == (0, "")
    losses = [float(p["values"]["quantizer.loss"]) for p in record(tmp_path)["points"]]
    assert len(set(losses)) == 2
    assert all(0 <= loss <= 0.5 for loss in losses)
    figures = record(tmp_path)["figures"]
    assert [f["name"] for f in figures if f["objective"]] == ["snr", "size"]


@pytest.mark.long
def test_an_objective_that_nothing_measures_is_named(command: Command, recipe: Path) -> None:
    """The error for an unknown objective lists the measured ones."""
    done = command("-m", f"recipe={recipe}", *SWEPT, *SEARCH, "hydra.sweeper.objectives=[sdrr]")
    assert done.code == 2
    assert "no figure is named `sdrr`" in done.err
    assert "snr" in done.err


@pytest.mark.long
def test_other_objectives_take_up_the_points_that_ran(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """A study with other objectives in the same file knows every point that ran."""
    arguments = ("-m", f"recipe={recipe}", *SWEPT, *SEARCH, "hydra.sweeper.n_trials=2")
    assert command(*arguments).code == 0
    done = command(*arguments, "hydra.sweeper.objectives=[snr,size]")
    assert done.code == 0
    assert "..." not in done.out
    assert len(record(tmp_path)["points"]) == 2


@pytest.mark.long
def test_two_searches_in_one_study_do_not_meet(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """The second search is refused while the first writes."""
    from core.sweep.optuna_study import opened
    from core.sweep.space import space_of

    file = tmp_path / "mine.db"
    with opened(file, "another", space_of(["chunker.length=4,8"])):
        done = command("-m", f"recipe={recipe}", *SWEPT, *SEARCH, f"hydra.sweeper.study={file}")
    assert done.code == 1
    assert "another search is writing to this study" in done.err


@pytest.mark.long
def test_a_damaged_study_is_said_to_be(command: Command, recipe: Path, tmp_path: Path) -> None:
    """A damaged study gives the remedy: the points that ran are known without it."""
    (tmp_path / "mine.db").write_bytes(b"no database at all, but long enough to be read as one" * 9)
    study = f"hydra.sweeper.study={tmp_path / 'mine.db'}"
    done = command("-m", f"recipe={recipe}", *SWEPT, *SEARCH, study)
    assert done.code == 1
    assert "the study cannot be read" in done.err
    assert "Traceback" not in done.err
