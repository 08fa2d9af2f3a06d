"""Writes files that are there whole or not at all, even on a full disk or after a kill."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(file: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file so that a reader finds the old one or the new one; raises OSError.

    A `durable` one is on the disk on return: a power cut takes neither it nor its name.
    """
    partial = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}")
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        partial.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    if durable:
        _flush_names(file.parent)


def _flush_names(folder: Path) -> None:
    """Flush a folder's list of names to the disk, if the system can."""
    # Windows opens no folders; a disk that cannot do it says so here.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
