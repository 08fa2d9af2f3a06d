"""The address of a tracking store: where it is by default, and what must not stand in it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["artifacts_beside", "holds_secret", "resolved", "without_secrets"]

SQLITE = "sqlite:///"
SECRET = re.compile(r"(?:token|password|secret|key)=", re.IGNORECASE)
USER = re.compile(r"//[^/@\s]+@")
#: Longest part of somebody else's message that is passed on.
LONGEST = 300


def holds_secret(uri: str) -> bool:
    """Return whether an address names a user, a password, or a token in its query."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return USER.search(uri) is not None
    return bool("@" in parts.netloc or SECRET.search(parts.query))


def without_secrets(text: str) -> str:
    """Return the first line of a message, without the user of any address in it."""
    first = next((line for line in text.splitlines() if line.strip()), "no reason given").strip()
    return re.sub(r"((?:token|password|secret|key)=)[^&\s]+", r"\1(hidden)",
                  USER.sub("//", first), flags=re.IGNORECASE)[:LONGEST]  # fmt: skip


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
