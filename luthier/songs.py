"""Finds the songs to separate, and gives each a place below the output."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import InputError
from core.text.screen import say

if TYPE_CHECKING:
    from core.plugin.listable import Source
    from luthier.calls import StrPath

__all__ = ["Song", "songs_in"]


@dataclass(frozen=True)
class Song:
    """A file to separate, and the name of its folder below the output, relative."""

    source: Source
    place: str


def songs_in(given: Sequence[StrPath], out: Path) -> list[Song]:
    """Return every song of files, folders and patterns; each gets a place of its own.

    A stem below `out` that an earlier separation wrote is no song, unless it is named itself.
    Raises InputError for a path that does not exist, or a folder without a song.
    """
    from core.batch.output_paths import OutputPaths
    from plugins.dataset.files import Files, FilesOptions, closed_in

    found: dict[Path, Source] = {}
    left = 0
    for one in given:
        if os.fspath(one) == "-":
            raise InputError(
                "songs are not read from standard input",
                "a song is read twice: write it to a file, and name that",
                "for a file of that name: ./-",
            )
        named = Path(one).is_file()
        for source in Files(FilesOptions(str(one))).sources():
            file = source.file.resolve()
            if not named and _is_stem(file, out.resolve()):
                left += 1
            else:
                found.setdefault(file, source)
        for notice in closed_in(str(one)):
            say(f"{notice.severity}: {notice.text}", err=True)
    if left:
        say(f"left out: {left} files in {out}, the stems of an earlier separation", err=True)
    if not found:
        raise InputError("there is no song to separate", "give files, folders or patterns")

    names, paths, songs = set[str](), OutputPaths(), list[Song]()
    for source in found.values():
        # Songs of several folders may have one name, and a place is given by the name.
        name = source.name
        own = name if name not in names else f"{source.file.absolute().parent.name}/{name}"
        several = count(2)
        while own in names:
            own = f"{source.file.absolute().parent.name}_{next(several)}/{name}"
        names.add(own)
        songs.append(Song(replace(source, file=source.file.absolute()), paths.of(own)))
    return songs


def _is_stem(file: Path, out: Path) -> bool:
    """Return whether a file below `out` has the name that `_written` gives to a stem."""
    ours = file.stem.startswith(f"{file.parent.name} (") and file.stem.endswith(")")
    return ours and file.is_relative_to(out) and file.parent != out
