"""The contract of the recipe: all its limits, and every precision that was tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.measure.contract import verdict
from plugins.reporter._html_run.markup import Html, el, join, prose
from plugins.reporter._reading import asked, found, megabytes, nearness

if TYPE_CHECKING:
    from core.plugin.records import CandidateRecord, Judged, RunRecord

__all__ = ["contract"]

BADGES = {
    "held": "ran",
    "missed": "missed",
    "refused": "missed",
    "not tried": "cached",
    "not judged": "cached",
}


def contract(record: RunRecord) -> Html | None:
    """Return the contract as a table, and why this precision was chosen among those tried."""
    if not record.contract and not record.candidates:
        return None
    return join(
        el("p", prose(f"{record.chosen}."), class_="verdict") if record.chosen else None,
        _table(("Limit", "Asked", "Measured", "Contract"), [_limit(one) for one in record.contract])
        if record.contract
        else None,
        _table(
            ("Precision", "Contract", "SNR", "Size", "What decided"),
            [
                _result(result, chosen=result.precision == record.precision)
                for result in record.candidates
            ],
        )
        if record.candidates
        else None,
    )


def _limit(one: Judged) -> Html:
    where = f"{one.where}, " if one.where else ""
    where += f"on {one.device}" if one.device else ""
    where += f", against FP32 PyTorch with {one.against}" if one.against else ""
    absent = f"not measured of {', '.join(one.unanswered)}" if one.unanswered else ""
    return el(
        "tr",
        el("th", el("code", one.name), scope="row"),
        el("td", asked(one), data_label="Asked"),
        el(
            "td",
            found(one),
            *(el("small", text.removesuffix(", ")) for text in (where, absent) if text),
            data_label="Measured",
        ),
        el(
            "td",
            _badge(verdict(one)),
            el("small", one.guilty) if one.guilty else None,
            data_label="Contract",
        ),
    )


def _result(result: CandidateRecord, *, chosen: bool) -> Html:
    decided = result.why or result.ranked_by
    return el(
        "tr",
        el("th", result.precision, el("small", "chosen") if chosen else None, scope="row"),
        el("td", _badge(result.status), data_label="Contract"),
        el(
            "td",
            "-" if result.snr_db is None else nearness(result.snr_db, result.contract),
            data_label="SNR",
        ),
        el("td", megabytes(result.bytes) if result.bytes is not None else "-", data_label="Size"),
        el("td", prose(decided) if decided else "-", data_label="What decided"),
        class_="overall" if chosen else "",
    )


def _badge(status: str) -> Html:
    return el("span", status, class_=f"badge {BADGES[status]}")


def _table(titles: tuple[str, ...], rows: list[Html]) -> Html:
    head = el("tr", *(el("th", title, scope="col") for title in titles))
    return el("table", el("thead", head), el("tbody", *rows), class_="tight")
