"""Names of files: as text on one line, whatever bytes they hold, and valid on every system.

A file's name on Linux is bytes. Python replaces each byte that is not UTF-8 by a lone surrogate,
and neither JSON nor a terminal accepts those. Others end the line, or turn the direction of text.
"""

from __future__ import annotations

import re
import unicodedata

from core.machine.paths import DEVICES
from core.text.shown import in_one_line

__all__ = ["as_text", "file_name"]

#: Bytes. Most file systems allow 255, and a number or an ending may follow.
LONGEST = 200
#: The escapes that `as_text` writes; a name that holds such text itself must stay distinct.
_WRITTEN = re.compile(r"\\(\\|[ntr]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")
#: Characters that some system forbids in a name, or reads as something else.
_NO_LETTERS = re.compile('[<>:"/\\\\|?*\x00-\x1f\x7f\ud800-\udfff]+')


def as_text(name: str) -> str:
    r"""Return a name as text that stands for this name alone: `caf\xe9.wav` for those bytes.

    Line breaks, tabs, control characters and marks that turn the direction of text are spelt out,
    too. Any other name stays as it is, unless it looks like an escaped one.
    """
    if in_one_line(name) == name and not _WRITTEN.search(name):
        return name
    return in_one_line(name.replace("\\", "\\\\"))


def file_name(text: str) -> str:
    """Return `text` as a name of one file or folder that every system takes; never empty."""
    # A mark that turns the direction of text makes a name read as another.
    text = "".join(c if in_one_line(c) == c else "\0" for c in unicodedata.normalize("NFC", text))
    name = _NO_LETTERS.sub("_", text).strip(" ._")
    name = name.encode()[:LONGEST].decode(errors="ignore").rstrip(" ._") or "item"
    device = DEVICES.fullmatch(name)
    return f"{device[1]}_{name[device.end(1) :]}" if device else name
