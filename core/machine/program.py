"""The name that this program was started by, and lines that a person can type again."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from core.text.shown import in_one_line

__all__ = ["line", "program", "quoted", "unquoted"]

#: The packages that can be started with `python -m`, and the script of the first.
PACKAGES = ("luthier", "core")


def program() -> str:
    """Return how this program is started: `luthier`, `python -m luthier` or `python -m core`."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    package = (spec.name if spec else "").removesuffix(".__main__")
    if package in PACKAGES:
        return f"python -m {package}"
    # Only known names are taken from the system: others may hold anything.
    return "luthier" if Path(sys.argv[0]).stem == "luthier" else "python -m core"


def line(words: Sequence[str]) -> str:
    """Return the command with these arguments, quoted for the shell."""
    return f"{program()} {quoted(words)}".rstrip()


def quoted(words: Sequence[str]) -> str:
    r"""Return words as they are typed into the shell of this system, on one line.

    A word that breaks its line, or that no screen shows, is written as bash, zsh and the newest
    POSIX read it: `$'a\nb.wav'`.
    """
    if os.name == "nt":
        return subprocess.list2cmdline(words)
    return " ".join(
        shlex.quote(word) if in_one_line(word) == word else _escaped(word) for word in words
    )


def unquoted(text: str) -> list[str]:
    """Return the words of a line that `quoted` made; raises ValueError for an open quote."""
    plain = _ESCAPED.sub(lambda found: shlex.quote(_spoken(found[1])), text)
    return shlex.split(plain)


#: A word in quotes with escapes. Nothing else that `quoted` writes has a dollar before a quote.
_ESCAPED = re.compile(r"(?<!\S)\$'((?:[^'\\]|\\.)*)'(?!\S)")


def _escaped(word: str) -> str:
    text = word.replace("\\", "\\\\").replace("'", "\\'")
    # To a shell `\x85` is a byte, and here it may be a character.
    return "$'" + "".join(_C1.get(c) or in_one_line(c) for c in text) + "'"


_C1 = {chr(code): f"\\u{code:04x}" for code in range(0x80, 0xA0)}


def _spoken(escaped: str) -> str:
    """Return the text behind the escapes, a byte that is no text as Python reads one."""
    return re.sub(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))", _character, escaped)


def _character(found: re.Match[str]) -> str:
    byte, short, long, other = found.groups()
    if byte:
        code = int(byte, 16)
        return chr(code if code < 0x80 else 0xDC00 + code)  # noqa: PLR2004  # as in core/text/shown.py
    if short or long:
        return chr(int(short or long, 16))
    return {"n": "\n", "t": "\t", "r": "\r"}.get(other, other)
