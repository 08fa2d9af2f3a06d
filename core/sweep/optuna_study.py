"""Optuna's study of a search: a SQLite file that one search at a time writes to."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import MissingLibraryError, StoreError
from core.machine.folders import locked
from core.machine.sqlite_address import address_of

if TYPE_CHECKING:
    import optuna
    from optuna.samplers import BaseSampler

    from core.plugin.records import SweepMetric
    from core.sweep.messages import PointResult
    from core.sweep.search_options import SearchOptions
    from core.sweep.space import Space

__all__ = ["StudyFile", "opened"]

OTHER = "hydra.sweeper.study=/path/to/study.db"
#: The attribute of a trial that has its values as they stand on a command line.
VALUES = "values"


@contextmanager
def opened(file: Path, name: str, space: Space) -> Iterator[StudyFile]:
    """Hold the file of a study; raises StoreError where another search does.

    Raises MissingLibraryError without Optuna.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingLibraryError(
            "a search needs `optuna`, which is not installed",
            "install it: pip install 'luthier[optuna]'",
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    busy = (
        "another search is writing to this study",
        f"at: {file}",
        "wait for it, or name another",
    )
    with locked(file.with_name(f"{file.name}.lock"), "the study", *busy, other=OTHER):
        yield StudyFile(file, name, space)


class StudyFile:
    """The file of a study, with the operations that a search needs."""

    def __init__(self, file: Path, name: str, space: Space) -> None:
        import optuna

        self.name, self.space, self.file = name, space, file
        self._url = address_of(file, "the study", OTHER)
        try:
            known = optuna.get_all_study_names(self._url)
        except Exception as error:  # SQLAlchemy's, of which there are many
            raise StoreError(
                f"the study cannot be read: {next(iter(str(error).splitlines()), 'damaged')}",
                f"at: {file}",
                "move the file away: finished points are kept without it",
            ) from error
        self._earlier = [
            optuna.load_study(study_name=one, storage=self._url)
            for one in known
            if one.startswith(f"{name} ")
        ]

    def begun(self) -> list[dict[str, str]]:
        """Return the points of earlier starts: those that ended, then those that did not."""
        trials = [trial for study in self._earlier for trial in study.trials]
        trials.sort(key=lambda t: (not t.state.is_finished(), t.number))
        points = [t.user_attrs[VALUES] for t in trials if VALUES in t.user_attrs]
        return [dict(pairs) for pairs in dict.fromkeys(tuple(p.items()) for p in points)]

    def study(self, options: SearchOptions, objectives: Sequence[SweepMetric]) -> optuna.Study:
        """Return the study over these objectives, made if it is not there yet."""
        import optuna

        study = optuna.create_study(
            study_name=f"{self.name} {','.join(o.name for o in objectives)}",
            storage=self._url,
            sampler=_sampler(options),
            directions=["maximize" if o.better == "higher" else "minimize" for o in objectives],
            load_if_exists=True,
        )
        study.set_metric_names([o.name for o in objectives])
        for trial in study.trials:
            if not trial.state.is_finished():
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        return study

    def add(
        self,
        study: optuna.Study,
        values: Mapping[str, str],
        result: PointResult,
        objectives: Sequence[SweepMetric],
    ) -> None:
        """Add a point that ran outside of a trial, unless the study knows it."""
        import optuna

        found = _values(result, objectives)
        if found is None or any(
            t.user_attrs.get(VALUES) == dict(values) and t.state.name == "COMPLETE"
            for t in study.trials
        ):
            return
        drawn = {d.key: d.drawn(values[d.key]) for d in self.space.dimensions}
        distributions = {d.key: d.distribution() for d in self.space.dimensions}
        study.add_trial(
            optuna.trial.create_trial(
                params=drawn,
                distributions=distributions,
                values=found,
                user_attrs={VALUES: dict(values)},
            )
        )

    def ask(self, study: optuna.Study) -> tuple[optuna.Trial, dict[str, str]]:
        """Return the next trial, with its values as they stand on a command line."""
        trial = study.ask({d.key: d.distribution() for d in self.space.dimensions})
        values = {d.key: d.spoken(trial.params[d.key]) for d in self.space.dimensions}
        trial.set_user_attr(VALUES, values)
        return trial, values

    def enqueue(self, study: optuna.Study, values: Mapping[str, str]) -> None:
        """Make `values` the next trial."""
        study.enqueue_trial({d.key: d.drawn(values[d.key]) for d in self.space.dimensions})

    def tell(
        self,
        study: optuna.Study,
        trial: optuna.Trial,
        result: PointResult | None,
        objectives: Sequence[SweepMetric],
    ) -> None:
        """Give the study the result of a trial; a refused or a repeated one is pruned."""
        import optuna

        found = None if result is None else _values(result, objectives)
        if found is not None:
            study.tell(trial, found)
        else:
            failed = result is not None and result.status == "failed"
            states = optuna.trial.TrialState
            study.tell(trial, state=states.FAIL if failed else states.PRUNED)


def _values(result: PointResult, objectives: Sequence[SweepMetric]) -> list[float] | None:
    """Return the value of every objective; None where one was not measured."""
    values = [result.figures[o.name][0] for o in objectives if o.name in result.figures]
    return values if len(values) == len(objectives) else None


def _sampler(options: SearchOptions) -> BaseSampler:
    from optuna import samplers

    # With `front` every point is enqueued, and this is never asked.
    made: dict[str, Callable[[], BaseSampler]] = {
        "gp": lambda: samplers.GPSampler(
            seed=options.seed, n_startup_trials=options.startup, deterministic_objective=True
        ),
        "tpe": lambda: samplers.TPESampler(
            seed=options.seed, n_startup_trials=options.startup, multivariate=True
        ),
        "nsgaii": lambda: samplers.NSGAIISampler(
            seed=options.seed, population_size=max(2, options.startup)
        ),
        "random": lambda: samplers.RandomSampler(seed=options.seed),
    }
    return made.get(options.sampler or "gp", made["gp"])()
