"""The pages hold no barrier that axe-core finds, on a phone and a desktop, light and dark."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from core import NoOptions, Target
from core.plugin.records import PlanRecord, RunRecord
from plugins.reporter.html import HtmlReport, HtmlReportOptions
from plugins.reporter.json import JsonReport
from tests.plugins.reporter import sweeps
from tests.plugins.reporter.chromium import DESKTOP, PHONE, Browser

AXE = Path(__file__).parents[3] / "node_modules" / "axe-core" / "axe.min.js"
#: Opens what is folded, and returns what axe finds: a line per rule, with the elements.
RUN = """
document.querySelectorAll("details").forEach((one) => { one.open = true; });
axe.run(document, {resultTypes: ["violations"]}).then((found) => found.violations.map((one) =>
  `${one.impact} ${one.id}: ${one.nodes.map((node) => node.target.join(" ")).join("; ")}`))
"""


@pytest.fixture(scope="module")
def pages(record: RunRecord, run_folder: Path) -> dict[str, Path]:
    """Write a run's page, with an earlier run that differs, and a sweep's page."""
    before = run_folder / "before"
    before.mkdir()
    JsonReport(NoOptions()).luthier_run_finished(record=_slower(record), folder=str(before))
    reporter = HtmlReport(HtmlReportOptions(against=str(before)))
    reporter.luthier_run_started(plan=PlanRecord("s24_int8", "", Target(), "int8", (), 0))
    reporter.luthier_run_finished(record=record, folder=str(run_folder))
    reporter.luthier_sweep_finished(record=sweeps.sweep(), folder=str(run_folder))
    return {"run": run_folder / "report.html", "sweep": run_folder / "sweep.html"}


def _slower(record: RunRecord) -> RunRecord:
    metrics = (dataclasses.replace(metric, value=metric.value * 1.5) for metric in record.metrics)
    return dataclasses.replace(record, metrics=tuple(metrics), versions={"torch": "1.0"})


@pytest.mark.parametrize("page", ["run", "sweep"])
def test_axe_finds_no_barrier(browser: Browser, pages: dict[str, Path], page: str) -> None:
    """No rule of axe-core is broken, whatever the width and the colours."""
    if not AXE.is_file():
        pytest.skip("needs axe-core: npm install --no-save axe-core")
    broken: dict[Any, list[str]] = {}
    for width in (PHONE, DESKTOP):
        for colours in ("light", "dark"):
            scheme = {"name": "prefers-color-scheme", "value": colours}
            browser("Emulation.setEmulatedMedia", features=[scheme])
            browser.open(pages[page], width)
            browser.evaluate(f"{AXE.read_text(encoding='utf-8')};0")
            found = browser.evaluate(RUN)
            if found:
                broken[width, colours] = found
    browser("Emulation.setEmulatedMedia", features=[])
    assert broken == {}
