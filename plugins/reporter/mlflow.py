"""Logs runs and sweeps to MLflow: a local SQLite file, or the server that `uri` names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core import Reporter, Requirement, hookimpl, reaching
from core.text.shown import holds_credentials
from plugins.reporter._mlflow.address import stray_query

if TYPE_CHECKING:
    from core.plugin.records import RunRecord, SweepRecord

__all__ = ["Mlflow", "MlflowOptions"]

INSTALL = "pip install 'luthier[mlflow]'"


@dataclass
class MlflowOptions:
    """Where runs are logged, and what of them."""

    uri: str = reaching("", address=True)
    """A tracking address: `sqlite:///runs.db`, `http://host:5000`, ...; empty for a SQLite file in
    the output folder, `outputs/mlflow/runs.db`. MLFLOW_TRACKING_URI is not looked at."""
    experiment: str = "luthier"
    """The experiment that runs are filed under; it is made where there is none."""
    artifacts: bool = True
    """Log the reports and the lock file of every run."""
    bundle: bool = False
    """Log what goes to the device, too; it may be large."""

    def __post_init__(self) -> None:
        """Raise ValueError for an address that holds a secret, which the lock file would keep."""
        if holds_credentials(self.uri):
            raise ValueError(
                "`uri` holds a user or a password, and options are kept in the lock file: set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            )
        stray = stray_query(self.uri)
        if stray:
            raise ValueError(
                f"`uri` names options, `{stray}`, that are not key=value: a `?` in the name of a "
                "file is %3F in an address, and a % is %25"
            )
        if not self.experiment.strip():
            raise ValueError("`experiment` is empty: give it a name")


class Mlflow(Reporter[MlflowOptions]):
    """Logs parameters, metrics and reports to MLflow, a sweep as a run with one child a point."""

    name = "mlflow"
    Options = MlflowOptions
    libraries = (
        Requirement("mlflow", INSTALL, "mlflow-skinny"),
        Requirement("sqlalchemy", INSTALL),
        Requirement("alembic", INSTALL),
    )

    # Runs after the reporters whose files it logs.
    @hookimpl(trylast=True)
    def luthier_run_finished(self, record: RunRecord, folder: str) -> None:
        """Log one run; a point of a sweep is logged with its sweep.

        Raises StageError where MLflow rejects it.
        """
        if record.sweep:
            return
        from plugins.reporter._mlflow.connection import connected
        from plugins.reporter._mlflow.run import log_run

        options = self.options
        with connected(options.uri, folder, record.recipe, options.experiment) as tracker:
            log_run(tracker, record, folder, artifacts=options.artifacts, bundle=options.bundle)

    @hookimpl(trylast=True)
    def luthier_sweep_finished(self, record: SweepRecord, folder: str) -> None:
        """Log a sweep and its points, or update what was logged of it before.

        Raises StageError where MLflow rejects it.
        """
        from plugins.reporter._mlflow.connection import connected
        from plugins.reporter._mlflow.sweep import log_sweep

        options = self.options
        with connected(options.uri, folder, record.recipe, options.experiment) as tracker:
            log_sweep(tracker, record, folder, artifacts=options.artifacts, bundle=options.bundle)


@hookimpl
def luthier_plugins() -> list[type[Mlflow]]:
    """Return the reporter plugin of this file."""
    return [Mlflow]
