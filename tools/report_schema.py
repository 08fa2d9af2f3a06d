"""The JSON Schemas of `report.json` and `sweep.json`, from the records that they hold."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import msgspec

from core.plugin.records import RunRecord, SweepRecord
from plugins.reporter.json import SCHEMA, SWEEP_SCHEMA

__all__ = ["SCHEMAS", "schemas"]

FOLDER = Path(__file__).parent.parent / "docs" / "schemas"
#: The file of each schema, with the record and the text under `schema` that it describes.
SCHEMAS = {
    FOLDER / "report.schema.json": (RunRecord, SCHEMA),
    FOLDER / "sweep.schema.json": (SweepRecord, SWEEP_SCHEMA),
}


def schemas() -> dict[Path, str]:
    """Return the text of every schema file."""
    return {file: _schema(*of) for file, of in SCHEMAS.items()}


def _schema(record: type[Any], name: str) -> str:
    found = msgspec.json.schema(record)
    for part in found["$defs"].values():
        part["description"] = inspect.cleandoc(part.get("description", ""))
    whole = found["$defs"][record.__name__]
    whole["properties"] = {"schema": {"const": name}, **whole["properties"]}
    whole["required"] = ["schema", *whole["required"]]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name}
    return json.dumps({**head, **found}, indent=1, ensure_ascii=False) + "\n"
