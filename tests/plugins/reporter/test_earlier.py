"""The page compares the run with an earlier one: what differed, and every figure."""

from __future__ import annotations

import dataclasses
import html
from pathlib import Path

import pytest

from core import NoOptions, Target
from core.errors import InputError
from core.plugin.records import PlanRecord, RunRecord
from plugins.reporter.html import HtmlReport, HtmlReportOptions
from plugins.reporter.json import JsonReport

PLAN = PlanRecord("s24_int8", "", Target(), "int8", (), 0)


def against(record: RunRecord, folder: Path, place: Path) -> str:
    """Return the text of a report that compares with the run at `place`."""
    options = HtmlReportOptions(against=str(place), compared_seconds=0, preview_items=0)
    reporter = HtmlReport(options)
    reporter.luthier_run_started(plan=PLAN)
    reporter.luthier_run_finished(record=record, folder=str(folder))
    page = (folder / "report.html").read_text(encoding="utf-8")
    start = page.index('<section id="earlier"') if '<section id="earlier"' in page else 0
    return html.unescape(page[start : page.index("</section>", start)])


@pytest.fixture
def earlier(record: RunRecord, tmp_path: Path) -> Path:
    """Write the report of an earlier run: another overlap and library, and 3 dB more in bass."""
    metrics = tuple(
        dataclasses.replace(metric, value=metric.value + 3)
        if (metric.name, metric.label) == ("parity_snr", "bass")
        else metric
        for metric in record.metrics
    )
    before = dataclasses.replace(
        record,
        metrics=metrics,
        started="2026-10-01T08:00:00+00:00",
        config=record.config.replace("overlap: 0.25", "overlap: 0.5"),
        versions={**record.versions, "torch": "2.12.0"},
    )
    (tmp_path / "earlier").mkdir()
    JsonReport(NoOptions()).luthier_run_finished(record=before, folder=str(tmp_path / "earlier"))
    return tmp_path / "earlier"


def test_the_page_says_what_differed(record: RunRecord, earlier: Path, tmp_path: Path) -> None:
    """The section names the earlier run, the keys and versions that differ, and what is alike."""
    page = against(record, tmp_path, earlier)
    assert "The earlier run of 2026-10-01 08:00" in page
    assert "Nothing differs in machine." in page
    assert "<code>chunker.overlap</code>" in page
    assert ">0.5</td>" in page
    assert ">0.25</td>" in page
    assert "<code>torch</code>" in page
    assert "<code>onnxruntime</code>" not in page


def test_the_page_says_what_it_did_to_every_figure(
    record: RunRecord, earlier: Path, tmp_path: Path
) -> None:
    """A figure that fell is worse, with both values and the change; others are counted."""
    page = against(record, tmp_path, earlier)
    assert "2 of " in page
    assert page.count("badge missed") == 2
    assert "bass of Evening Song" in page
    assert "37.10" in page
    assert "34.10" in page
    assert "−3.00 dB" in page


def test_a_lock_file_has_no_figures(record: RunRecord, tmp_path: Path) -> None:
    """Against a lock file the recipes are compared, and the page says that figures are missing."""
    lock = tmp_path / "recipe.lock.yaml"
    config = f"{record.config}measure: {{}}\n".replace("overlap: 0.25", "overlap: 0.5")
    lock.write_text(config, encoding="utf-8")
    page = against(record, tmp_path, lock)
    assert "<code>chunker.overlap</code>" in page
    assert "a lock file, which has no figures" in page


def test_a_page_without_an_earlier_run_has_no_such_section(
    record: RunRecord, tmp_path: Path
) -> None:
    """Without `against`, there is nothing to compare with."""
    reporter = HtmlReport(HtmlReportOptions(compared_seconds=0, preview_items=0))
    reporter.luthier_run_started(plan=PLAN)
    reporter.luthier_run_finished(record=record, folder=str(tmp_path))
    assert 'id="earlier"' not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_wrong_path_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """A path that is no run is an error when the run starts."""
    reporter = HtmlReport(HtmlReportOptions(against=str(tmp_path / "gone")))
    with pytest.raises(InputError, match="does not exist"):
        reporter.luthier_run_started(plan=PLAN)
