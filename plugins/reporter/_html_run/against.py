"""The player that switches between FP32 PyTorch, the shipped graph, and their difference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.reporter._html_run.markup import Html, el, join
from plugins.reporter._reading import SAME_DB, decibels, duration, figure, signed

if TYPE_CHECKING:
    from plugins.reporter._html_run.difference import Comparison, Versions

__all__ = ["against", "clock", "position"]

#: The versions of every sound, and the key that chooses each.
TITLES = {"fp32": ("FP32 PyTorch", "a"), "shipped": ("Shipped graph", "b"),
          "difference": ("Difference", "d")}  # fmt: skip
#: More seams than this in one picture would be a grey wall.
MOST_SEAMS = 100
#: A gain below this is not worth a word (dB).
HEARD_DB = 0.05


def against(shown: Comparison, number: int, device: str) -> Html:
    """Return the player of one item; `number` tells it from the others of the page.

    `device` says what played the shipped graph.
    """
    return el(
        "div",
        el("h4", "Against FP32 PyTorch"),
        el("p", _about(shown), class_="note"),
        _overview(shown),
        el(
            "div",
            el("button", "Play", class_="play", type="button"),
            el(
                "fieldset",
                el("legend", "Hear"),
                *(
                    el(
                        "label",
                        el(
                            "input",
                            type="radio",
                            name=f"version-{number}",
                            value=version,
                            checked=version == "fp32",
                            data_key=key,
                            aria_keyshortcuts=key.upper(),
                        ),
                        el("span", title, " ", el("kbd", key.upper())),
                    )
                    for version, (title, key) in TITLES.items()
                ),
                class_="versions",
            ),
            position(f"the excerpt of {shown.item}", shown.seconds),
            class_="transport",
        ),
        _legend(shown),
        el("ol", *(_track(shown, one, n) for n, one in enumerate(shown.labels)), class_="tracks"),
        el("p", _how(shown, device), class_="note"),
        class_="medium compare",
        data_seconds=f"{shown.seconds:.6f}",
        data_loop=True,
    )


def position(of: str, seconds: float) -> Html:
    """Return the slider of a player, and the time beside it; `of` says in words what it plays."""
    return join(
        el(
            "input",
            type="range",
            min="0",
            max="1000",
            value="0",
            class_="seek",
            aria_label=f"Position in {of}",
        ),
        el("output", f"0:00 / {clock(seconds)}", class_="time"),
    )


def clock(seconds: float) -> str:
    """Return seconds as `1:07`."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _about(shown: Comparison) -> str:
    """Return which part this is, and why this one."""
    if shown.largest_s is None:
        return "The shipped graph gives what FP32 PyTorch gives, sample for sample."
    where = f"{_exact(shown.largest_s)}{f' in {shown.largest}' if len(shown.labels) > 1 else ''}"
    if shown.seconds < shown.whole:
        return f"{duration(shown.seconds)} around the largest difference, which lies at {where}."
    return f"The whole {duration(shown.seconds)}; the largest difference lies at {where}."


def _how(shown: Comparison, device: str) -> str:
    """Return how the sounds were prepared, so that nobody takes the preparation for the model."""
    lowered = (
        f" Both are played {figure(-shown.lowered_db, 1)} dB quieter than they are, so that "
        "nothing is clipped."
        if shown.lowered_db < -HEARD_DB
        else ""
    )
    return (
        f"The shipped graph was played on {device}. Both results are embedded without loss, in the "
        f"same windows, and made equally loud.{lowered} The keys A, B and D choose while the focus "
        "is in this player, Space plays and pauses."
    )


def _overview(shown: Comparison) -> Html:
    """Return the whole item: level, difference, the excerpt, and the largest difference."""
    left, width = (1000 * part / (shown.whole or 1) for part in (shown.start, shown.seconds))
    seams = shown.seams if len(shown.seams) <= MOST_SEAMS else ()
    said = f"{shown.item}: FP32 PyTorch in grey, the difference in red"
    if shown.largest_s is not None:
        said += f", largest at {_exact(shown.largest_s)} in {shown.largest}"
    return join(
        el(
            "svg",
            _seams(seams, 0.0, shown.whole),
            el("path", d=shown.outline, class_="level"),
            el("path", d=shown.error, class_="error"),
            el("rect", x=f"{left:.1f}", y="0", width=f"{width:.1f}", height="2", class_="excerpt"),
            _mark(shown, 0.0, shown.whole),
            viewBox="0 0 1000 2",
            preserveAspectRatio="none",
            role="img",
            aria_label=said,
            class_="wave overview",
        ),
        el(
            "p",
            f"All {clock(shown.whole)}: FP32 above, the difference below, each scaled to its own "
            "peak. The frame is the excerpt, the triangle marks the largest difference.",
            class_="note under",
        ),
    )


def _legend(shown: Comparison) -> Html:
    """Return what the waveforms of the excerpt show."""
    entries = [("level", "FP32 PyTorch"), ("error", "Difference, amplified as you hear it")]
    if shown.windows > 1:
        entries.append(("seam", f"Seams of the {shown.windows} windows"))
    return el(
        "ul",
        *(el("li", el("span", class_=f"swatch {name}"), text) for name, text in entries),
        class_="legend",
    )


def _track(shown: Comparison, one: Versions, number: int) -> Html:
    return el(
        "li",
        el(
            "div",
            el("span", class_=f"dot s{number % 8}"),
            el("span", one.label, class_="name"),
            *(
                [
                    el("button", "Solo", type="button", class_="solo", aria_pressed="false",
                       aria_label=f"Solo: hear only {one.label}"),
                    el("button", "Hear", type="button", class_="on", aria_pressed="true",
                       aria_label=f"Hear {one.label} too"),
                ]
            ),
            el("span", _figures(one), class_="note figures"),
            class_="track-head",
        ),
        el(
            "div",
            el(
                "svg",
                _seams(shown.seams, shown.start, shown.seconds),
                el("path", d=one.outline, class_=f"level s{number % 8}"),
                el("path", d=one.error, class_="error"),
                _mark(shown, shown.start, shown.seconds) if one.label == shown.largest else None,
                viewBox="0 0 1000 2",
                preserveAspectRatio="none",
                role="img",
                aria_label=f"Waveform of {one.label}; {_figures(one)}",
                class_="wave",
            ),
            el("span", class_="playhead"),
            class_="spectrogram",
        ),
        *(
            join(
                el("span", TITLES[version][0], class_="version"),
                el(
                    "audio",
                    el("source", src=address, type=mime),
                    controls=True,
                    preload="none",
                    aria_label=f"{one.label}, {TITLES[version][0]}",
                    data_version=version,
                ),
            )
            for version, (mime, address) in one.sounds.items()
        ),
        class_="track",
    )  # fmt: skip


def _figures(one: Versions) -> str:
    """Return how near the excerpt is, the gain of the difference, and of the shipped sound."""
    if one.snr_db >= SAME_DB:
        return "no difference here"
    match = (
        f", shipped {signed(f'{one.match_db:+.2f}')} dB" if abs(one.match_db) >= HEARD_DB else ""
    )
    return f"SNR {decibels(one.snr_db)} here; difference +{one.gain_db:.0f} dB{match}"


def _seams(seams: tuple[tuple[float, float], ...], start: float, seconds: float) -> Html | None:
    """Return the overlaps of windows within a picture; a line where windows only touch."""
    shown = [(a, b) for a, b in seams if b >= start and a <= start + seconds]
    if not shown or not seconds:
        return None
    scale = 1000 / seconds
    places = (
        ((max(a, start) - start) * scale, (min(b, start + seconds) - start) * scale)
        for a, b in shown
    )
    path = "".join(f"M{a:.1f} 0V2H{max(b, a + 1):.1f}V0Z" for a, b in places)
    return el("path", d=path, class_="seam")


def _mark(shown: Comparison, start: float, seconds: float) -> Html | None:
    """Return a triangle at the largest difference, where it lies within the picture."""
    at = shown.largest_s
    if at is None or not start <= at <= start + seconds:
        return None
    x = 1000 * (at - start) / (seconds or 1)
    return el("path", d=f"M{x - 7:.1f} 2H{x + 7:.1f}L{x:.1f} 1.7Z", class_="largest")


def _exact(seconds: float) -> str:
    """Return seconds as `1:07.3`."""
    tenths = round(10 * seconds)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"
