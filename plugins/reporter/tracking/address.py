"""The address of a tracking store: where it is by default, and what its errors say."""

from __future__ import annotations

from pathlib import Path

from core.shown import without_credentials

__all__ = ["artifacts_beside", "first_line", "resolved"]

SQLITE = "sqlite:///"
#: Longest part of somebody else's message that is passed on.
LONGEST = 300


def first_line(text: str) -> str:
    """Return the first line of somebody else's message, without the credentials in it."""
    first = next((line for line in text.splitlines() if line.strip()), "no reason given").strip()
    return without_credentials(first)[:LONGEST]


def resolved(uri: str, folder: str) -> str:
    """Return the address to log to; the default lies in the output folder, beside the recipes.

    `folder` is that of a run or a sweep: `outputs/<recipe>/<name>`.
    """
    return uri or f"{SQLITE}{(Path(folder).resolve().parent.parent / 'mlflow' / 'runs.db')}"


def artifacts_beside(uri: str) -> str | None:
    """Return where files go for a SQLite store, whose folder is made; else the server says where.

    MLflow's own default is a folder of wherever the command was started.
    """
    if not uri.startswith(SQLITE):
        return None
    home = Path(uri.removeprefix(SQLITE)).resolve().parent
    home.mkdir(parents=True, exist_ok=True)
    return (home / "artifacts").as_uri()
