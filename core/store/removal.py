"""Removes entries of a store: those that no running job uses, and only what the store made.

An entry is first given a name that nobody looks for, in one step, under the lock that runs note
their entries with (core/store/uses.py). So a kill in the middle leaves no half entry under its own
name; the next removal ends the work. It needs no room on the disk.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from core.store.entry import DESCRIPTION, FILES, Description, is_of_this_format
from core.store.inventory import ITEMS, Held, foreign, leftovers, size
from core.store.local import Store
from core.store.sealed import DamagedError, read_sealed
from core.store.uses import Records, turn

__all__ = ["Removed", "remove", "take_away", "why_not"]


@dataclass
class Removed:
    """What a removal did: the entries that are gone, and those that stayed, with the reason."""

    gone: list[Held] = field(default_factory=list)
    stayed: list[tuple[Held, str]] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Return the bytes of the entries that are gone."""
        return sum(held.bytes for held in self.gone)


def remove(store: Store, chosen: Iterable[Held], records: Records, done: Removed) -> None:
    """Remove entries, and add each to `done` at once; raises OSError if nothing can be locked.

    One that cannot be removed is passed over, with the reason.
    """
    for place in leftovers(store.root):
        shutil.rmtree(place, ignore_errors=True)
    for held in chosen:
        reason = why_not(store, held)
        if reason:
            done.stayed.append((held, reason))
            continue
        stays = take_away(store.root, held.name, records)
        if stays:
            done.stayed.append((held, stays))
        elif stays is not None:
            done.gone.append(held)


def take_away(root: Path, name: str, records: Records, *, but: str = "") -> str | None:
    """Remove an entry that no running job uses, other than the run `but`.

    Returns why it stays, "" if it is gone, and None if another clean-up was faster. Raises OSError
    if nothing can be locked.
    """
    entry = root / name
    aside = entry.with_name(f".removed.{uuid.uuid4().hex[:12]}")
    with turn(root):
        if name in records.in_use(but):
            return "a running job uses it"
        try:
            entry.rename(aside)
        except FileNotFoundError:
            return None
        except OSError as error:
            return error.strerror or str(error)
    shutil.rmtree(aside, ignore_errors=True)
    return ""


def why_not(store: Store, held: Held) -> str:
    """Return why an entry cannot be removed, whoever asks; empty if it can be."""
    entry = store.root / held.name
    try:
        if any(path.is_symlink() for path in (entry, entry.parent)):
            return "it is a link"
        other = foreign(store.root, held.name)
        if other:
            return f"`{other}` in it is not the store's"
        for folder, _, _ in os.walk(entry):
            if not os.access(folder, os.W_OK | os.X_OK):
                return "its folder cannot be written"
        if held.name.startswith(f"{ITEMS}/"):
            return ""
        if store.is_owed(held.name) and "passing" not in _text(entry):
            return "the store at the URL does not have it yet"
        return _changed(entry)
    except FileNotFoundError:
        return ""  # another clean-up removes it just now
    except OSError as error:
        return error.strerror or str(error)


def _text(entry: Path) -> str:
    """Return the beginning of an entry's fingerprint."""
    with (entry / "fingerprint.json").open(encoding="utf-8", errors="replace") as file:
        return file.read(16)


def _changed(entry: Path) -> str:
    """Return that the files of a result are not those that were kept, by their number of bytes."""
    if not is_of_this_format(entry.name):
        return ""  # nobody but the version that made it can read it
    try:
        kept = read_sealed(entry / DESCRIPTION, Description).artifact.bytes
    except (DamagedError, FileNotFoundError):
        return ""
    return "" if size(entry / FILES) <= kept else "somebody put other files into it"
