"""Keeps what a library in C prints to standard error off the terminal."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["unheard"]

#: Standard error belongs to the process, so that one block at a time redirects it.
_ONE = threading.Lock()


@contextmanager
def unheard() -> Iterator[None]:
    """Discard standard error while the block runs, which must only call the library.

    libmpg123, inside of libsndfile 1.2, prints a line for every damaged frame of an MP3, and has no
    switch that libsndfile passes on: a file of 230 kB printed 23,000 lines. The error that the
    reader raises says what is wrong with a file.
    """
    with _ONE:
        try:
            before = os.dup(2)
        except OSError:  # there is no standard error
            yield
            return
        try:
            with suppress(OSError, ValueError, AttributeError):
                sys.stderr.flush()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
