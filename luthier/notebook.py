"""What a run and a plan show in a notebook: HTML that nobody can inject into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.reporter._html_run.markup import Html, el, join
from plugins.reporter._html_run.media import Medium, media_of
from plugins.reporter._reading import decibels, value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from core.plugin.records import BudgetLine, RunRecord

__all__ = ["of_plan", "of_run", "of_sweep"]

#: Seconds of sound that a player holds, and items that have players.
PREVIEW_S, PLAYERS = 15.0, 3
SHOWN_METRICS = 12


def of_run(record: RunRecord, folder: Path, page: Path | None) -> Html:
    """Return the summary of a run, a player for each sound, and the error budget."""
    media = media_of(
        record.saved, folder, seconds=PREVIEW_S, limit=PLAYERS, codec="ogg", stereo=False
    )
    about = f"{record.precision}, played on {record.played_on}, {record.seconds:.1f} s"
    report = el("a", "report", href=page.as_uri()) if page else None
    overall = [one for one in record.metrics if not one.label][:SHOWN_METRICS]
    return join(
        el("p", el("b", record.title or record.recipe), el("br"), about),
        *(el("p", el("b", f"{note.severity}: "), note.text) for note in record.notices),
        *(_medium(one) for one in media),
        _table(
            ("measured", "", "on"),
            [(f"{one.name} {one.item}".strip(), value(one), one.device) for one in overall],
        ),
        _budget(record.budget),
        _table(
            ("limit", "bound", "measured", ""),
            [
                (
                    one.name,
                    f"{one.bound:g} {one.unit}",
                    "not measured" if one.value is None else f"{one.value:.4g} {one.unit}",
                    "held" if one.held else "missed",
                )
                for one in record.contract
            ],
        ),
        el("p", str(folder), " ", report),
    )


def _medium(medium: Medium) -> Html:
    whole = f", {medium.seconds:.0f} of {medium.whole:.0f} s" if medium.tracks else ""
    rows = [
        el(
            "tr",
            el("td", track.saved.label),
            el("td", el("audio", controls=True, preload="none", src=track.sound)),
        )
        for track in medium.tracks
    ]
    images = [
        el("figure", el("img", src=uri, alt=saved.label), el("figcaption", saved.label))
        for saved, uri in medium.images
    ]
    return join(
        el("p", f"{medium.item}{whole}") if rows or images else None,
        el("table", *rows) if rows else None,
        *images,
    )


def _budget(lines: tuple[BudgetLine, ...]) -> Html | None:
    return _table(
        ("error budget, SNR", "by itself", "together"),
        [
            (
                line.stage,
                "-" if line.step_db is None else decibels(line.step_db),
                "-" if line.total_db is None else decibels(line.total_db),
            )
            for line in lines
        ],
    )


def of_plan(head: str, rows: Sequence[tuple[str, ...]], told: Sequence[str]) -> Html:
    """Return the steps of a plan as a table, below its title and above what a user must know."""
    columns = ("step", "by", "takes", "gives", "state", "why")
    return join(el("p", head), _table(columns, rows), *(el("p", text) for text in told))


def of_sweep(points: Sequence[Mapping[str, Any]], why: str) -> Html:
    """Return the points of a sweep as a table."""
    head = list(dict.fromkeys(key for row in points for key in row))
    return join(
        _table(
            tuple(head),
            [
                tuple(
                    f"{found:.4g}" if isinstance(found := row.get(key, ""), float) else str(found)
                    for key in head
                )
                for row in points
            ],
        ),
        el("p", why),
    )


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Html | None:
    if not rows:
        return None
    return el(
        "table",
        el("thead", el("tr", *(el("th", one) for one in head))),
        el("tbody", *(el("tr", *(el("td", cell) for cell in row)) for row in rows)),
    )
