"""Optuna's study of a search: what it keeps of the points of this start and of earlier ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.errors import StoreError
from core.plugin.records import SweepMetric
from core.sweep.messages import PointResult
from core.sweep.optuna_study import StudyFile, opened
from core.sweep.search_options import SAMPLERS, SearchOptions
from core.sweep.space import space_of

optuna = pytest.importorskip("optuna")

SDR = SweepMetric("sdr", "SDR", "dB", "higher", objective=True)
LATENCY = SweepMetric("latency", "time per window", "ms", "lower", objective=True)
BOTH = [SDR, LATENCY]
SPACE = space_of(["length=8,4", "precision=int8,'x,y'", "overlap=interval(0,0.5)"])
POINT = {"length": "8", "precision": "'x,y'", "overlap": "0.25"}
OTHER = {"length": "4", "precision": "int8", "overlap": "0.125"}


def done(sdr: float, latency: float = 1.0) -> PointResult:
    """Return the answer of a point that ran."""
    return PointResult("done", figures={"sdr": (sdr, "a CPU"), "latency": (latency, "a CPU")})


@contextmanager
def study_file(folder: Path, name: str = "sweep-1") -> Iterator[StudyFile]:
    """Open the study of a search, as each start of it does."""
    with opened(folder / "study.db", name, SPACE) as found:
        yield found


def states(study: optuna.Study) -> list[str]:
    """Return what became of every trial."""
    return [trial.state.name for trial in study.trials]


def test_a_new_study_has_begun_nothing(tmp_path: Path) -> None:
    """A new study has no trials, and creates its folder."""
    with study_file(tmp_path / "new") as found:
        assert found.begun() == []


def test_its_folder_may_have_any_name(tmp_path: Path) -> None:
    """A `?` in the folder's name stays in the file's path, and nothing is written beside it."""
    folder = tmp_path / "is it? 50%25 {of} #1"
    with study_file(folder) as found:
        found.ask(found.study(SearchOptions(sampler="random"), BOTH))
    with study_file(folder) as found:
        assert len(found.begun()) == 1
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert "study.db" in [path.name for path in folder.iterdir()]


def test_what_is_asked_is_a_point_of_the_space(tmp_path: Path) -> None:
    """A drawn point is in command-line form, ready to be composed."""
    with study_file(tmp_path) as found:
        _, values = found.ask(found.study(SearchOptions(sampler="random"), BOTH))
    assert values["length"] in ("4", "8")
    assert values["precision"] in ("int8", "'x,y'")
    assert 0 <= float(values["overlap"]) <= 0.5
    assert len(SPACE.line(values)) == 3


def test_what_is_enqueued_is_asked_next(tmp_path: Path) -> None:
    """Enqueued points are drawn first, in their order."""
    with study_file(tmp_path) as found:
        study = found.study(SearchOptions(sampler="random"), BOTH)
        found.enqueue(study, POINT)
        found.enqueue(study, OTHER)
        assert [found.ask(study)[1] for _ in range(2)] == [POINT, OTHER]


def test_what_became_of_a_trial_is_kept(tmp_path: Path) -> None:
    """Failed trials are kept apart from refused ones and from those without a result."""
    with study_file(tmp_path) as found:
        study = found.study(SearchOptions(sampler="random"), BOTH)
        for result in (
            done(8.0, 20.0),
            PointResult("failed", "a bug"),
            PointResult("refused", "no room"),
            None,
        ):
            trial, _ = found.ask(study)
            found.tell(study, trial, result, BOTH)
        assert states(study) == ["COMPLETE", "FAIL", "PRUNED", "PRUNED"]
        assert study.trials[0].values == [8.0, 20.0]
        assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]


def test_a_point_without_one_of_the_objectives_teaches_nothing(tmp_path: Path) -> None:
    """A trial without an objective, say a latency, teaches nothing: no number replaces it."""
    silent = PointResult("done", figures={"sdr": (8.0, "a CPU")})
    with study_file(tmp_path) as found:
        study = found.study(SearchOptions(sampler="random"), BOTH)
        trial, _ = found.ask(study)
        found.tell(study, trial, silent, BOTH)
        found.add(study, POINT, silent, BOTH)
        assert states(study) == ["PRUNED"]


def test_a_point_that_ran_outside_of_the_study_is_added_once(tmp_path: Path) -> None:
    """A point from outside is added once, with the values that Optuna would have drawn."""
    with study_file(tmp_path) as found:
        study = found.study(SearchOptions(sampler="random"), BOTH)
        for _ in range(2):
            found.add(study, POINT, done(8.0), BOTH)
        (trial,) = study.trials
        assert trial.params == {"length": 1, "precision": "'x,y'", "overlap": 0.25}
        assert trial.values == [8.0, 1.0]


def test_the_next_start_knows_what_ended_and_then_what_did_not(tmp_path: Path) -> None:
    """Each point comes once; an interrupted one comes last, since it may interrupt again."""
    with study_file(tmp_path) as found:
        study = found.study(SearchOptions(sampler="random"), BOTH)
        for values in (OTHER, POINT):
            found.enqueue(study, values)
        found.ask(study)
        trial, _ = found.ask(study)
        found.tell(study, trial, done(8.0), BOTH)
        found.add(study, POINT, done(8.0), BOTH)
    with study_file(tmp_path) as found:
        assert found.begun() == [POINT, OTHER]


def test_what_was_cut_off_is_failed_by_the_next_start(tmp_path: Path) -> None:
    """The next start fails an interrupted trial, because samplers avoid pending ones."""
    with study_file(tmp_path) as found:
        found.ask(found.study(SearchOptions(sampler="random"), BOTH))
    with study_file(tmp_path) as found:
        assert states(found.study(SearchOptions(sampler="random"), BOTH)) == ["FAIL"]


def test_other_objectives_know_the_same_points(tmp_path: Path) -> None:
    """Studies with other objectives share the points in one file, as two Optuna studies."""
    with study_file(tmp_path) as found:
        found.add(found.study(SearchOptions(), BOTH), POINT, done(8.0), BOTH)
    with study_file(tmp_path) as found:
        study = found.study(SearchOptions(), [SDR])
        assert study.trials == []
        assert found.begun() == [POINT]


def test_two_sweeps_in_one_file_know_nothing_of_each_other(tmp_path: Path) -> None:
    """Two sweeps with different axes stay apart, even if one name begins like the other."""
    with study_file(tmp_path, "sweep-11") as found:
        found.add(found.study(SearchOptions(), BOTH), POINT, done(8.0), BOTH)
    with study_file(tmp_path, "sweep-1") as found:
        assert found.begun() == []
        assert found.study(SearchOptions(), BOTH).trials == []


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_after_what_it_has_seen(tmp_path: Path, sampler: str) -> None:
    """Every sampler draws after its start-up phase, over two objectives."""
    with study_file(tmp_path) as found:
        study = found.study(SearchOptions(sampler=sampler, startup=1, seed=0), BOTH)
        found.add(study, POINT, done(8.0, 20.0), BOTH)
        found.add(study, OTHER, done(6.0, 10.0), BOTH)
        _, values = found.ask(study)
        assert set(values) == set(POINT)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_seed_makes_the_same_draws(tmp_path: Path, sampler: str) -> None:
    """The same seed makes the same draws in two files."""

    def drawn(folder: str) -> list[dict[str, str]]:
        with study_file(tmp_path / folder) as found:
            study = found.study(SearchOptions(sampler=sampler, seed=3), BOTH)
            return [found.ask(study)[1] for _ in range(4)]

    assert drawn("one") == drawn("two")


def test_one_search_at_a_time_writes_to_a_file(tmp_path: Path) -> None:
    """A second search in one file is refused until the first ends."""
    with (
        study_file(tmp_path),
        pytest.raises(StoreError, match="another search is writing to this study"),
        study_file(tmp_path, "sweep-2"),
    ):
        pass
    with study_file(tmp_path):
        pass


@pytest.mark.parametrize("text", ["no database", "SQLite format 3\0and nothing more"])
def test_a_file_that_is_no_study_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    """A file that is no study gives an error, and is not locked afterwards."""
    (tmp_path / "study.db").write_text(text)
    for _ in range(2):
        with (
            pytest.raises(StoreError, match="the study cannot be read") as refused,
            study_file(tmp_path),
        ):
            pass
    assert f"at: {tmp_path / 'study.db'}" in refused.value.lines


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A file in the folder's place gives an error."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(StoreError, match="the study cannot be written"),
        study_file(tmp_path / "file"),
    ):
        pass
