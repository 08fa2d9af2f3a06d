"""Checks a stranger's archive, in the form that PyTorch writes: nothing in it is compressed."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path

from core.machine.paths import wrong_name

__all__ = ["check_stored"]


def check_stored(archive: zipfile.ZipFile, file: Path, most: int) -> None:
    """Raise ValueError for an archive of more than `most` entries, or one that is not what it says.

    Every entry must take as many bytes of `file` as it declares, have a unique name, and lie in no
    folder outside. So reading the entries takes no more bytes than the file has.
    """
    entries = archive.infolist()
    if len(entries) > most:
        raise ValueError(f"it holds {len(entries):,} entries; possible: up to {most:,}")
    names = Counter(entry.filename for entry in entries)
    for entry in entries:
        name = entry.filename
        if names[name] > 1:
            raise ValueError(f"it holds `{name[:100]}` twice")
        if wrong_name(name):
            raise ValueError(f"its entry `{name[:100]}` leads out of it, or is no path")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise ValueError(f"its entry `{name[:100]}` is compressed; PyTorch compresses none")
    if sum(entry.file_size for entry in entries) > file.stat().st_size:
        raise ValueError("its entries take more bytes than the file has")
