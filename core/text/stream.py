"""A stream of text for people, which may end, fill up, or lack characters."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys
from typing import TextIO

__all__ = ["Outlet", "is_unread"]

#: Replaces a character that the stream cannot encode, one for one so that columns hold.
PLAIN = str.maketrans({"−": "-", "\u2013": "-", "×": "x", "µ": "u", "→": ">", "…": "~", "≈": "~"})


class Outlet(io.TextIOBase):
    """Passes text on to a stream, and becomes silent once nobody reads the stream any more.

    `| head` closes the pipe, which is no error: who closed it has read enough. Any other refusal,
    such as a full disk, raises OSError, unless `forgiving`: hours into a run it may cost some
    output, never the result. `stream` is `None` where there is no standard output at all.
    """

    def __init__(self, stream: TextIO | None, *, forgiving: bool = False) -> None:
        super().__init__()
        self._stream, self._forgiving = stream, forgiving

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
            except (OSError, ValueError) as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Write out what is buffered."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._give_up(error)

    def _give_up(self, error: OSError | ValueError) -> None:
        """Write nothing from now on, and discard what is still buffered; or raise the error.

        Python flushes its standard output at exit, and would fail there with status 120.
        """
        if not self._forgiving and not _is_closed(error):
            raise error
        stream, self._stream = self._stream, None
        with contextlib.suppress(OSError, ValueError, AttributeError):
            descriptor = stream.fileno()  # type: ignore[union-attr]  # AttributeError is caught
            nowhere = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(nowhere, descriptor)
            finally:
                os.close(nowhere)


def is_unread(stream: TextIO | None) -> bool:
    """Return whether a stream is a pipe without a reader, as far as the system can say.

    It tells the refusal of text that others print from that of any other pipe.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):  # no stream, or no descriptor
        if sys.platform != "win32":
            poll = select.poll()
            poll.register(stream.fileno(), 0)  # type: ignore[union-attr]  # AttributeError is caught
            return any(event & select.POLLERR for _, event in poll.poll(0))
    return False


def _is_closed(error: OSError | ValueError) -> bool:
    """Return whether nobody reads the stream: the pipe's reader went away, or Python closed it."""
    # Windows says EINVAL of a pipe without a reader.
    gone = os.name == "nt" and isinstance(error, OSError) and error.errno == errno.EINVAL
    return gone or isinstance(error, BrokenPipeError | ValueError)


def _encodable(text: str, encoding: str) -> str:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(PLAIN).encode(encoding, "replace").decode(encoding)
    return text
