"""The page of a sweep in a real browser: sorting, filters, brushes and the keyboard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.plugin.records import Axis
from plugins.reporter.html import HtmlReport, HtmlReportOptions
from tests.plugins.reporter import sweeps
from tests.plugins.reporter.chromium import DESKTOP, PHONE, Browser

MANY = Axis("chunker.length", tuple(str(22050 + 4096 * step) for step in range(50)))
SHAPES = {
    "grid": sweeps.sweep(),
    "point": sweeps.sweep((sweeps.PRECISION,), sweeps.grid(sweeps.PRECISION)[:1], winner=1),
    "none": sweeps.sweep(
        points=tuple(p for p in sweeps.grid(sweeps.LENGTH, sweeps.PRECISION) if not p.figures),
        winner=None,
    ),
    "axis": sweeps.sweep((sweeps.LENGTH,), winner=2),
    "axes": sweeps.sweep((sweeps.LENGTH, sweeps.PRECISION, sweeps.SEED)),
    "many": sweeps.sweep((MANY, sweeps.PRECISION)),
    "hostile": sweeps.hostile(),
    "times": sweeps.timed(sweeps.sweep(), loaded=(2, 5)),
    "empty": sweeps.sweep((), (), winner=None),
}
SHOWN = (
    "[...document.querySelectorAll('tbody tr')].filter(r => !r.hidden).map(r => r.dataset.number)"
)
ORDER = "[...document.querySelectorAll('tbody tr')].map(r => r.dataset.number)"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write the page of every shape, each in a folder of its own."""
    found = {}
    for name, record in SHAPES.items():
        folder = tmp_path_factory.mktemp(name)
        for point in record.points[:1]:
            (folder / point.folder).mkdir(exist_ok=True)
            (folder / point.folder / "report.html").write_text("<title>a point</title>")
        HtmlReport(HtmlReportOptions()).luthier_sweep_finished(record=record, folder=str(folder))
        found[name] = folder / "sweep.html"
    return found


def numbers(browser: Browser, expression: str = SHOWN) -> list[int]:
    """Return the numbers of the visible points, or of all points in their order."""
    return [int(number) for number in browser.evaluate(expression)]


def click(browser: Browser, selector: str) -> None:
    """Click an element by a script, wherever it is."""
    browser.evaluate(f"document.querySelector({json.dumps(selector)}).click()")


def column(browser: Browser, key: str) -> Any:
    """Return the `aria-sort` of a column's header."""
    head = f"document.querySelector('th[data-key=\"{key}\"]')"
    return browser.evaluate(f"{head}.getAttribute('aria-sort')")


@pytest.mark.parametrize("width", [320, PHONE, DESKTOP])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_fits_without_a_complaint(
    browser: Browser, pages: dict[str, Path], shape: str, width: int
) -> None:
    """Every sweep's page fits the window, has no error, and requests only itself."""
    browser.open(pages[shape], width)
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    assert browser.complaints() == []
    assert browser.asked() == {"file"}
    assert numbers(browser) == [point.number for point in SHAPES[shape].points]


def test_a_click_on_a_header_sorts_by_number(browser: Browser, pages: dict[str, Path]) -> None:
    """A click on a header sorts by number, and a second click reverses the order.

    Points without the figure stay last.
    """
    browser.open(pages["grid"], DESKTOP)
    record = SHAPES["grid"]
    ran = sorted((p for p in record.points if p.figures), key=lambda p: p.figures["latency"])
    broken = [p.number for p in record.points if not p.figures]
    click(browser, 'th[data-key="figure:latency"] button')
    assert numbers(browser, ORDER) == [*(p.number for p in ran), *broken]
    assert column(browser, "figure:latency") == "ascending"
    click(browser, 'th[data-key="figure:latency"] button')
    assert numbers(browser, ORDER) == [*(p.number for p in reversed(ran)), *broken]
    assert column(browser, "figure:latency") == "descending"
    assert column(browser, "number") is None


def test_axis_values_that_are_numbers_sort_as_numbers(
    browser: Browser, pages: dict[str, Path]
) -> None:
    """Numeric axis values sort as numbers: 176400 comes after 22050."""
    browser.open(pages["axis"], DESKTOP)
    click(browser, 'th[data-key="axis:chunker.length"] button')
    click(browser, 'th[data-key="axis:chunker.length"] button')
    assert numbers(browser, ORDER) == [4, 3, 2, 1]


def test_the_keyboard_sorts(browser: Browser, pages: dict[str, Path]) -> None:
    """A header is a button that takes the focus, and Enter sorts by it."""
    browser.open(pages["grid"], DESKTOP)
    browser.evaluate("document.querySelector('th[data-key=\"status\"] button').focus()")
    browser.press("Enter")
    assert column(browser, "status") == "ascending"
    browser.press("Enter")
    assert column(browser, "status") == "descending"


def test_words_filter_rows(browser: Browser, pages: dict[str, Path]) -> None:
    """A search filters rows by their words, reasons included, and shows a count.

    One button shows all points again.
    """
    browser.open(pages["grid"], DESKTOP)
    browser.evaluate(
        "(() => { const s = document.querySelector('[type=search]'); s.value = 'calibration SAW';"
        "s.dispatchEvent(new Event('input')); })()"
    )
    assert numbers(browser) == [11]
    said = browser.evaluate("document.querySelector('.count').innerText")
    assert "1 of 16 points are shown." in said
    click(browser, ".everything")
    assert len(numbers(browser)) == 16


def test_values_and_statuses_filter_rows_and_pictures(
    browser: Browser, pages: dict[str, Path]
) -> None:
    """A value that is switched off leaves the table and fades in the plots."""
    browser.open(pages["grid"], DESKTOP)
    click(browser, '.controls [data-value="missed"]')
    click(browser, '.controls [data-value="22050"]')
    left = [
        p.number
        for p in SHAPES["grid"].points
        if p.status != "missed" and p.values["chunker.length"] != "22050"
    ]
    assert numbers(browser) == left
    bright = browser.evaluate(
        "[...document.querySelector('.plots svg').querySelectorAll('[data-number]:not(.out)')]"
        ".map(m => m.dataset.number)"
    )
    assert set(map(int, bright)) == {n for n in left if SHAPES["grid"].points[n - 1].figures}


def test_rows_and_columns_hide(browser: Browser, pages: dict[str, Path]) -> None:
    """A button hides a row, and a box hides a column with its header."""
    browser.open(pages["grid"], DESKTOP)
    click(browser, 'tr[data-number="3"] .hide button')
    assert 3 not in numbers(browser)
    click(browser, '[data-column="figure:latency"]')
    cells = "[...document.querySelectorAll('[data-key=\"figure:latency\"]')]"
    seen = browser.evaluate(f"{cells}.filter(c => !c.hidden).length")
    assert seen == 0


def test_a_brush_on_an_axis_filters_the_table(browser: Browser, pages: dict[str, Path]) -> None:
    """A brush over the upper half of the lengths keeps the two longest; a click removes it."""
    browser.open(pages["grid"], DESKTOP)
    x, y = browser.middle('.brush[data-dimension="axis:chunker.length"]')
    browser.mouse("mousePressed", x, y - 20)
    browser.mouse("mouseMoved", x, y - 100, held=True)
    browser.mouse("mouseMoved", x, y - 170, held=True)
    browser.mouse("mouseReleased", x, y - 170)
    assert numbers(browser) == [9, 10, 11, 12, 13, 14, 15, 16]
    browser.mouse("mousePressed", x, y)
    browser.mouse("mouseReleased", x, y)
    assert len(numbers(browser)) == 16


def test_the_keyboard_brushes(browser: Browser, pages: dict[str, Path]) -> None:
    """Arrow keys raise the lower end of a brush, and Escape removes the brush."""
    browser.open(pages["grid"], DESKTOP)
    brush = "document.querySelector('.brush[data-dimension=\"figure:sdr\"]')"
    browser.evaluate(f"{brush}.focus()")
    for _ in range(10):
        browser.press("ArrowUp")
    best = max(p.figures["sdr"] for p in SHAPES["grid"].points if p.figures)
    least = min(p.figures["sdr"] for p in SHAPES["grid"].points if p.figures)
    expected = [
        p.number
        for p in SHAPES["grid"].points
        if p.figures and p.figures["sdr"] >= (best + least) / 2
    ]
    assert numbers(browser) == expected
    assert browser.evaluate(f"{brush}.getAttribute('aria-valuetext')") == "50 to 100 % of the axis"
    browser.press("Escape")
    assert len(numbers(browser)) == 16


def test_hovering_shows_all_figures(browser: Browser, pages: dict[str, Path]) -> None:
    """Hovering shows a card with the point, its figures and the device, until the mouse leaves."""
    browser.open(pages["grid"], DESKTOP)
    x, y = browser.middle('.plots [data-number="6"] path')
    browser.mouse("mouseMoved", x, y)
    said = browser.evaluate("document.querySelector('#card').innerText")
    for text in (
        "Point 6",
        "6.98 dB",
        "32 ms",
        "572 MB",
        "1.1 MB",
        sweeps.CPU,
        "A click opens its report",
    ):
        assert text in said
    browser.mouse("mouseMoved", 5, 5)
    assert browser.evaluate("document.querySelector('#card').hidden") is True


def test_focus_shows_the_card_and_arrows_walk(browser: Browser, pages: dict[str, Path]) -> None:
    """A plot is one tab stop, and arrow keys go to the next visible point and its card."""
    browser.open(pages["grid"], DESKTOP)
    stops = browser.evaluate("document.querySelectorAll('.plots svg [tabindex=\"0\"]').length")
    assert stops == 3
    browser.evaluate("document.querySelector('.plots [tabindex=\"0\"]').focus()")
    first = browser.evaluate("document.activeElement.dataset.number")
    browser.press("ArrowRight")
    second = browser.evaluate("document.activeElement.dataset.number")
    assert first != second
    assert f"Point {second}" in browser.evaluate("document.querySelector('#card').innerText")
    browser.press("Escape")
    assert browser.evaluate("document.querySelector('#card').hidden") is True


def test_a_click_opens_the_report_of_the_point(browser: Browser, pages: dict[str, Path]) -> None:
    """A click on a point in the plot or the table opens the point's report."""
    for selector in ('.plots [data-number="1"]', 'tr[data-number="1"] th a'):
        browser.open(pages["grid"], DESKTOP)
        x, y = browser.middle(selector)
        browser.events.clear()
        browser.mouse("mouseMoved", x, y)
        browser.mouse("mousePressed", x, y)
        browser.mouse("mouseReleased", x, y)
        browser.wait("Page.loadEventFired")
        assert browser.evaluate("document.title") == "a point"


def test_a_finger_sees_the_card_first(browser: Browser, pages: dict[str, Path]) -> None:
    """A tap on a point shows its card, whose link leads to the report."""
    browser.open(pages["grid"], PHONE)
    browser("Emulation.setTouchEmulationEnabled", enabled=True)
    try:
        x, y = browser.middle('.plots [data-number="1"] path')
        browser("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        browser("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        browser.evaluate("new Promise(r => setTimeout(r, 100))")
        assert browser.evaluate("document.title").endswith("Luthier sweep")
        link = browser.evaluate("document.querySelector('#card:not([hidden]) a').href")
        assert link.endswith("001-22050-fp16/report.html")
    finally:
        browser("Emulation.setTouchEmulationEnabled", enabled=False)


def test_colour_and_shape_can_be_chosen(browser: Browser, pages: dict[str, Path]) -> None:
    """Without a shape encoding all points are round, and the legend changes with it."""
    browser.open(pages["grid"], DESKTOP)
    shapes = (
        "new Set([...document.querySelectorAll('.plots [data-number] path')]"
        ".map(p => p.getAttribute('d'))).size"
    )
    assert browser.evaluate(shapes) == 4
    browser.evaluate(
        "(() => { const s = document.querySelectorAll('.encodings select')[1]; s.value = '';"
        "s.dispatchEvent(new Event('change')); })()"
    )
    assert browser.evaluate(shapes) == 1
    assert browser.evaluate("document.querySelectorAll('.encodings .legend').length") == 1


def test_the_front_joins_what_none_beats(browser: Browser, pages: dict[str, Path]) -> None:
    """The step line of the first plot has a corner at every point of the front in two figures."""
    browser.open(pages["grid"], DESKTOP)
    ran = [p for p in SHAPES["grid"].points if p.figures]
    front = [
        p
        for p in ran
        if not any(
            q.figures["sdr"] >= p.figures["sdr"]
            and q.figures["latency"] <= p.figures["latency"]
            and q is not p
            for q in ran
        )
    ]
    steps = browser.evaluate("document.querySelector('.plots .front').getAttribute('d')")
    assert steps.count("V") == len(front) + 1


def test_the_command_is_copied(browser: Browser, pages: dict[str, Path]) -> None:
    """The button copies the exact command of the winner and says so."""
    browser.open(pages["grid"], DESKTOP)
    button = "document.querySelector('.winner [data-copy]')"
    assert browser.evaluate(f"{button}.dataset.copy") == SHAPES["grid"].points[4].command
    said = browser.evaluate(
        f"new Promise(r => {{ {button}.click(); setTimeout(() => r({button}.textContent), 100); }})"
    )
    assert said == "Copied"


def test_a_phone_sorts_and_reads_cards(browser: Browser, pages: dict[str, Path]) -> None:
    """On a phone, a select box sorts, and every value stands under its name."""
    browser.open(pages["grid"], PHONE)
    browser.evaluate(
        "(() => { const s = document.querySelector('.sorter select'); s.value = 'figure:sdr';"
        "s.dispatchEvent(new Event('change')); })()"
    )
    assert numbers(browser, ORDER)[0] == 4
    cell = "document.querySelector('td[data-key=\"figure:sdr\"]')"
    label = browser.evaluate(f"getComputedStyle({cell}, '::before').content")
    assert label == '"SDR"'


def test_without_scripts_the_table_stands_alone(browser: Browser, pages: dict[str, Path]) -> None:
    """Without scripts the table has every point, figure and reason, and no script's buttons."""
    browser("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(pages["grid"], DESKTOP)
        root = browser("DOM.getDocument", depth=-1)["root"]["nodeId"]

        def count(selector: str) -> int:
            found = browser("DOM.querySelectorAll", nodeId=root, selector=selector)["nodeIds"]
            return len(found)

        assert (count("tbody tr"), count("tbody th a"), count("tbody button")) == (16, 13, 0)
        html = browser("DOM.getOuterHTML", nodeId=root)["outerHTML"]
        assert sweeps.REFUSED in html
    finally:
        browser("Emulation.setScriptExecutionDisabled", value=False)
