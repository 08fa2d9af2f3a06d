"""HTML that nobody can inject into: all text that is not `Html` already is escaped.

Control characters, marks that turn the direction of text, and invalid bytes are spelt out.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from urllib.parse import quote

from core.text.shown import plain

__all__ = ["Html", "bar", "command", "data_uri", "el", "join", "legend", "link_to", "prose"]

VOID = frozenset({"br", "img", "input", "meta", "source", "line", "rect", "circle"})


class Html(str):
    """Text that is HTML; only `el`, `join` and the files of this package make it."""

    __slots__ = ()


def el(
    tag: str, /, *children: str | None, class_: str = "", **attributes: str | float | bool | None
) -> Html:
    """Return an element; `data_role="x"` becomes `data-role`, True a bare attribute, None none."""
    pairs = {"class": class_ or None, **attributes}
    written = "".join(
        f" {_attribute(key)}" if given is True else f' {_attribute(key)}="{_escaped(given)}"'
        for key, given in pairs.items()
        if given is not None and given is not False
    )
    if tag in VOID:
        return Html(
            f"<{tag}{written}>" if tag not in ("line", "rect", "circle") else f"<{tag}{written}/>"
        )
    return Html(f"<{tag}{written}>{join(*children)}</{tag}>")


def join(*children: str | None) -> Html:
    """Return children one after the other; plain text among them is escaped."""
    return Html(
        "".join(
            child if isinstance(child, Html) else _escaped(child) for child in children if child
        )
    )


def prose(text: str) -> Html:
    """Return a sentence in which the text in backticks is code."""
    parts = re.split(r"`([^`]+)`", text)
    return join(*(el("code", part) if n % 2 else part for n, part in enumerate(parts)))


def legend(entries: Sequence[tuple[str, str]]) -> Html | None:
    """Return coloured dots with their labels; the colours are classes of the style sheet."""
    items = (el("li", el("span", class_=f"dot {name}"), label) for name, label in entries)
    return el("ul", *items, class_="legend") if entries else None


def bar(pieces: Sequence[tuple[str, str, float]], said: str) -> Html:
    """Return one stacked bar: a class, a title and an amount per piece; `said` is read aloud."""
    total = sum(amount for _, _, amount in pieces) or 1
    start, rects = 0.0, []
    for name, title, amount in pieces:
        width = 100 * amount / total
        rects.append(
            el("rect", el("title", title), x=f"{start:.3f}%", y="0", width=f"{width:.3f}%",
               height="34", class_=name)
        )  # fmt: skip
        start += width
    return el("svg", *rects, width="100%", height="34", role="img", class_="partition",
              aria_label=said)  # fmt: skip


def command(line: str) -> Html:
    """Return a command line with a button that copies it; a script enables the button."""
    return el(
        "div",
        el("code", line),
        el("button", "Copy", type="button", data_copy=line),
        class_="command",
    )


def data_uri(mime: str, content: bytes) -> str:
    """Return content as a `data:` address."""
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def link_to(path: str) -> str:
    """Return the address of a file below the run folder, relative to the report.

    The leading `./` keeps a name such as `javascript:x` from being read as a scheme.
    """
    # A name that is not UTF-8 goes into the address byte by byte.
    return "./" + quote(path.replace("\\", "/"), errors="surrogateescape")


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-") if not key.startswith("view") else key


def _escaped(given: str | float) -> str:
    return html.escape(plain(f"{given:.6g}" if isinstance(given, float) else str(given)))
