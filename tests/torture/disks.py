"""Fills disks: store, outputs or temporary files on a disk of 4 kB to 60 MB that is too small.

A command on a full disk ends with its own exit code and one message that says so, or with its whole
result. Then the disk grows and the same command runs again. Its result must equal the result of an
undisturbed command: no half-written file is used, and nothing is there twice.
"""

from __future__ import annotations

import random
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.torture.compared import differences, same, unlike
from tests.torture.forks import Ended, command, each, left_of, warm
from tests.torture.namespaces import mounted, own_mounts, resize, why_not
from tests.torture.scene import COMMANDS, Scene, entries, leftovers, results, tracebacks
from tests.torture.tally import Tally

__all__ = ["torture"]

LIMIT_S = 300
SMALLEST, LARGEST = 4096, 60_000_000
ROOM = 400_000_000
#: The folders of a command that are on the small disk.
PLACES = (("store",), ("outputs",), ("tmp",), ("store", "outputs", "tmp"))
#: The command that fills a disk of megabytes: the small HTDemucs on two seconds of music.
REAL = ("recipe=cpu_fp32", "dataset.seconds=2", "measure.budget_windows=1")
#: One case in so many is the real command.
REAL_EACH = 12
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
    """Run commands on `count` full disks."""
    tally = Tally("disks")
    reason = why_not()
    if reason:
        tally.about["skipped"] = reason
        return tally
    warm("numpy", "safetensors.numpy", "onnxruntime", "torch", "soundfile", "scipy.signal", "onnx")
    wholes: dict[str, Any] = {}
    kinds = (*COMMANDS, "real")
    for kind, whole in each(_undisturbed, (*kinds, *kinds), limit_s=LIMIT_S * 2):
        if isinstance(whole, Ended):
            raise SystemExit(f"torture: the undisturbed {kind} does not end well: {whole}")
        wholes[kind] = same(wholes.get(kind, whole), whole)
    disks = list(_disks(count, seed, wholes))
    for (disk, _), answer in each(
        _filled, [(d, wholes[d.kind]) for d in disks], limit_s=LIMIT_S * 2
    ):
        if isinstance(answer, Ended):
            tally.case(str(disk), answer)
        else:
            tally.count(**answer["about"])
            tally.case(str(disk), answer["faults"])
    return tally


def _disks(count: int, seed: int, wholes: dict[str, Any]) -> Iterator[Disk]:
    """Yield disks of all sizes up to the need of the command."""
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
    """Return the results of a command, and the bytes that it needs at each place."""
    own_mounts()
    with ExitStack() as until:
        folder = until.enter_context(tempfile.TemporaryDirectory(prefix="luthier-torture-"))
        scene = Scene(Path(folder)).prepare()
        for place in ("store", "outputs", "tmp"):
            (scene.work / place).mkdir(exist_ok=True)
            until.enter_context(mounted(scene.work / place, ROOM))
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
    return command(arguments, scene.work, scene.environment(), limit_s=LIMIT_S)


def _filled(case: tuple[Disk, dict[str, Any]]) -> dict[str, Any]:
    """Run on a small disk, let the disk grow, run again, and return the faults."""
    disk, whole = case
    own_mounts()
    with ExitStack() as until:
        folder = until.enter_context(tempfile.TemporaryDirectory(prefix="luthier-torture-"))
        scene, small = Scene(Path(folder)).prepare(), Path(folder) / "small"
        small.mkdir()
        until.enter_context(mounted(small, disk.size))
        (scene.work / "tmp").rmdir()
        for place in ("store", "outputs", "tmp"):
            on = small if place in disk.places else Path(folder) / "large"
            (on / place).mkdir(parents=True)
            (scene.work / place).symlink_to(on / place)
        outside = scene.outside()
        faults, full = _first(disk, whole, scene)
        resize(small, ROOM)
        faults += _second(disk, whole, scene, twice=not full)
        if scene.outside() != outside:
            faults.append(("outside", "files that are none of its business changed"))
        return {"faults": faults, "about": {"full": int(full), "had room": int(not full)}}


def _first(disk: Disk, whole: dict[str, Any], scene: Scene) -> tuple[list[tuple[str, str]], bool]:
    """Run on the small disk; returns the faults, and whether the disk was too small."""
    ended = _run(disk.kind, scene)
    faults = [("tracebacks", seen) for seen in tracebacks(ended.said)]
    if ended.code is None:
        faults.append(("hanging", "on the full disk"))
    elif ended.code == 0:
        # The disk was large enough, or the failed part is no part of the result.
        faults += differences(whole, results(scene.work / "outputs"))
    elif not FULL.search(ended.said):
        faults.append(("tracebacks", f"does not say that the disk is full: {ended.said[-300:]}"))
    elif "is missing from" in ended.said:
        # The result is complete, and only a report is missing, as the command says.
        wanted = {"results": _unreported(whole["results"])}
        faults += differences(wanted, _unreported(results(scene.work / "outputs")))
        for folder in (scene.work / "outputs").iterdir():
            shutil.rmtree(folder)
    faults += [("hanging", f"left running: {name}") for name in left_of(scene.work)]
    return faults, ended.code != 0


def _unreported(results_of: Iterable[tuple[str, dict[str, str]]]) -> list[Any]:
    """Return results without the metrics of a report."""
    return [
        (kind, {name: of for name, of in files.items() if name != "metrics"})
        for kind, files in results_of
    ]


def _second(
    disk: Disk, whole: dict[str, Any], scene: Scene, *, twice: bool
) -> Iterator[tuple[str, str]]:
    """Run again with enough room, and yield the faults."""
    ended = _run(disk.kind, scene)
    yield from (("tracebacks", seen) for seen in tracebacks(ended.said))
    if ended.code != 0:
        column = "hanging" if ended.code is None else "lost"
        yield column, f"with room again: {ended.code}: {ended.said[-300:]}"
    store, outputs = scene.work / "store", scene.work / "outputs"
    yield from differences(whole, results(outputs), twice=twice)
    yield from unlike(whole, entries(store))
    yield from (("doubled", f"left behind: {path}") for path in leftovers(store, outputs))
