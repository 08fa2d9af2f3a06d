"""Names of files: as text even if they hold bytes that are no text, and valid on every system.

A file's name on Linux is bytes. Python replaces each byte that is not UTF-8 by a lone surrogate,
and neither JSON nor a terminal accepts those.
"""

from __future__ import annotations

import re
import unicodedata

from core.machine.paths import DEVICES
from core.text.shown import spelt

__all__ = ["as_text", "file_name"]

#: Bytes. Most file systems allow 255, and a number or an ending may follow.
LONGEST = 200
_SURROGATE = re.compile("[\ud800-\udfff]")
#: The escapes that `as_text` writes; a name that holds such text itself must stay distinct.
_WRITTEN = re.compile(r"\\(\\|x[89a-f][0-9a-f]|ud[89a-f][0-9a-f]{2})")
#: Characters that some system forbids in a name, or reads as something else.
_NO_LETTERS = re.compile('[<>:"/\\\\|?*\x00-\x1f\x7f\ud800-\udfff]+')


def as_text(name: str) -> str:
    r"""Return a name as text that stands for this name alone: `caf\xe9.wav` for those bytes.

    A name that is text stays as it is, unless it looks like an escaped one.
    """
    if not _SURROGATE.search(name) and not _WRITTEN.search(name):
        return name
    return _SURROGATE.sub(lambda found: spelt(found[0]), name.replace("\\", "\\\\"))


def file_name(text: str) -> str:
    """Return `text` as a name of one file or folder that every system takes; never empty."""
    name = _NO_LETTERS.sub("_", unicodedata.normalize("NFC", text)).strip(" ._")
    name = name.encode()[:LONGEST].decode(errors="ignore").rstrip(" ._") or "item"
    device = DEVICES.fullmatch(name)
    return f"{device[1]}_{name[device.end(1) :]}" if device else name
