"""One experiment of a tracking store: finds, makes and fills runs within MLflow's limits."""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

__all__ = ["Tracker", "milliseconds", "plain"]

#: The limits of one request of MLflow's API, and the longest keys and values.
PARAMS, METRICS, PAGE = 100, 1000, 1000
KEY, PARAM, TAG = 250, 6000, 8000


@dataclass(frozen=True)
class Tracker:
    """Writes into one experiment."""

    client: MlflowClient
    experiment: str

    def made(self, name: str, started: str, tags: Mapping[str, str]) -> Run:
        """Make a run that began at `started`, a time in ISO 8601."""
        return self.client.create_run(
            self.experiment,
            start_time=milliseconds(started),
            run_name=name,
            tags={plain(key): value[:TAG] for key, value in tags.items()},
        )

    def found(self, condition: str) -> Iterator[Run]:
        """Yield the runs that match a condition of MLflow's search."""
        token: str | None = None
        while True:
            page = self.client.search_runs(
                [self.experiment], condition, max_results=PAGE, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return

    def fill(
        self,
        run: Run,
        params: Mapping[str, str],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
    ) -> None:
        """Log what a run does not hold yet; an unchanged metric gets no new entry."""
        from mlflow.entities import Metric, Param, RunTag

        now = run.info.start_time
        values = [
            Metric(plain(key), value, now, 0)
            for key, value in metrics.items()
            if math.isfinite(value) and run.data.metrics.get(plain(key)) != value
        ]
        # A parameter can never be changed: the stored one was logged by the same command.
        given = [
            Param(plain(key), value[:PARAM])
            for key, value in params.items()
            if plain(key) not in run.data.params
        ]
        marks = [RunTag(plain(key), value[:TAG]) for key, value in tags.items()]
        number = run.info.run_id
        for start in range(0, len(given), PARAMS):
            self.client.log_batch(number, params=given[start : start + PARAMS])
        for start in range(0, len(values), METRICS):
            self.client.log_batch(number, metrics=values[start : start + METRICS])
        for start in range(0, len(marks), PARAMS):
            self.client.log_batch(number, tags=marks[start : start + PARAMS])

    def attach(self, run: Run, folder: Path, names: tuple[str, ...]) -> None:
        """Log those files and folders of `names` that exist."""
        for path in (folder / name for name in names):
            if path.is_dir():
                self.client.log_artifacts(run.info.run_id, str(path), path.name)
            elif path.is_file():
                self.client.log_artifact(run.info.run_id, str(path))

    def end(self, run: Run, seconds: float, status: str = "FINISHED") -> None:
        """Mark a run as over, `seconds` after it began."""
        end = run.info.start_time + round(1000 * seconds)
        self.client.set_terminated(run.info.run_id, status, end_time=end)


def milliseconds(moment: str) -> int:
    """Return a time in ISO 8601 as MLflow counts it, in milliseconds."""
    return round(1000 * datetime.fromisoformat(moment).timestamp())


def plain(key: str) -> str:
    """Return a key that MLflow accepts: word characters, `-. :/`, and no path upwards."""
    allowed = re.sub(r"[^\w\-. :/]", "_", key)
    parts = [part.strip() for part in posixpath.normpath(f"/{allowed}").split("/")]
    return "/".join(part for part in parts if part)[:KEY] or "_"
