"""Fills disks: store, outputs or temporary files on one of 4 kB to 60 MB that is too small.

A command on a full disk ends with a code of its own and one message that says so, or with its whole
result. Then the disk grows, the same command runs again, and its result must equal that of an
undisturbed one: nothing that was half written is believed, nothing is there twice.
"""

from __future__ import annotations

import random
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.torture.compared import differences, same, unlike
from tests.torture.forks import Ended, command, each, left_of, warm
from tests.torture.namespaces import mounted, own_mounts, resize, why_not
from tests.torture.scene import COMMANDS, Scene, entries, leftovers, results, tracebacks
from tests.torture.tally import Tally

__all__ = ["torture"]

LIMIT_S = 240
SMALLEST, LARGEST = 4096, 60_000_000
ROOM = 400_000_000
#: What is on the small disk, of the folders that a command writes to.
PLACES = (("store",), ("outputs",), ("tmp",), ("store", "outputs", "tmp"))
#: The command whose results fill a disk of megabytes: the small HTDemucs on a second of music.
REAL = ("recipe=cpu_fp32", "dataset.seconds=2", "measure.budget_windows=1")
#: Every so many cases is the real one.
REAL_EACH = 6
FULL = re.compile(r"no space left|disk is full|no room|quota", re.IGNORECASE)


@dataclass(frozen=True)
class Disk:
    """A disk of `size` bytes for `places`, and the command that fills it."""

    kind: str
    places: tuple[str, ...]
    size: int

    def __str__(self) -> str:
        return f"{self.kind}, {' and '.join(self.places)} on {self.size} bytes"


def torture(count: int, seed: int) -> Tally:
    """Run on so many full disks."""
    tally = Tally("disks")
    reason = why_not()
    if reason:
        tally.about["skipped"] = reason
        return tally
    warm("numpy", "safetensors.numpy", "onnxruntime", "torch", "soundfile", "scipy.signal", "onnx")
    wholes: dict[str, Any] = {}
    kinds = (*COMMANDS, "real")
    for kind, whole in each(_undisturbed, (*kinds, *kinds), limit_s=LIMIT_S):
        if isinstance(whole, Ended):
            raise SystemExit(f"torture: the undisturbed {kind} does not end well: {whole}")
        wholes[kind] = same(wholes.get(kind, whole), whole)
    disks = list(_disks(count, seed, wholes))
    for (disk, _), answer in each(_filled, [(d, wholes[d.kind]) for d in disks], limit_s=LIMIT_S):
        if isinstance(answer, Ended):
            tally.case(str(disk), answer)
        else:
            tally.count(**answer["about"])
            tally.case(str(disk), answer["faults"])
    return tally


def _disks(count: int, seed: int, wholes: dict[str, Any]) -> Iterator[Disk]:
    """Yield disks of all sizes up to what a command needs there."""
    draw = random.Random(seed)  # noqa: S311  # chooses cases, guards nothing
    for number in range(count):
        kind = (
            "real" if number % REAL_EACH == REAL_EACH - 1 else [*COMMANDS][number % len(COMMANDS)]
        )
        places = PLACES[number // 2 % len(PLACES)]
        needs = max(SMALLEST * 2, sum(wholes[kind]["bytes"][place] for place in places))
        pages = draw.randrange(1, max(2, min(needs, LARGEST) // SMALLEST))
        yield Disk(kind, places, pages * SMALLEST)


def _undisturbed(kind: str) -> dict[str, Any]:
    """Return what a command gives, and the bytes that it needs at each place."""
    with tempfile.TemporaryDirectory(prefix="luthier-torture-") as folder:
        scene = Scene(Path(folder)).prepare()
        own_mounts()
        for place in ("store", "outputs", "tmp"):
            (scene.work / place).mkdir(exist_ok=True)
            mounted(scene.work / place, ROOM)
        ended = _run(kind, scene)
        assert ended.code == 0, ended
        used = {p: _used(scene.work / p) for p in ("store", "outputs", "tmp")}
        return {
            "bytes": used,
            "results": results(scene.work / "outputs"),
            "entries": {name: f for name, (_, f) in entries(scene.work / "store").items()},
        }


def _used(place: Path) -> int:
    return shutil.disk_usage(place).used


def _run(kind: str, scene: Scene) -> Ended:
    said = REAL if kind == "real" else COMMANDS[kind]
    arguments = [*said, "store=store", "output=outputs"]
    return command(arguments, scene.work, scene.environment(), limit_s=LIMIT_S / 3)


def _filled(case: tuple[Disk, dict[str, Any]]) -> dict[str, Any]:
    """Run on a small disk, let it grow, run again, and return what is wrong."""
    disk, whole = case
    with tempfile.TemporaryDirectory(prefix="luthier-torture-") as folder:
        scene = Scene(Path(folder)).prepare()
        own_mounts()
        small = Path(folder) / "small"
        small.mkdir()
        mounted(small, disk.size)
        for place in disk.places:
            (scene.work / place).rmdir() if (scene.work / place).exists() else None
            (small / place).mkdir()
            (scene.work / place).symlink_to(small / place)
        outside = scene.outside()
        faults: list[tuple[str, str]] = []
        first = _run(disk.kind, scene)
        faults += [("tracebacks", seen) for seen in tracebacks(first.said)]
        if first.code is None:
            faults.append(("hanging", "on the full disk"))
        elif first.code == 0:
            # It had room enough, or what failed was none of the result.
            faults += differences(whole, results(scene.work / "outputs"))
        elif not FULL.search(first.said):
            faults.append(
                ("tracebacks", f"does not say that the disk is full: {first.said[-300:]}")
            )
        faults += [("hanging", f"left running: {name}") for name in left_of(scene.work)]
        resize(small, ROOM)
        again = _run(disk.kind, scene)
        faults += [("tracebacks", seen) for seen in tracebacks(again.said)]
        if again.code != 0:
            column = "hanging" if again.code is None else "lost"
            faults.append((column, f"with room again: {again.code}: {again.said[-300:]}"))
        found = results(scene.work / "outputs")
        faults += differences(whole, found, twice=first.code == 0)
        store, outputs = scene.work / "store", scene.work / "outputs"
        faults += unlike(whole, entries(store))
        faults += [("doubled", f"left behind: {path}") for path in leftovers(store, outputs)]
        if scene.outside() != outside:
            faults.append(("outside", "files that are none of its business changed"))
        full = int(first.code != 0)
        return {"faults": faults, "about": {"full": full, "had room": 1 - full}}
