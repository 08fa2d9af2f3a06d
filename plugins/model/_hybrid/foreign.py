"""Opens a stranger's checkpoint in a process of its own, and returns its checked content.

The process reads the checkpoint, checks every value in it, builds the network that it describes,
and writes our format; only that is read here.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from core import Progress
from core.formats.opened_apart import opened_apart, refusing

if TYPE_CHECKING:
    from plugins.model._hybrid.checkpoint import Checkpoint

__all__ = ["opened"]


def opened(path: Path, folder: Path, progress: Progress) -> Checkpoint:
    """Return a checkpoint's content, through a temporary file in `folder`.

    Raises InputError for a file that is damaged, foreign or unsafe, or that takes more time or
    memory to open than its size explains.
    """
    from plugins.model._hybrid import checkpoint

    checkpoint.check_file(path)
    safe = folder / "opened.safetensors"
    try:
        opened_apart(
            __name__,
            path,
            str(safe.absolute()),
            noun="checkpoint",
            folder=folder,
            progress=progress,
        )
        return checkpoint.read(safe)
    finally:
        safe.unlink(missing_ok=True)


def _read(path: str, safe: str) -> None:
    """Read and check one checkpoint, and write it as ours."""
    from plugins.model._hybrid import checkpoint

    found = checkpoint.read(Path(path))
    checkpoint.build(found, Path(path))
    checkpoint.write(found, Path(safe))


if __name__ == "__main__":
    sys.exit(refusing(_read))
