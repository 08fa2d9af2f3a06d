"""The top of a sweep's page: the axes, the outcome, and which point is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.reporter._html_run.markup import Html, command, el, join, prose
from plugins.reporter._html_sweep.data import report_of
from plugins.reporter._reading import duration, figure_text, outcome, spread_text, varied, winner_of

if TYPE_CHECKING:
    from core.plugin.records import Point, SweepMetric, SweepRecord

__all__ = ["header", "origin"]

LISTED = 12


def header(record: SweepRecord) -> Html:
    """Return the title, the axes, the winner with its command, and the notices."""
    asked = ", ".join(f"{name} {bound:g}" for name, bound in record.contract.items())
    facts = [
        ("Varied", join(*(_axis(axis.key, axis.values) for axis in record.axes))),
        ("Contract", asked or "none"),
        ("Run", f"{record.started[:16].replace('T', ' ')}, {duration(record.seconds)}"),
    ]
    return el(
        "header",
        el("p", "Luthier sweep · ", el("code", record.recipe), class_="eyebrow"),
        el("h1", record.title or record.recipe),
        el("p", prose(varied(record)), f" {outcome(record)}.", class_="outcome"),
        _winner(record),
        el(
            "div",
            el("strong", "Note" if len(record.notices) == 1 else "Notes"),
            *(el("p", prose(text)) for text in record.notices),
            class_="notice warning",
            role="note",
        )
        if record.notices
        else None,
        el("dl", *(el("div", el("dt", k), el("dd", v)) for k, v in facts if v), class_="facts"),
        el("p", "The whole sweep again:", class_="note"),
        command(record.command),
    )


def origin(record: SweepRecord) -> Html:
    """Return the versions and the machine."""
    pairs = [("Machine", record.machine), *record.versions.items()]
    shown = (el("div", el("dt", key), el("dd", given)) for key, given in pairs if given)
    return el("dl", *shown, class_="facts small")


def _axis(key: str, values: tuple[str, ...]) -> Html:
    """Return a key and its values; of many values, the first ones and the last."""
    said = ", ".join(values)
    if len(values) > LISTED:
        said = f"{', '.join(values[: LISTED - 1])} … {values[-1]} ({len(values)} values)"
    return el("span", el("code", key), f" {said}", class_="axis-values")


def _winner(record: SweepRecord) -> Html:
    """Return the point that is taken, why, its figures and its command."""
    point = winner_of(record)
    if point is None:
        return el(
            "div",
            el("strong", "No point is taken"),
            el("p", prose(record.why or "no point ran to its end")),
            class_="notice danger",
            role="alert",
        )
    address = report_of(point)
    tiles = [
        _tile(figure, point) for figure in record.figures if figure.objective or figure.plotted
    ]
    return el(
        "section",
        el("h2", f"Point {point.number} is taken"),
        el("p", el("code", point.label), class_="chosen"),
        el("p", prose(record.why[0].upper() + record.why[1:]), class_="verdict")
        if record.why
        else None,
        el("div", *tiles, class_="tiles"),
        command(point.command),
        el("p", el("a", "Open its report", href=address)) if address else None,
        class_="winner",
    )


def _tile(figure: SweepMetric, point: Point) -> Html | None:
    number = point.figures.get(figure.name)
    if number is None:
        return None
    text, _, unit = figure_text(figure, number).partition(" ")
    device = point.devices.get(figure.name, "")
    title = figure.title
    ends = spread_text(figure, point)
    ends = f"5 to 95 %: {ends}{', under load' if point.under_load else ''}" if ends else ""
    return el(
        "div",
        el("p", title[:1].upper() + title[1:], class_="tile-title"),
        el("p", text, el("span", f" {unit}") if unit else None, class_="tile-number"),
        el("p", ends, class_="note") if ends else None,
        el("p", f"on {device}" if device else "no device is named for this figure", class_="note"),
        class_="tile",
    )
