"""The folder of a sweep, the same each time that the sweep is started.

outputs/<recipe>/sweep-<id>/
    <values of a point>/    a run folder each
    sweep.json, …           written by the reporters
    points/<key>.json       the result of a point, so that a sweep that was killed goes on from it
    logs/<point>.log        what a point printed
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from core.machine.folders import locked, unwritable
from core.machine.paths import check_no_links
from core.store import damage
from core.store.hashing import digest
from core.store.sealed import DamagedError, read_sealed, write_sealed
from core.sweep.messages import PointResult

__all__ = ["found", "identity", "is_of", "keep", "name_of", "owned", "place_of"]

#: Arguments that do not change the identity of a sweep: where it is kept, and how it is run.
ELSEWHERE = ("output=", "store=", "store_limit_gb=", "hydra.", "hydra/launcher=", "sweep.")
#: A worker that finds this file knows that it writes into the folder of the sweep itself.
MARK = Path("points", "sweep")
#: Longest name of a point's folder.
LONGEST = 100


@dataclass(frozen=True)
class _Record:
    """The record of a point, with its own `key`, so that swapped records are noticed."""

    key: str
    result: PointResult


def identity(arguments: Sequence[str]) -> str:
    """Return the name of a sweep: a digest of what it runs, in whatever order it was typed."""
    return digest(sorted(a for a in arguments if not a.startswith(ELSEWHERE)))[:8]


def place_of(output: str, recipe: str, sweep: str) -> Path:
    """Return the folder of a sweep."""
    return Path(output).expanduser().resolve() / recipe / f"sweep-{sweep}"


def name_of(values: Mapping[str, str]) -> str:
    """Return the name of a point's folder: its values, as far as a file system takes them."""
    keys = [key.rpartition(".")[2] for key in values]
    pairs = zip(keys, values.values(), strict=True)
    said = "_".join(f"{key}-{value}" for key, value in pairs) or "point"
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", said)
    # A value may look like the next key: `a-1_b-2_b-3` could be two points.
    clear = not any(f"_{key}-" in value for key in keys for value in values.values())
    if plain == said and clear and len(plain) <= LONGEST:
        return plain
    # Two values may differ only in the characters that were left out.
    return f"{plain[:LONGEST]}.{digest(list(values.items()))[:8]}"


@contextmanager
def owned(place: Path, sweep: str) -> Iterator[None]:
    """Hold the folder while the sweep lasts; raises StoreError where another sweep holds it."""
    busy = ("this sweep is running already", f"at: {place}", "wait for it, or sweep something else")
    own = (place, *(place / name for name in ("points", "logs", "points/lock")))
    check_no_links(own, "the folder of the sweep")
    with locked(place / "points" / "lock", "the folder of the sweep", *busy):
        try:
            write_sealed(place / MARK, sweep)
        except OSError as error:
            raise unwritable("the folder of the sweep", error, place) from error
        yield


def found(place: Path, key: str, folder: str | None = None) -> PointResult | None:
    """Return the result of a point that ran before; None if it must run.

    A failed stage is tried again, and a run folder that is gone is made again; a job that leaves
    none has no `folder`. A damaged record is reported, and the point runs again.
    """
    file = _file(place, key)
    try:
        record = read_sealed(file, _Record)
    except FileNotFoundError:
        return None
    except DamagedError as error:
        _tell(file, folder or key, str(error))
        return None
    if record.key != key:
        _tell(file, folder or key, f"it is that of {record.key}")
        return None
    result = record.result
    if result.status in ("done", "missed"):
        if folder is None:
            return result
        return result if result.placed and (place / folder / "recipe.lock.yaml").is_file() else None
    return result if result.status == "refused" else None


def keep(place: Path, key: str, result: PointResult) -> None:
    """Keep the result of a point, so that a sweep that is started again finds it.

    Its notices of damage are left out: the damage is repaired by then.
    """
    try:
        write_sealed(_file(place, key), _Record(key, replace(result, damaged=())))
    except OSError as error:
        raise unwritable("the folder of the sweep", error, place) from error


def is_of(place: Path, sweep: str) -> bool:
    """Return whether `place` is the folder of that sweep: it may be another machine's."""
    try:
        return read_sealed(place / MARK, str) == sweep
    except (FileNotFoundError, DamagedError):
        return False


def _file(place: Path, key: str) -> Path:
    return place / "points" / f"{key}.json"


def _tell(file: Path, folder: str, reason: str) -> None:
    what = f"the record of point {folder} is damaged, and the point runs again"
    damage.tell(file, f"{what}: {reason} (points/{file.name})")
