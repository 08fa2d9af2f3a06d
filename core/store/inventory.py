"""What a store holds on this disk: its entries and kept inputs, with their sizes and last use.

No link is followed. What does not look as the store makes it is never listed as an entry.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.store.entry import DESCRIPTION, FILES, FINGERPRINT
from core.store.uses import RUNS, USED

__all__ = ["ASIDE", "ITEMS", "Held", "entries", "foreign", "leftovers", "size"]

#: Kept inputs of datasets, named `state/items/<key>`.
ITEMS = "state/items"
#: What lies beside the entries of steps, and holds none.
APART = frozenset({"known", "locks", "remotes", RUNS, "staging", "state"})
#: The name of an entry that is being removed: nobody looks for it.
ASIDE = re.compile(r"\.removed\.[0-9a-f]{12}")
_KEY = re.compile(r"\d{1,6}-[0-9a-f]{32}")
_ITEMS_KEY = re.compile(r"[0-9a-f]{32}")
#: The files that the store makes in the folder of an entry, and in that of kept inputs.
_OWN = re.compile(
    r"artifact\.json|fingerprint\.json|files|shared|used|emptied|\.(?:shared|emptied)\.[0-9a-f]{8}"
)
_ITEMS_OWN = re.compile(r"items\.json|files|used")


@dataclass(frozen=True)
class Held:
    """An entry `<step>/<key>`, or kept inputs `state/items/<key>`.

    `used` is when it was last used, or made if no run recorded a use, in seconds since 1970.
    """

    name: str
    bytes: int
    used: float

    @property
    def step(self) -> str:
        """Return the step that made it; `state/items` for kept inputs."""
        return self.name.rpartition("/")[0]


def entries(root: Path) -> list[Held]:
    """Return all entries and kept inputs of the store at `root`, in the order of their names."""
    found = []
    for folder, key in _folders(root):
        for place in _inside(folder):
            name = f"{folder.relative_to(root).as_posix()}/{place.name}"
            if key.fullmatch(place.name) and place.is_dir():
                path = Path(place.path)
                found.append(Held(name, size(path, shared=True), _last_use(path)))
    return sorted(found, key=lambda held: held.name)


def leftovers(root: Path) -> list[Path]:
    """Return the folders of entries whose removal was interrupted."""
    return [
        Path(place.path)
        for folder, _ in _folders(root)
        for place in _inside(folder)
        if ASIDE.fullmatch(place.name) and place.is_dir()
    ]


def foreign(root: Path, name: str) -> str:
    """Return the first thing in the folder of an entry that no store makes; empty if none is.

    The files of the result itself are known by their digest alone: see core/store/removal.py.
    """
    own = _ITEMS_OWN if name.startswith(f"{ITEMS}/") else _OWN
    wanted = {FILES: stat.S_IFDIR}
    with os.scandir(root / name) as inside:
        for place in inside:
            kind = stat.S_IFMT(place.stat(follow_symlinks=False).st_mode)
            if not own.fullmatch(place.name) or kind != wanted.get(place.name, stat.S_IFREG):
                return place.name
    return ""


def size(folder: Path, *, shared: bool = False) -> int:
    """Return the bytes of all files below a folder; what cannot be read counts nothing.

    With `shared` a file that several entries share counts for each in part.
    """
    total, pending = 0, [folder]
    while pending:
        for place in _inside(pending.pop()):
            if place.is_dir():
                pending.append(Path(place.path))
            else:
                total += place.bytes // (place.names if shared else 1)
    return total


def _folders(root: Path) -> Iterator[tuple[Path, re.Pattern[str]]]:
    """Yield the folders that entries lie in, and the form of the entries' names there."""
    for place in _inside(root):
        if place.name not in APART and not place.name.startswith(".") and place.is_dir():
            yield Path(place.path), _KEY
    items = root / ITEMS
    if all(path.is_dir() and not path.is_symlink() for path in (items.parent, items)):
        yield items, _ITEMS_KEY


@dataclass(frozen=True)
class _Place:
    """One name in a folder, as it is itself and not as what it leads to."""

    name: str
    path: str
    mode: int
    bytes: int
    names: int

    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)


def _inside(folder: Path) -> Iterator[_Place]:
    """Yield what lies in a folder; nothing where it is gone or cannot be read."""
    try:
        with os.scandir(folder) as inside:
            found = list(inside)
    except OSError:
        return
    for place in found:
        try:
            about = place.stat(follow_symlinks=False)
        except OSError:
            continue
        yield _Place(place.name, place.path, about.st_mode, about.st_size, max(1, about.st_nlink))


def _last_use(folder: Path) -> float:
    """Return the time of the last use of an entry, or when it was kept."""
    for name in (USED, DESCRIPTION, FINGERPRINT, "items.json", "."):
        try:
            return (folder / name).lstat().st_mtime
        except OSError:
            continue
    return 0.0
