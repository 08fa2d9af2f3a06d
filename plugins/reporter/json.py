"""Writes `report.json`: the whole record of a run, for programs.

It is what `core.record.RunRecord` holds, field by field, after a first key `schema`, so
`msgspec.json.decode(text, type=RunRecord)` reads it back.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core import NoOptions, Reporter, hookimpl

if TYPE_CHECKING:
    from core.record import RunRecord

__all__ = ["FILE", "SCHEMA", "JsonReport"]

#: Raised when a reader of older reports would misread this one.
SCHEMA = "luthier.report/1"
FILE = "report.json"


class JsonReport(Reporter[NoOptions]):
    """Writes the record of the run as JSON, without absolute paths."""

    name = "json"

    @hookimpl
    def luthier_run_finished(self, record: RunRecord, folder: str) -> None:
        """Write `report.json` into the run folder."""
        import msgspec

        from plugins.reporter.reading import discreet

        content = {"schema": SCHEMA, **msgspec.to_builtins(discreet(record))}
        text = msgspec.json.format(msgspec.json.encode(content), indent=1)
        Path(folder, FILE).write_bytes(text + b"\n")


@hookimpl
def luthier_plugins() -> list[type[JsonReport]]:
    """Add the plugin of this file."""
    return [JsonReport]
