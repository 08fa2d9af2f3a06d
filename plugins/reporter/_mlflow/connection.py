"""The way to a tracking store: MLflow's client, and errors that help."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from core import LuthierError, StageError
from plugins.reporter._mlflow.address import artifacts_beside, first_line, resolved
from plugins.reporter._mlflow.tracker import Tracker

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["connected"]

#: MLflow asks a dead server seven times, for minutes; settings of the user win over these.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@contextmanager
def connected(uri: str, folder: str, recipe: str, experiment: str) -> Iterator[Tracker]:
    """Yield a tracker for the experiment, which is created where there is none.

    `folder` is that of the run or the sweep of `recipe`.
    Whatever MLflow raises becomes a StageError, and the results of the run are kept.
    """
    address = resolved(uri, folder, recipe)
    try:
        artifacts = artifacts_beside(address)
        client = _client(address)
        yield Tracker(client, _experiment(client, experiment, artifacts))
    except LuthierError:
        raise
    except Exception as error:
        raise StageError(
            f"MLflow did not accept the results: {_reason(error)}",
            f"at: {first_line(address)}, experiment `{experiment}`",
            "the results themselves are complete; only MLflow's copy is missing",
            "start the server, or log to a file: reporter.mlflow.uri=sqlite:///runs.db",
        ) from error


def _reason(error: Exception) -> str:
    """Return the reason in a few words; where no server answers, MLflow's words name sockets."""
    import requests

    reason: BaseException | None = error
    while reason is not None:
        if isinstance(reason, requests.ConnectionError | requests.Timeout):
            return "the server does not answer"
        reason = reason.__cause__ or reason.__context__
    return first_line(str(error))


def _client(address: str) -> MlflowClient:
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=address)


def _experiment(client: MlflowClient, name: str, artifacts: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    return str(client.create_experiment(name, artifact_location=artifacts))
