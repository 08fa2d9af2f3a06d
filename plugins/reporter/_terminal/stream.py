"""The stream of the terminal's text, which may end, fill up, or lack characters."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO, cast

from core.text.screen import screen

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Outlet", "console"]

#: Replaces a character that the stream cannot encode, one for one so that columns hold.
PLAIN = str.maketrans({"−": "-", "\u2013": "-", "×": "x", "µ": "u", "→": ">", "…": "~", "≈": "~"})


class Outlet(io.TextIOBase):
    """Passes text on to a stream, and becomes silent once the stream rejects text.

    `| head` closes the pipe and a full disk refuses the log, hours into a run: that may cost some
    output, never the result. `stream` is `None` where there is no standard output at all.
    """

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has a plain attribute
        """Return the encoding of the stream; rich chooses its lines and boxes by it."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def writable(self) -> bool:
        """Return True: text that the stream rejects is dropped."""
        return True

    def isatty(self) -> bool:
        """Return whether a terminal shows the text, and still does."""
        with contextlib.suppress(OSError, ValueError):
            return self._stream is not None and self._stream.isatty()
        return False

    def fileno(self) -> int:
        """Return the stream's descriptor; raises OSError where it has none."""
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def write(self, text: str, /) -> int:
        """Write `text`, with plain characters for those that the stream cannot encode."""
        if self._stream is not None:
            try:
                self._stream.write(_encodable(text, self.encoding))
            except (OSError, ValueError):  # ValueError: the stream was closed
                self._give_up()
        return len(text)

    def flush(self) -> None:
        """Write out what is buffered."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._give_up()

    def _give_up(self) -> None:
        """Write nothing from now on, and discard what is still buffered.

        Python flushes its standard output at exit, and would fail there with status 120.
        """
        stream, self._stream = self._stream, None
        with contextlib.suppress(OSError, ValueError, AttributeError):
            descriptor = stream.fileno()  # type: ignore[union-attr]  # AttributeError is caught
            nowhere = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(nowhere, descriptor)
            finally:
                os.close(nowhere)


def console(width: int | None) -> Console:
    """Return a console on today's standard output, `width` columns wide or as wide as that is."""
    # To a type checker a text stream is no `IO[str]`; rich needs only what Outlet has.
    file = cast("TextIO", Outlet(sys.stdout))
    return screen(file, width)


def _encodable(text: str, encoding: str) -> str:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(PLAIN).encode(encoding, "replace").decode(encoding)
    return text
