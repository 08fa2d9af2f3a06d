"""The players, images and links of a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core import SavedFile
from plugins.reporter._html_run.against import against, clock, position
from plugins.reporter._html_run.markup import Html, el, join, link_to, prose
from plugins.reporter._html_run.media import Medium
from plugins.reporter._reading import duration, megabytes

if TYPE_CHECKING:
    from plugins.reporter._html_run.difference import Comparison
    from plugins.reporter._html_run.media import Track

__all__ = ["listening"]


#: Why there is no comparison, and how to get one.
GONE = (
    "FP32 PyTorch and the shipped graph cannot be heard against each other here: the store no "
    "longer has both results, because it gave their room back. A run with another store makes them "
    "again: `store=...`."
)


def listening(shown: Sequence[Medium], compared: Sequence[Comparison] | None, device: str) -> Html:
    """Return the players, images and links of every item, and its comparison with FP32.

    `compared` is None where its results are gone. `device` says what played the shipped graph.
    """
    players = {one.item: against(one, number, device) for number, one in enumerate(compared or ())}
    saved = {medium.item for medium in shown}
    alone = [Medium(item) for item in players if item not in saved]
    return join(
        *(_item(medium, players.get(medium.item)) for medium in [*shown, *alone]),
        el("p", prose(GONE), class_="note") if compared is None else None,
    )


def _item(medium: Medium, compared: Html | None) -> Html:
    return el(
        "article",
        el("h3", medium.item),
        _player(medium) if medium.tracks else None,
        compared,
        el("div", *(_figure(s, uri) for s, uri in medium.images), class_="images")
        if medium.images
        else None,
        el(
            "ul",
            *(el("li", el("a", f.label, href=link_to(f.path))) for f in medium.links),
            class_="links",
        )
        if medium.links
        else None,
        class_="item",
    )


def _player(medium: Medium) -> Html:
    mixtures = sum(track.mixture for track in medium.tracks)
    cut = medium.seconds < medium.whole
    about = (
        f"A preview of {clock(medium.start)} to {clock(medium.start + medium.seconds)}; "
        f"the files hold all {clock(medium.whole)}."
        if cut
        else f"The whole {duration(medium.seconds)}, compressed; the files are lossless."
    )
    transport = el(
        "div",
        el("button", "Play", class_="play", type="button"),
        position(medium.item, medium.seconds),
        class_="transport",
    )
    return el(
        "div",
        transport,
        el(
            "ol",
            *(_track(track, number) for number, track in enumerate(medium.tracks, -mixtures)),
            class_="tracks",
        ),
        el(
            "p",
            about,
            " Spectrograms: mel scale, 40 Hz to 16 kHz from bottom to top, one loudness "
            "scale for all tracks.",
            class_="note",
        ),
        class_="medium",
        data_seconds=f"{medium.seconds:.3f}",
        data_start=f"{medium.start:.3f}",
    )


def _track(track: Track, number: int) -> Html:
    label, file = track.saved.label, link_to(track.saved.path)
    ending = Path(track.saved.path).suffix.lstrip(".").upper()
    return el(
        "li",
        el(
            "div",
            el("span", class_="dot" if track.mixture else f"dot s{number % 8}"),
            el("span", label, class_="name"),
            el(
                "button",
                "Solo",
                type="button",
                class_="solo",
                aria_pressed="false",
                aria_label=f"Solo: hear only {label}",
            ),
            el(
                "button",
                "Hear",
                type="button",
                class_="on",
                aria_pressed="true",
                aria_label=f"Hear {label} too",
            ),
            el("a", f"{ending} {megabytes(track.bytes)}", href=file, class_="file"),
            class_="track-head",
        ),
        el(
            "div",
            el("img", src=track.picture, alt=f"Spectrogram of {label}", width="960", height="112"),
            el("span", class_="playhead"),
            class_="spectrogram",
        ),
        # A browser without the codec (Safari before 18.4: Vorbis) takes the file beside the page.
        el(
            "audio",
            el("source", src=track.sound, type=track.mime),
            el("source", src=file),
            controls=True,
            preload="none",
            aria_label=label,
        ),
        class_="track",
        data_mixture="" if track.mixture else None,
    )


def _figure(saved: SavedFile, uri: str) -> Html:
    image = el("img", src=uri, alt=saved.label, loading="lazy")
    return el("figure", el("a", image, href=link_to(saved.path)), el("figcaption", saved.label))
