"""Escapes untrusted text for Markdown: shown literally, on one line, never read as markup."""

from __future__ import annotations

import re

from core.text.shown import shown

__all__ = ["code", "inline"]

#: The start of a link, a tag, code, emphasis or a cell. A `_` within a word is none of these.
_SPECIAL = re.compile(r"[\\`*\[\]<>|~]|(?<!\w)_|_(?!\w)")


def inline(text: str) -> str:
    """Return `text` as a part of a line, or of a cell of a table."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(shown(text).split())).replace("&", "&amp;")


def code(text: str) -> str:
    """Return `text` as code in a line; a backtick in it, which would end it, becomes a quote."""
    inside = " ".join(shown(text).split()).replace("`", "'").replace("|", "\\|")
    return f"`{inside}`"
