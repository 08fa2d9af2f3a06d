"""Text of others as it may be shown: no escape sequence, no byte that is no text, no credential."""

from __future__ import annotations

import unicodedata

__all__ = ["plain"]


def plain(text: str) -> str:
    """Return `text` with everything visible that would move, colour or hide: `\\x1b[2J`, say.

    Newlines and tabs stay. Control characters (C0, C1, DEL), marks that turn the direction of
    text, and surrogates (bytes of a file name that are no text) become what Python writes for them.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" or _harmless(c) else _spelt(c) for c in text)


def _harmless(character: str) -> bool:
    """Return whether a character that Python does not call printable only takes up room."""
    # Joiners belong to the letters of Persian and to pictures; they hide nothing.
    return unicodedata.category(character) == "Zs" or character in "\u200c\u200d"


def _spelt(character: str) -> str:
    return character.encode("unicode_escape", errors="backslashreplace").decode()
