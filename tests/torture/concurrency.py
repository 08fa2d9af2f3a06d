"""Starts many commands at once on one store and one output folder, half of them in namespaces.

They are runs of one recipe, runs of other recipes, batches and sweeps. Half of the processes live
in their own namespaces, where process numbers begin at 1 and the name of the machine is the same:
as in containers that share a disk. Every step must run only once in all commands together.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.torture.compared import unlike
from tests.torture.forks import Ended, command, each, left_of, warm
from tests.torture.namespaces import own_processes, why_not
from tests.torture.scene import COMMANDS, Scene, digests, entries, leftovers, tracebacks
from tests.torture.tally import Tally

__all__ = ["torture"]

LIMIT_S = 300
#: Makes the quantizer take a second, so that other commands meet it while it runs.
SLOW = "quantizer.seconds=1"
#: The messages to a command whose folder is in use by another command.
BUSY = ("another run is playing this batch", "this sweep is running already")


@dataclass(frozen=True)
class Started:
    """One command: its kind, the loss in its recipe, and whether it has its own namespace."""

    number: int
    kind: str
    loss: float
    apart: bool


def torture(count: int, seed: int) -> Tally:
    """Start `count` commands at once."""
    warm("numpy", "safetensors.numpy")
    tally = Tally("concurrency")
    reason = why_not()
    if reason:
        tally.about["no namespaces"] = reason
    with tempfile.TemporaryDirectory(prefix="luthier-torture-") as folder:
        scene = Scene(Path(folder)).prepare()
        started = list(_started(count, seed, apart=not reason))

        def one(case: Started) -> dict[str, Any]:
            if case.apart:
                own_processes()
            return _run(case, scene)

        outside, ended = scene.outside(), {}
        for case, answer in each(one, started, lanes=count, limit_s=LIMIT_S):
            ended[case] = answer
            tally.case(_name(case), answer if isinstance(answer, Ended) else answer["faults"])
        tally.more("all of them", list(_together(scene, started)))
        tally.more("all of them", [("hanging", f"left: {name}") for name in left_of(scene.work)])
        if scene.outside() != outside:
            tally.more("all of them", [("outside", "files that are none of their business")])
        busy = sum(not isinstance(a, Ended) and a["busy"] for a in ended.values())
        tally.count(**{"told that the folder is taken": busy})
        tally.count(**{"in namespaces of their own": sum(case.apart for case in started)})
    return tally


def _started(count: int, seed: int, *, apart: bool) -> Iterator[Started]:
    """Yield commands: of every five, two run one recipe, one another, one a batch, one a sweep."""
    draw = random.Random(seed)  # noqa: S311  # chooses cases, guards nothing
    kinds = ("run", "run", "other", "batch", "sweep")
    for number in range(count):
        kind = kinds[number % len(kinds)]
        loss = draw.choice((0.25, 0.5)) if kind == "other" else 0
        yield Started(
            number, "run" if kind == "other" else kind, loss, apart and draw.random() < 0.5
        )


def _name(case: Started) -> str:
    return f"{case.number}, {case.kind} with loss {case.loss}{', apart' if case.apart else ''}"


def _run(case: Started, scene: Scene) -> dict[str, Any]:
    more = [f"quantizer.loss={case.loss}"] if case.loss else []
    said = [*COMMANDS[case.kind], *more, SLOW, "store=store", "output=outputs"]
    folder = scene.folder / "said" / str(case.number)
    ended = command(said, scene.work, scene.environment(), limit_s=LIMIT_S, says=folder)
    faults = [("tracebacks", seen) for seen in tracebacks(ended.said)]
    busy = ended.code != 0 and any(told in ended.said for told in BUSY)
    if ended.code is None:
        faults.append(("hanging", "no end"))
    elif ended.code != 0 and not (busy and case.kind != "run"):
        faults.append(("lost", f"ended with {ended.code}: {ended.said[-300:]}"))
    return {"faults": faults, "busy": busy}


def _together(scene: Scene, started: Sequence[Started]) -> Iterator[tuple[str, str]]:
    """Yield the faults in the files of all commands together."""
    reports = [json.loads(f.read_text()) for f in scene.work.glob("outputs/toy/*/report.json")]
    points = [
        json.loads(f.read_text()) for f in scene.work.glob("outputs/toy/sweep-*/*/report.json")
    ]
    runs = sum(case.kind == "run" for case in started)
    if len(reports) != runs:
        yield "lost" if len(reports) < runs else "doubled", f"{len(reports)} folders of {runs} runs"
    yield from _once(reports + points)
    stems: dict[Any, set[str]] = defaultdict(set)
    for file in [
        *scene.work.glob("outputs/toy/*/report.json"),
        *scene.work.glob("outputs/toy/*/*/report.json"),
    ]:
        loss = _options(json.loads(file.read_text()))
        stems[loss] |= {d for n, d in digests(file.parent).items() if n.endswith("/y.txt")}
    for loss, found in stems.items():
        if len(found) != 1:
            yield "lost", f"{len(found)} different results of loss {loss}"
    store = scene.work / "store"
    yield from unlike({"stable": {}, "entries": entries(store)}, entries(store))
    for folder in scene.work.glob("outputs/toy/batch-*"):
        missing = 5 - len([*folder.rglob("y.txt")])
        if missing:
            yield "lost", f"{missing} songs of the batch"
    left = leftovers(store, scene.work / "outputs")
    yield from (("doubled", f"left behind: {path}") for path in left)


def _options(report: dict[str, Any]) -> Any:
    return next(s["options"]["loss"] for s in report["stages"] if s["name"] == "quantizer")


def _once(reports: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the steps that ran more than once; its name and the recipe's loss identify a step."""
    ran: Counter[tuple[str, Any]] = Counter()
    made: dict[tuple[str, Any], set[str]] = defaultdict(set)
    for report in reports:
        loss: Any = None
        for stage in report["stages"]:
            if stage["name"] == "quantizer":
                loss = stage["options"]["loss"]
            if not stage.get("artifact"):
                continue
            step = stage["name"], loss
            ran[step] += stage["status"] == "ran"
            made[step].add(stage["artifact"]["sha256"])
    for step, times in ran.items():
        if times > 1:
            yield "doubled", f"{step} ran {times} times"
        if len(made[step]) > 1:
            yield "doubled", f"{step} has {len(made[step])} results"
