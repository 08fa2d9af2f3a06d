"""A SQLite file as an address (URL), in which `?`, `%` and `#` have a meaning of their own."""

from __future__ import annotations

from pathlib import Path

from core.errors import StoreError

__all__ = ["SQLITE", "address_of"]

#: With the driver's name. Without it MLflow 3.17 makes a folder that is named as the address is
#: written: a second one beside the real one wherever a character is escaped.
SQLITE = "sqlite+pysqlite"


def address_of(file: Path, what: str, other: str) -> str:
    """Return the address that SQLAlchemy opens `file` by.

    Raises StoreError for a name that no address can hold: another file would be opened silently.
    `what` says in words what the file is, and `other` how to give another place.
    """
    from sqlalchemy.engine import URL, make_url

    url = URL.create(SQLITE, database=str(file))
    try:
        address = url.render_as_string()
        same = make_url(address).database == str(file)
    except UnicodeEncodeError:  # a name of bytes that are no text
        same = False
    if not same:
        # SQLAlchemy before 2.1 takes what follows a `?` for options, however it is escaped.
        raise StoreError(
            f"no address can name the file of {what}",
            f"at: {str(file).encode(errors='backslashreplace').decode()}",
            f"take a folder without unusual characters: {other}",
            "SQLAlchemy 2.1 takes every name that is text: pip install -U sqlalchemy",
        )
    return address
