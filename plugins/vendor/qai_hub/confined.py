"""Confines the client's side effects: temporary files and printed lines."""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

__all__ = ["confined"]

# The client takes neither folder nor stream; Python has one of each for the whole process.
_ONE_AT_A_TIME = threading.Lock()


@contextlib.contextmanager
def confined(parent: Path) -> Iterator[Path]:
    """Yield a folder below `parent` for the client's temporary files, which are then removed.

    The client leaves some behind when it fails. Where the process is killed, the store removes
    the work folder, and these with it. The empty line that the client prints for every interrupted
    upload is not shown.
    """
    with (
        _ONE_AT_A_TIME,
        tempfile.TemporaryDirectory(dir=parent, prefix="hub-") as folder,
        contextlib.redirect_stdout(_Muted(sys.stdout)),
    ):
        before, tempfile.tempdir = tempfile.tempdir, folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before


class _Muted(io.TextIOBase):
    """Accepts printed text and shows none of it.

    Rich draws its progress from a thread meanwhile: it finds the true stream by this name.
    """

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = getattr(stream, "rich_proxied_file", stream)

    def write(self, text: str) -> int:
        return len(text)
