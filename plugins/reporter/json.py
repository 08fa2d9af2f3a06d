"""Writes `report.json` for a run, and `sweep.json` and `sweep.csv` for a sweep, for programs.

The JSON files hold `core.plugin.records.RunRecord` and `core.plugin.records.SweepRecord`,
field by field, after a first key `schema`, so `msgspec.json.decode(text, type=RunRecord)` reads one
back. Their JSON Schemas lie in `docs/schemas`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import NoOptions, Reporter, hookimpl
from core.machine.whole_file import write_whole

if TYPE_CHECKING:
    from core.plugin.records import RunRecord, SweepRecord

__all__ = ["FILE", "SCHEMA", "SWEEP_SCHEMA", "JsonReport"]

#: Raised when a reader of older reports would misread this one.
SCHEMA, SWEEP_SCHEMA = "luthier.report/2", "luthier.sweep/2"
FILE = "report.json"


class JsonReport(Reporter[NoOptions]):
    """Writes the record of a run or a sweep as JSON and CSV, without absolute paths."""

    name = "json"

    @hookimpl
    def luthier_run_finished(self, record: RunRecord, folder: str) -> None:
        """Write `report.json` into the run folder."""
        from plugins.reporter._reading import redacted

        _write(Path(folder, FILE), SCHEMA, redacted(record))

    @hookimpl
    def luthier_sweep_finished(self, record: SweepRecord, folder: str) -> None:
        """Write `sweep.json` and `sweep.csv` beside the run folders of the points."""
        from plugins.reporter._reading import presentable
        from plugins.reporter._reading.spreadsheet import spreadsheet

        record = presentable(record)
        _write(Path(folder, "sweep.json"), SWEEP_SCHEMA, record)
        write_whole(Path(folder, "sweep.csv"), spreadsheet(record).encode())


def _write(file: Path, schema: str, record: Any) -> None:
    """Write a record, which may be any dataclass, after the name of its schema."""
    import msgspec

    content = {"schema": schema, **msgspec.to_builtins(record)}
    text = msgspec.json.format(msgspec.json.encode(content), indent=1)
    write_whole(file, text + b"\n")


@hookimpl
def luthier_plugins() -> list[type[JsonReport]]:
    """Return the reporter plugin of this file."""
    return [JsonReport]
