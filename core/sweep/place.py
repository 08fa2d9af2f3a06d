"""The folder of a sweep, the same each time that the sweep is started.

outputs/<recipe>/sweep-<id>/
    <values of a point>/    a run folder each
    sweep.json, …           written by the reporters
    points/<key>.json       what became of a point, so that a sweep that was killed goes on from it
    logs/<point>.log        what a point printed
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from core.folder import unwritable
from core.hold import held
from core.material import digest
from core.sweep.letters import Told

__all__ = ["found", "identity", "name_of", "owned", "place_of"]

#: What a sweep is the same without: where it is kept, and how it is run.
ELSEWHERE = ("output=", "store=", "hydra.", "hydra/launcher=", "sweep.")
#: Longest name of a point's folder.
LONGEST = 100


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
    # What looks like the next key: `a-1_b-2_b-3` could be said of two points.
    clear = not any(f"_{key}-" in value for key in keys for value in values.values())
    if plain == said and clear and len(plain) <= LONGEST:
        return plain
    # Two values may differ only in what was left out.
    return f"{plain[:LONGEST]}.{digest(list(values.items()))[:8]}"


@contextmanager
def owned(place: Path, sweep: str) -> Iterator[None]:
    """Hold the folder while the sweep lasts; raises StoreError where another sweep holds it."""
    busy = ("this sweep is running already", f"at: {place}", "wait for it, or sweep something else")
    with held(place / "points" / "lock", "the folder of the sweep", *busy):
        try:
            # A worker that finds this knows that it writes into the folder of the sweep itself.
            (place / "points" / "sweep").write_text(sweep)
        except OSError as error:
            raise unwritable("the folder of the sweep", error, place) from error
        yield


def found(place: Path, key: str, folder: str) -> Told | None:
    """Return what became of a point when it ran before; None where it must run.

    A stage that failed is given another chance, and a run folder that is gone is made again.
    """
    try:
        told = msgspec.json.decode((place / "points" / f"{key}.json").read_bytes(), type=Told)
    except (OSError, msgspec.MsgspecError):
        return None
    if told.status in ("done", "missed"):
        return told if told.placed and (place / folder / "recipe.lock.yaml").is_file() else None
    return told if told.status == "refused" else None
