"""The frame of every page: one file that opens offline, and that loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from plugins.reporter._html_run.markup import Html, el, join

__all__ = ["chapters", "frame", "part"]


def frame(
    title: str, main: Html, *, styles: Sequence[str], scripts: Sequence[str], media: str = ""
) -> str:
    """Return a whole page around `main`; `media` is the policy for sounds, empty for none."""
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=_policy(scripts, media)),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="referrer", content="no-referrer"),
        el("title", title),
        *(el("style", Html(style)) for style in styles),
    )
    body = el(
        "body",
        main,
        el(
            "footer",
            el(
                "p",
                "Written by Luthier. Every number says where it was measured; "
                "nothing in this file is loaded from a network.",
            ),
        ),
        *(el("script", Html(script)) for script in scripts),
    )
    return "<!doctype html>\n" + el("html", head, body, lang="en") + "\n"


def chapters(parts: Sequence[tuple[str, str, str, Html]]) -> Html:
    """Return the table of contents and one section per part: id, title, lead and content."""
    links = (el("a", title, href=f"#{name}") for name, title, _, _ in parts)
    sections = (
        el(
            "section",
            el("h2", title, id=f"{name}-title"),
            el("p", lead, class_="lead") if lead else None,
            content,
            id=name,
            aria_labelledby=f"{name}-title",
        )
        for name, title, lead, content in parts
    )
    return join(el("nav", *links, aria_label="Contents"), *sections)


def part(package: str, name: str) -> str:
    """Return a style sheet or a script that lies in a package of this kind."""
    return files(f"plugins.reporter.{package}").joinpath(name).read_text(encoding="utf-8")


def _policy(scripts: Sequence[str], media: str) -> str:
    """Return the content security policy: these very scripts, inline styles, and `data:`."""
    digests = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    hashes = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        f"{media and f'media-src {media}; '}base-uri 'none'; form-action 'none'"
    )
