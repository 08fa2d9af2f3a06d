"""Damage to kept files: reported at once on the terminal, and remembered for the report of a run.

Damaged results are made again, so a run ends well all the same. But a person should know why it
took so long, and that a disk may be failing.
"""

from __future__ import annotations

from pathlib import Path

from core.plugin.values import Notice
from core.text.screen import say
from core.text.shown import plain

__all__ = ["listening", "tell"]

#: The notices so far, by the folder that a run listens to: the code that finds a damaged file does
#: not know of the run.
_listeners: dict[Path, list[Notice]] = {}


def listening(root: Path) -> list[Notice]:
    """Return a list that collects all damage below `root` that is reported from now on.

    There is one list per folder: it replaces an earlier one, whose run is over.
    """
    _listeners[root] = []
    return _listeners[root]


def tell(place: Path, text: str) -> None:
    """Report damage at `place` on the terminal and to all lists, once in this process."""
    notice = Notice("warning", plain(text))
    heard = [told for root, told in list(_listeners.items()) if place.is_relative_to(root)]
    if heard and all(notice in told for told in heard):
        return
    for told in heard:
        told.append(notice)
    say(f"warning: {notice.text}", err=True)
