"""The run folder: what a run leaves for a person, whole or not at all.

outputs/<recipe>/<time>/
    stems/…, report.html, report.json    written by the dataset and the reporters
    recipe.lock.yaml                     a recipe that reproduces the run
    bundle/                              what is shipped to the device (core/bundle/write.py)
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from core.machine.folders import check_there, owned_folder, unwritable

__all__ = ["RunFolder", "named_folder", "new_folder"]


@dataclass
class RunFolder:
    """Where a run writes (`partial`), and the name that it gets once it ended well (`final`)."""

    partial: Path
    final: Path


def new_folder(root: Path, recipe: str) -> AbstractContextManager[RunFolder]:
    """Give a temporary folder; if the block ends well, it is renamed to the time."""
    parent = root.expanduser().resolve() / recipe
    name = datetime.now().astimezone().strftime("%Y-%m-%d_%H-%M-%S")
    return _folder(parent, name, replaces=False)


def named_folder(path: Path) -> AbstractContextManager[RunFolder]:
    """Give a temporary folder; if the block ends well, it takes the place of `path`."""
    return _folder(path.parent, path.name, replaces=True)


@contextmanager
def _folder(parent: Path, name: str, *, replaces: bool) -> Iterator[RunFolder]:
    try:
        with owned_folder(parent, name) as partial:
            folder = RunFolder(partial, parent / name)
            yield folder
            check_there(partial)
            if replaces:
                shutil.rmtree(folder.final, ignore_errors=True)
            _place(folder, name)
    except OSError as error:
        raise unwritable("the run folder", error, parent) from error


def _place(folder: RunFolder, name: str) -> None:
    """Give the folder its final name, or the next one that is free: two runs may end at once."""
    number = 1
    while True:
        try:
            folder.partial.rename(folder.final)
        except OSError:
            if not folder.final.exists():
                raise
            number += 1
            folder.final = folder.final.with_name(f"{name}.{number}")
        else:
            return
