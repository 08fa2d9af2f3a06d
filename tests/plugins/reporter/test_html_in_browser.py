"""The HTML report in a real browser; skips where no Chromium is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.plugin.records import RunRecord
from plugins.reporter.html import HtmlReport, HtmlReportOptions
from tests.plugins.reporter.chromium import DESKTOP, PHONE, Browser


@pytest.fixture(scope="module")
def page(record: RunRecord, run_folder: Path) -> Path:
    """Write the report of the run."""
    HtmlReport(HtmlReportOptions()).luthier_run_finished(record=record, folder=str(run_folder))
    return run_folder / "report.html"


def test_the_page_loads_without_a_complaint(browser: Browser, page: Path) -> None:
    """The page loads without errors, and requests only itself and embedded data."""
    browser.open(page, DESKTOP)
    assert browser.complaints() == []
    assert browser.asked() <= {"file", "data"}


@pytest.mark.parametrize("width", [320, PHONE, DESKTOP])
def test_nothing_sticks_out_sideways(browser: Browser, page: Path, width: int) -> None:
    """The page is exactly as wide as the window, on a phone and on a desktop."""
    browser.open(page, width)
    assert browser.evaluate("document.documentElement.scrollWidth") == width


def test_every_track_decodes_and_the_mixer_switches(browser: Browser, page: Path) -> None:
    """Play starts the tracks, and solo of a stem silences the other stems and the mixture."""
    browser.open(page, DESKTOP)
    browser.evaluate("document.querySelector('.play').click()")
    label = "new Promise(r => setTimeout(() => r(document.querySelector('.play').textContent), 50))"
    for _ in range(100):
        if browser.evaluate(label) == "Pause":
            break
    assert browser.evaluate("document.querySelector('.play').textContent") == "Pause"
    medium = "document.querySelector('.medium')"
    browser.evaluate(f"{medium}.querySelectorAll('.solo')[2].click()")
    heard = f"[...{medium}.querySelectorAll('.track')].map(t => !t.classList.contains('silent'))"
    assert browser.evaluate(heard) == [False, False, True, False, False]
    assert browser.evaluate(f"{medium}.classList.contains('plain')") is False
    assert browser.complaints() == []
