"""The folders that stems are written to: checked at the start, and whole after each song."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ConfigError, LuthierError

if TYPE_CHECKING:
    from luthier.calls import StrPath

__all__ = ["folder_of", "staging_in", "whole_folder"]


def folder_of(out: StrPath) -> Path:
    """Return the folder for the songs' folders, absolute; raises a LuthierError if it is none."""
    if not os.fspath(out):
        raise ConfigError("the folder of the stems has an empty name", "give one: --out FOLDER")
    folder = Path(out).expanduser().absolute()
    there = next(one for one in (folder, *folder.parents) if os.path.lexists(one))
    if not there.is_dir():
        raise _unwritable(NotADirectoryError(errno.ENOTDIR, "Not a directory", str(there)), folder)
    return folder


@contextmanager
def staging_in(out: Path) -> Iterator[Path]:
    """Give a folder for files that are being written, below `out`, which is made if need be."""
    from core.machine.folders import owned_folder

    with ExitStack() as held:
        new = not out.exists()
        try:
            folder = held.enter_context(owned_folder(out, "songs"))
        except OSError as error:
            raise _unwritable(error, out) from error
        try:
            yield folder
        finally:
            held.close()
            if new:
                with suppress(OSError):  # it holds stems
                    out.rmdir()


@contextmanager
def whole_folder(partial: Path, folder: Path) -> Iterator[Path]:
    """Give the folder `partial`, whose files move into `folder` once all of them are written."""
    try:
        try:
            partial.mkdir()
        except OSError as error:
            raise _unwritable(error, partial) from error
        yield partial
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            if not os.path.lexists(folder):
                partial.rename(folder)
                return
            for file in sorted(partial.iterdir()):
                file.replace(folder / file.name)
        except OSError as error:
            raise _unwritable(error, folder) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _unwritable(error: OSError, folder: Path) -> LuthierError:
    from core.machine.folders import unwritable

    return unwritable("the folder of the stems", error, folder, "--out FOLDER")
