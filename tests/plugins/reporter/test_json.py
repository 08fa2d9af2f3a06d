"""The JSON report holds the whole record, can be read back, and can be passed on."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from core import NoOptions
from core.plugin.records import RunRecord
from plugins.reporter._reading import redacted
from plugins.reporter.json import SCHEMA, JsonReport


@pytest.fixture(scope="module")
def text(record: RunRecord, run_folder: Path) -> str:
    """Return the report of the realistic run."""
    JsonReport(NoOptions()).luthier_run_finished(record=record, folder=str(run_folder))
    return (run_folder / "report.json").read_text(encoding="utf-8")


def test_it_reads_back_as_a_record(record: RunRecord, text: str) -> None:
    """The report reads back as the record without its paths and secrets."""
    assert msgspec.json.decode(text, type=RunRecord) == redacted(record)


def test_a_report_holds_to_its_schema(text: str) -> None:
    """The report fits the published schema.

    The schema refuses another version, a missing field and a value of another type.
    """
    import jsonschema  # takes two seconds to load

    file = Path(__file__).parents[3] / "docs" / "schemas" / "report.schema.json"
    check = jsonschema.Draft202012Validator(json.loads(file.read_text(encoding="utf-8")))
    report = json.loads(text)
    check.validate(report)
    assert not check.is_valid({**report, "schema": "luthier.report/1"})
    assert not check.is_valid({key: value for key, value in report.items() if key != "metrics"})
    report["metrics"][0]["value"] = "much"
    assert not check.is_valid(report)


def test_discretion_changes_only_paths_and_secrets(record: RunRecord) -> None:
    """Redaction changes paths and secrets only, and no metrics, budget, files or facts."""
    kept = redacted(record)
    assert (kept.metrics, kept.budget, kept.saved) == (record.metrics, record.budget, record.saved)
    assert [s.artifact.facts for s in kept.stages] == [s.artifact.facts for s in record.stages]
    assert kept.stages[0].artifact.path == "main"


def test_no_absolute_path_and_no_secret_is_in_it(text: str, run_folder: Path) -> None:
    """The report holds no absolute path of this machine and no token."""
    assert str(run_folder) not in text
    assert "hf_AbCdEf123456" not in text
    assert "evening song.flac" in text


def test_the_schema_comes_first_and_lines_are_short(text: str) -> None:
    """The schema's name is the first field, and the text has line breaks."""
    assert next(iter(json.loads(text).items())) == ("schema", SCHEMA)
    assert text.startswith("{\n")
