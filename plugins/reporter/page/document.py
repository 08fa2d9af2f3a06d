"""The whole page: one file that opens offline, with nothing in it that another address serves."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from plugins.reporter.page import details, summary
from plugins.reporter.page.budget import budget
from plugins.reporter.page.decks import Deck
from plugins.reporter.page.inside import inside
from plugins.reporter.page.labels import labels
from plugins.reporter.page.listening import listening
from plugins.reporter.page.markup import Html, el
from plugins.reporter.page.partitions import partitions
from plugins.reporter.page.profile import profile
from plugins.reporter.page.promise import promise
from plugins.reporter.page.sizes import sizes

if TYPE_CHECKING:
    from core.record import RunRecord

__all__ = ["document"]


def document(record: RunRecord, decks: Sequence[Deck]) -> str:
    """Return the page as HTML; `record` was made discreet before."""
    style, script = _part("page.css"), _part("player.js")
    parts = [
        (
            "listen",
            "Listen" if any(d.tracks for d in decks) else "Results",
            listening(decks) if decks else None,
        ),
        ("promise", "What was promised", promise(record)),
        ("where", "What ran where", summary.where(record)),
        ("budget", "Error budget", budget(record)),
        ("labels", "What computes at which precision", labels(record)),
        ("inside", "Where 8 bits cost most", inside(record)),
        ("size", "Size and speed", sizes(record)),
        ("npu", "On the accelerator", partitions(record)),
        ("profile", "Layer by layer", profile(record)),
        ("quality", "Quality", details.quality(record)),
        ("stages", "Stages", details.stages(record)),
        ("recipe", "Recipe", details.recipe(record)),
        ("origin", "Versions and machine", details.origin(record)),
    ]
    shown = [(name, title, content) for name, title, content in parts if content]
    contents = el(
        "nav", *(el("a", title, href=f"#{name}") for name, title, _ in shown), aria_label="Contents"
    )
    sections = [
        el(
            "section",
            el("h2", title, id=f"{name}-title"),
            _lead(name),
            content,
            id=name,
            aria_labelledby=f"{name}-title",
        )
        for name, title, content in shown
    ]
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="referrer", content="no-referrer"),
        el("title", f"{record.title or record.recipe} · Luthier report"),
        el("style", Html(style)),
    )
    body = el(
        "body",
        el("main", summary.header(record), contents, *sections),
        el(
            "footer",
            el(
                "p",
                "Written by Luthier. Every number says where it was measured; "
                "nothing in this file is loaded from a network.",
            ),
        ),
        el("script", Html(script)) if any(d.tracks for d in decks) else None,
    )
    return "<!doctype html>\n" + el("html", head, body, lang="en") + "\n"


def _policy(script: str) -> str:
    """Return the content security policy: this very script, inline styles, and `data:`.

    `file:` lets a player fall back to the sound file that lies beside the page.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; media-src data: 'self' file:; base-uri 'none'; form-action 'none'"
    )


LEADS = {
    "labels": "A model is what its arithmetic is, whatever it is called: every operator counts at "
    "the precision that stands around it in the file.",
    "budget": "The signal-to-noise ratio against the model in FP32 PyTorch after every stage. "
    "20 dB more mean a tenth of the error. The red part is what a stage lost.",
    "size": "What is on disk after every stage, and how long one window took where it was run.",
}


def _lead(name: str) -> Html | None:
    return el("p", LEADS[name], class_="lead") if name in LEADS else None


def _part(name: str) -> str:
    return files("plugins.reporter.page").joinpath(name).read_text(encoding="utf-8")
