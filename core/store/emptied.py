"""Results whose files were removed to make room, while their description stays.

    <step>/<key>/emptied    says that the store itself removed `files/`, and of which entry

A run that is repeated needs only the digests of what its steps played, to find what was measured
from it. The files themselves are needed only if a step that reads them must run again: then they
are made again, too.
"""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from core.plugin.step_names import IDEAL, PLAY, REFERENCE, SAVE
from core.plugin.values import Artifact
from core.store.entry import FILES, described, moved_to
from core.store.sealed import DamagedError, read_sealed, write_sealed
from core.store.uses import Records, turn

__all__ = ["EMPTIED", "STEPS", "empty", "is_emptied", "read_emptied"]

EMPTIED = "emptied"
#: The steps whose files no later step of a finished run reads, the least missed first. What `save`
#: wrote is in the run folder; the same command needs it again for a new one.
STEPS = (PLAY, IDEAL, REFERENCE, SAVE)


@dataclass(frozen=True)
class _Mark:
    """What the mark holds: the entry, so that a mark of another one is noticed."""

    entry: str


def is_emptied(root: Path, name: str) -> bool:
    """Return whether the store removed the files of an entry, and nothing but them is missing."""
    if os.path.lexists(root / name / FILES):
        return False
    try:
        return read_sealed(root / name / EMPTIED, _Mark).entry == name
    except (FileNotFoundError, NotADirectoryError, DamagedError):
        return False


def read_emptied(root: Path, name: str) -> Artifact:
    """Return the artifact of an emptied entry, whose folder is not there; raises DamagedError."""
    return moved_to(root / name / FILES, described(root, name)[0])


def empty(root: Path, name: str, records: Records, own: str) -> bool:
    """Remove the files of an entry, unless a running job other than the run `own` uses it.

    Returns whether they are gone; raises OSError, and then the entry is whole.
    """
    entry = root / name
    aside = entry.with_name(f".removed.{uuid.uuid4().hex[:12]}")
    with turn(root):
        if name in records.in_use(but=own) or entry.is_symlink():
            return False
        write_sealed(entry / EMPTIED, _Mark(name))
        (entry / FILES).rename(aside)
    shutil.rmtree(aside, ignore_errors=True)
    return True
