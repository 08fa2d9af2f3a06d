"""Flips single bits in stored files, and checks that a run notices each flip.

    unnoticed([store], run, run(), count=500, at_once=10)      # [] where every flip was noticed

`run` does the whole job in this process or in another, and returns `Told`; it is called many times.
Several files are flipped before each run: one bit in each file, and no two files in one entry. So
hundreds of flips take tens of runs. Entries are verified one by one, and each damaged entry must
have a line of its own. Each round begins with the store as it was before the first round.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.store import entry
from core.store.sealed import DamagedError

__all__ = ["Told", "flipped", "unnoticed"]


@dataclass(frozen=True)
class Told:
    """How a run ended: its exit code, its output, and its `figures`, any comparable value.

    The figures must be the same whether or not something was made again: bytes of the results, and
    measures other than times.
    """

    code: int
    said: str
    figures: object


def flipped(content: bytes, count: int, seed: int = 11) -> Iterator[bytes]:
    """Yield `content` with one bit changed, `count` times at random places."""
    chance = random.Random(seed)  # noqa: S311  # a test that can be repeated
    for _ in range(count):
        yield _flip(content, chance)


def unnoticed(
    roots: Sequence[Path],
    run: Callable[[], Told],
    first: Told,
    count: int,
    *,
    at_once: int = 8,
    seed: int = 11,
) -> list[str]:
    """Flip `count` bits below `roots`, `at_once` between two runs; returns a line for each fault.

    `first` is the end of the run that made the files below the roots. A fault is a run that ends
    with another code or other figures, or a flipped file that was made again without a line that
    names it. An entry that still has its flip after the run is a fault if the store takes it as
    whole. The run may not have read this entry, because an entry that it depends on was made again.
    """
    chance = random.Random(seed)  # noqa: S311  # a test that can be repeated
    faults, done = list[str](), 0
    with tempfile.TemporaryDirectory() as scratch:
        copies = {root: Path(scratch, str(number)) for number, root in enumerate(roots)}
        for root, copy in copies.items():
            shutil.copytree(root, copy)
        while done < count:
            for root, copy in copies.items():
                shutil.rmtree(root)
                shutil.copytree(copy, root)
            flips = _some(roots, min(at_once, count - done), chance)
            for file, spoilt in flips.items():
                file.write_bytes(spoilt)
            faults += _faults(roots, flips, first, run())
            done += len(flips)
    return faults


def _faults(
    roots: Sequence[Path], flips: dict[Path, bytes], first: Told, told: Told
) -> Iterator[str]:
    names = ", ".join(f"{file.parent.name}/{file.name}" for file in flips)
    if told.code != first.code:
        yield f"ended with {told.code}: {told.said[-500:]} (flipped: {names})"
    if told.figures != first.figures:
        yield f"other figures: {told.figures} (flipped: {names})"
    for file, spoilt in flips.items():
        if _entry(file, roots) in told.said:
            continue
        if not file.is_file() or file.read_bytes() != spoilt:
            yield f"made again without a line: {file}"
        elif _is_whole(file, roots):
            yield f"taken for whole: {file}"


def _some(roots: Sequence[Path], count: int, chance: random.Random) -> dict[Path, bytes]:
    """Choose files of different entries; returns their content, with one bit flipped in each."""
    entries: dict[str, list[Path]] = {}
    for root in roots:
        for file in sorted(root.rglob("*")):
            hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
            if file.is_file() and file.stat().st_size and not hidden:
                entries.setdefault(_entry(file, roots), []).append(file)
    entries.pop("", None)
    chosen = chance.sample(sorted(entries), min(count, len(entries)))
    files = [chance.choice(entries[entry]) for entry in chosen]
    return {file: _flip(file.read_bytes(), chance) for file in files}


def _entry(file: Path, roots: Sequence[Path]) -> str:
    """Return the key or name in a line about damage of `file`; "" for a file that is no data."""
    (root,) = (root for root in roots if file.is_relative_to(root))
    first, *others = file.relative_to(root).parts
    if first in ("locks", "staging", "lock", "sweep"):
        return ""
    if first == "state":
        return Path(others[1]).stem
    return others[0] if others else Path(first).stem


def _is_whole(file: Path, roots: Sequence[Path]) -> bool:
    """Return whether a store takes the entry of this file as whole."""
    (root,) = (root for root in roots if file.is_relative_to(root))
    step, key, *_ = (*file.relative_to(root).parts, "")
    if step == "state" or not (root / step / key / "artifact.json").is_file():
        return False  # notes: the next run that reads them verifies them
    try:
        return entry.whole(root, f"{step}/{key}") is not None
    except DamagedError:
        return False


def _flip(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(content) * 8)
    changed = bytearray(content)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)
