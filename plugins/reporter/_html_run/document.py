"""The whole page: one file that opens offline, and that loads nothing from another address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from plugins.reporter._html_run import details, summary
from plugins.reporter._html_run.budget import budget
from plugins.reporter._html_run.contract import contract
from plugins.reporter._html_run.frame import chapters, frame, part
from plugins.reporter._html_run.inside import inside
from plugins.reporter._html_run.labels import labels
from plugins.reporter._html_run.listening import listening
from plugins.reporter._html_run.markup import Html, el
from plugins.reporter._html_run.media import Medium
from plugins.reporter._html_run.partitions import partitions
from plugins.reporter._html_run.placements import placements
from plugins.reporter._html_run.profile import profile
from plugins.reporter._html_run.sizes import sizes

if TYPE_CHECKING:
    from core.plugin.records import RunRecord
    from plugins.reporter._html_run.difference import Comparison

__all__ = ["document"]


def document(
    record: RunRecord,
    media: Sequence[Medium],
    compared: Sequence[Comparison] | None,
    again: Html,
    changed: Html | None = None,
) -> str:
    """Return the page as HTML; `record` was redacted before, and so were the names of the rest.

    `compared` is None where the results of FP32 or of the shipped graph are gone.
    `again` are the files of the run and its command, `changed` the comparison with an earlier run.
    """
    sounds = bool(compared) or any(d.tracks for d in media)
    parts = [
        (
            "listen",
            "Listen" if sounds else "Results",
            listening(media, compared, record.played_on) if media or compared else None,
        ),
        ("promise", "What was promised", contract(record)),
        ("earlier", "Compared with an earlier run", changed),
        ("where", "What ran where", summary.where(record)),
        ("placement", "What computed each node", placements(record)),
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
    shown = [
        (name, title, LEADS.get(name, ""), content) for name, title, content in parts if content
    ]
    return frame(
        f"{record.title or record.recipe} · Luthier report",
        el("main", summary.header(record, again), chapters(shown)),
        styles=[part("_html_run", "page.css")],
        scripts=[
            part("_html_run", "fold.js"),
            *([part("_html_run", "copy.js")] if record.command else []),
            *([part("_html_run", "player.js")] if sounds else []),
        ],
        # `file:` lets a player fall back to the sound file that lies beside the page.
        media="data: 'self' file:",
    )


LEADS = {
    "labels": "The arithmetic decides, not the name of the model: every operator counts at the "
    "precision around it in the file.",
    "budget": "Every row is compared with the row before it, on the same windows, as a "
    "signal-to-noise ratio: the shorter the bar, the more that stage changed. 20 dB more mean a "
    "tenth of the error. The dots are the labels. The row with the dot furthest left changed most: "
    "it is red.",
    "placement": "A runtime may put a node on another device than the recipe asks for, or compute "
    "it at another precision, and the result tells nobody. This is what its own trace says.",
    "size": "The size on disk after every stage, and the time of the fastest of the few windows "
    "that ran there.",
}
