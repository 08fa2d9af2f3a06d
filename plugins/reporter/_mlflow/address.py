"""The address of a tracking store: its default, and what its errors say."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from core.machine.sqlite_address import SQLITE, address_of
from core.text.shown import without_credentials

__all__ = ["artifacts_beside", "first_line", "resolved", "stray_query"]

#: Longest part of a third-party message that is passed on.
LONGEST = 300


def first_line(text: str) -> str:
    """Return the first line of a third-party message, without the credentials in it."""
    first = next((line for line in text.splitlines() if line.strip()), "no reason given").strip()
    return without_credentials(first)[:LONGEST]


def resolved(uri: str, folder: str, recipe: str) -> str:
    """Return the address to log to; the default lies in the output folder, beside the recipes.

    `folder` is that of a run or a sweep, below `outputs/<recipe>/`. Raises StoreError for a folder
    whose name no address can hold.
    """
    if not uri:
        file = _output(Path(folder).resolve(), recipe) / "mlflow" / "runs.db"
        return address_of(file, "MLflow's results", "output=..., or reporter.mlflow.uri=...")
    if _is_file(uri) and "%" in uri:
        from sqlalchemy.engine import make_url

        return make_url(uri).set(drivername=SQLITE).render_as_string(hide_password=False)
    return uri


def _output(folder: Path, recipe: str) -> Path:
    """Return the output folder; while a run is written, its own lies one folder deeper."""
    found = (above.parent for above in folder.parents if above.name == recipe)
    return next(found, folder.parent.parent)


def stray_query(uri: str) -> str:
    """Return the text after the `?` of a SQLite address if it is no list of options; else empty.

    SQLAlchemy drops it silently: the file of `sqlite:///is it?/runs.db` is `is it`.
    """
    _, _, query = uri.partition("?")
    whole = all("=" in option for option in query.split("&"))
    return query if _is_file(uri) and not whole else ""


def artifacts_beside(uri: str) -> str | None:
    """Return the folder of files for a SQLite store, and make it; None where the server decides.

    MLflow's own default is a folder below the current one. Raises OSError or
    sqlite3.Error for a store that cannot be opened, which MLflow tries again for 102 s.
    """
    if not _is_file(uri):
        return None
    from sqlalchemy.engine import make_url

    url = make_url(uri)
    if not url.database or url.database == ":memory:":
        return None
    home = Path(url.database).resolve().parent
    home.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(url.database)) as store:
        store.execute("PRAGMA schema_version")
    return (home / "artifacts").as_uri()


def _is_file(uri: str) -> bool:
    return uri.startswith(("sqlite:", "sqlite+"))
