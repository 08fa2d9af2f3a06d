"""The JSON report: the whole record, readable again, and fit to be sent on."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
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
    """Nothing but paths and secrets is lost."""
    assert msgspec.json.decode(text, type=RunRecord) == redacted(record)


def test_a_report_holds_to_its_schema(text: str) -> None:
    """The schema that is published, which refuses a report of another number or without a field."""
    file = Path(__file__).parents[3] / "docs" / "schemas" / "report.schema.json"
    check = jsonschema.Draft202012Validator(json.loads(file.read_text(encoding="utf-8")))
    report = json.loads(text)
    check.validate(report)
    assert not check.is_valid({**report, "schema": "luthier.report/1"})
    assert not check.is_valid({key: value for key, value in report.items() if key != "metrics"})
    report["metrics"][0]["value"] = "much"
    assert not check.is_valid(report)


def test_discretion_changes_only_paths_and_secrets(record: RunRecord) -> None:
    """Numbers, names and notices come through as they are."""
    kept = redacted(record)
    assert (kept.metrics, kept.budget, kept.saved) == (record.metrics, record.budget, record.saved)
    assert [s.artifact.facts for s in kept.stages] == [s.artifact.facts for s in record.stages]
    assert kept.stages[0].artifact.path == "main"


def test_no_absolute_path_and_no_secret_is_in_it(text: str, run_folder: Path) -> None:
    """The store, the input's folder, the options and the token stay on this machine."""
    assert str(run_folder) not in text
    assert "hf_AbCdEf123456" not in text
    assert "evening song.flac" in text


def test_the_schema_comes_first_and_lines_are_short(text: str) -> None:
    """A person can read it, a program can tell what it reads."""
    assert next(iter(json.loads(text).items())) == ("schema", SCHEMA)
    assert text.startswith("{\n")
