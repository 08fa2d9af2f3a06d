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


def test_a_phone_folds_the_chapters_and_a_link_opens_one(browser: Browser, page: Path) -> None:
    """On a phone the chapters below the sounds are closed; on a desktop none is folded."""
    browser.open(page, PHONE)
    chapters = "document.querySelectorAll('section > details.chapter')"
    assert browser.evaluate(f"[...{chapters}].length > 5 && ![...{chapters}].some(c => c.open)")
    link = "document.querySelector('nav a[href=\"#budget\"]').click()"
    opened = f"[...{chapters}].filter(c => c.open).map(c => c.parentElement.id)"
    later = f"new Promise(r => setTimeout(() => r({opened}), 100))"
    browser.evaluate(link)
    assert browser.evaluate(later) == ["budget"]
    browser.open(page, DESKTOP)
    assert browser.evaluate(f"{chapters}.length") == 0


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


def test_fp32_and_the_shipped_graph_are_switched_by_keys(browser: Browser, page: Path) -> None:
    """In the player against FP32, keys choose the version, and Space plays and pauses."""
    browser.open(page, DESKTOP)
    player = "document.querySelector('.compare')"
    browser.evaluate(f"{player}.querySelector('input:checked').focus()")
    chosen = f"{player}.querySelector('input:checked').value"
    label = f"{player}.querySelector('.play').textContent"
    later = f"new Promise(r => setTimeout(() => r({label}), 50))"
    browser.press(" ")
    assert any(browser.evaluate(later) == "Pause" for _ in range(100))
    for key, version in (("b", "shipped"), ("d", "difference"), ("a", "fp32")):
        browser.press(key)
        assert browser.evaluate(chosen) == version
        assert browser.evaluate(label) == "Pause"
    browser.press(" ")
    assert browser.evaluate(label) == "Play"
    assert browser.complaints() == []


def test_only_the_chosen_version_is_heard(browser: Browser, page: Path) -> None:
    """Of the three versions of a track, the one that was chosen has a gain, and the others none."""
    browser.open(page, DESKTOP)
    browser.evaluate(
        "window.made = []; const own = AudioContext.prototype.createGain;"
        "AudioContext.prototype.createGain = function () {"
        " const gain = own.call(this); made.push(gain); return gain; }"
    )
    player = "document.querySelector('.compare')"
    browser.evaluate(f"{player}.querySelector('.play').click()")
    gains = "new Promise(r => setTimeout(() => r(made.map(g => Math.round(g.gain.value))), 100))"
    for version, heard in ((0, [1, 0, 0]), (1, [0, 1, 0]), (2, [0, 0, 1])):
        browser.evaluate(f"{player}.querySelectorAll('.versions input')[{version}].click()")
        assert any(browser.evaluate(gains) == heard * 4 for _ in range(50))


def test_the_copy_button_says_that_it_copied(browser: Browser, page: Path) -> None:
    """On a page from a file, the button takes the command and says so."""
    browser.open(page, DESKTOP)
    button = "document.querySelector('[data-copy]')"
    browser.evaluate(
        "window.taken = ''; document.addEventListener('copy', () => taken = `${getSelection()}`);"
        "navigator.clipboard.writeText = (text) => { window.taken = text; }"
    )
    browser.evaluate(f"{button}.click()")
    later = f"new Promise(r => setTimeout(() => r({button}.textContent), 50))"
    assert browser.evaluate(later) == "Copied"
    assert browser.evaluate("taken") == browser.evaluate(f"{button}.dataset.copy")
    assert browser.complaints() == []


def test_without_the_script_every_version_has_a_player_with_its_name(
    browser: Browser, page: Path
) -> None:
    """Without the script, the three versions of a track keep the browser's players, each named."""
    browser.open(page, DESKTOP)
    browser.evaluate("document.documentElement.classList.remove('js')")
    names = browser.evaluate(
        "[...document.querySelector('.compare .track').children].filter(e => e.offsetHeight)"
        ".map(e => e.className === 'version' ? e.textContent : e.tagName)"
    )
    versions = ["FP32 PyTorch", "Shipped graph", "Difference"]
    assert [name for name in names if name in versions] == versions
    assert names.count("AUDIO") == 3
