"""Kills commands at their file operations, and at their requests to a store at a URL.

After each kill the same command runs to its end. Its results must be byte for byte those of an
undisturbed command, each result once. No staged file may be left, no step that finished before the
kill may be made again, no process may outlive the command, and no other file may change.
"""

from __future__ import annotations

import random
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.torture.bucket import Bucket
from tests.torture.compared import differences, same, unlike
from tests.torture.forks import Ended, command, each, left_of, warm
from tests.torture.scene import COMMANDS, Scene, entries, leftovers, results, tracebacks
from tests.torture.tally import Tally

__all__ = ["torture"]

KINDS = (*COMMANDS, "url")
LIMIT_S = 180
#: The share of the kills for each command, at its file operations (False) or requests (True). A
#: sweep takes as long as three runs, and after a kill at a URL the lease of the dead must run out.
SHARES = {
    ("run", False): 0.3,
    ("batch", False): 0.25,
    ("sweep", False): 0.15,
    ("url", False): 0.1,
    ("url", True): 0.2,
}
LANES = 4
#: One case in so many runs in new Pythons instead of copies of a warm one.
FRESH = 10


@dataclass(frozen=True)
class Kill:
    """One kill: the command, the operation, and whether all its processes die at once."""

    kind: str
    at: int
    group: bool
    fresh: bool
    request: bool = False

    def __str__(self) -> str:
        whom = "all processes" if self.group else "the process"
        return f"{self.kind}, {whom} at {'request' if self.request else 'operation'} {self.at}"


def torture(count: int, seed: int) -> Tally:
    """Kill `count` times, spread over the commands and over all operations of each."""
    warm("s3fs", "aiobotocore.session", "moto.server", "numpy", "safetensors.numpy")
    tally = Tally("kills")
    wholes: dict[str, Any] = {}
    for kind, whole in each(_undisturbed, (*KINDS, *KINDS), limit_s=LIMIT_S):
        if isinstance(whole, Ended):
            raise SystemExit(f"torture: the undisturbed {kind} does not end well: {whole}")
        wholes[kind] = same(wholes.get(kind, whole), whole)
    for kind, whole in wholes.items():
        tally.about[f"operations of {kind}"] = whole["operations"]
        if kind == "url":
            tally.about["requests of url"] = whole["requests"]
    cases = list(_kills(count, seed, wholes))
    # Cases that wait for leases are spread among cases that compute.
    random.Random(seed).shuffle(cases)  # noqa: S311  # chooses an order, guards nothing
    for (kill, _), answer in each(
        _killed, [(k, wholes[k.kind]) for k in cases], limit_s=LIMIT_S * 3, lanes=LANES
    ):
        if isinstance(answer, Ended):
            tally.case(str(kill), answer)
            continue
        tally.count(**answer["about"])
        tally.case(str(kill), answer["faults"])
    return tally


def _kills(count: int, seed: int, wholes: dict[str, Any]) -> Iterator[Kill]:
    """Yield kills at evenly spread operations, each shifted at random by the seed."""
    draw = random.Random(seed)  # noqa: S311  # chooses cases, guards nothing
    number = 0
    for (kind, request), part in SHARES.items():
        share = max(1, round(count * part))
        last = wholes[kind]["requests" if request else "operations"]
        for n in range(share):
            at = 1 + int((n + draw.random()) * last / share)
            yield Kill(kind, min(at, last), number % 2 == 0, number % FRESH == FRESH - 1, request)
            number += 1


def _undisturbed(kind: str) -> dict[str, Any]:
    """Return a command's results, its number of operations, and its entries in the store."""
    folder = Path(tempfile.mkdtemp(prefix="luthier-torture-"))
    try:
        scene = Scene(folder).prepare()
        with _place(kind, scene) as place:
            trapped = place.trapped()
            ended = command(place.arguments, scene.work, trapped, trap=True, limit_s=LIMIT_S)
            assert ended.code == 0, ended
            return {
                "operations": (folder / "count").stat().st_size,
                "requests": place.requests(),
                "results": results(scene.work / "outputs"),
                "entries": {name: files for name, (_, files) in place.entries().items()},
            }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _killed(case: tuple[Kill, dict[str, Any]]) -> dict[str, Any]:
    """Kill once, run again, and return the faults."""
    kill, whole = case
    folder = Path(tempfile.mkdtemp(prefix="luthier-torture-"))
    try:
        scene = Scene(folder).prepare()
        with _place(kill.kind, scene) as place:
            return _compared(kill, whole, scene, place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _compared(kill: Kill, whole: dict[str, Any], scene: Scene, place: _Place) -> dict[str, Any]:
    faults: list[tuple[str, str]] = []
    outside = scene.outside()
    first = place.killed(kill)
    faults += [("tracebacks", seen) for seen in tracebacks(first.said)]
    if first.code is None:
        faults.append(("hanging", "the command that was to be killed"))
    died = first.code == -signal.SIGKILL
    faults += [("hanging", f"left running: {name}") for name in left_of(scene.work)]
    before = place.entries()
    second = command(
        place.arguments, scene.work, place.environment, limit_s=LIMIT_S, fresh=kill.fresh
    )
    faults += [("tracebacks", seen) for seen in tracebacks(second.said)]
    if second.code is None:
        faults.append(("hanging", "the command after it"))
    elif second.code != 0:
        faults.append(("lost", f"ended with {second.code}: {second.said[-300:]}"))
    faults += [("hanging", f"left running afterwards: {name}") for name in left_of(scene.work)]
    faults += differences(whole, results(scene.work / "outputs"), twice=died)
    after = place.entries()
    faults += unlike(whole, after)
    for name, (made, files) in before.items():
        if "not whole" not in files and after.get(name, (made,))[0] != made:
            faults.append(("doubled", f"made again though it was finished: {name}"))
    faults += [("doubled", f"left behind: {path}") for path in place.leftovers()]
    if scene.outside() != outside:
        faults.append(("outside", "files that are none of its business changed"))
    return {"faults": faults, "about": {"killed": int(died), "survived": int(not died)}}


class _Place:
    """The folders of a command of one kind, and its kill."""

    def __init__(self, kind: str, scene: Scene, bucket: Bucket | None) -> None:
        self._scene, self._bucket = scene, bucket
        store = bucket.url if bucket else "store"
        said = COMMANDS["run" if bucket else kind]
        self.arguments = [*said, f"store={store}", "output=outputs"]
        self.environment = scene.environment(**(bucket.environment if bucket else {}))

    def trapped(self, kill: Kill | None = None) -> dict[str, str]:
        """Return the variables that count operations and set the operation of the kill."""
        return {
            **self.environment,
            "LUTHIER_KILL_ROOTS": str(self._scene.work),
            "LUTHIER_KILL_COUNT": str(self._scene.folder / "count"),
            "LUTHIER_KILL_AT": str(kill.at if kill else 0),
            "LUTHIER_KILL_GROUP": "1" if kill and kill.group else "",
        }

    def killed(self, kill: Kill) -> Ended:
        """Run the command up to its kill."""
        if kill.request:
            assert self._bucket is not None
            self._bucket.kill_at(kill.at)
            started = self._bucket.watch
            environment = self.environment
        else:
            started, environment = None, self.trapped(kill)
        return command(
            self.arguments, self._scene.work, environment, trap=not kill.request, fresh=kill.fresh,
            started=started, limit_s=LIMIT_S,
        )  # fmt: skip

    def requests(self) -> int:
        """Return the number of requests to the store at a URL."""
        return self._bucket.requests() if self._bucket else 0

    def entries(self) -> dict[str, tuple[str, dict[str, str]]]:
        """Return the entries of the store on this machine."""
        return entries(self._stores()[0]) if self._stores() else {}

    def _stores(self) -> list[Path]:
        if self._bucket is None:
            return [self._scene.work / "store"]
        return sorted((self._scene.work / "cache" / "luthier" / "remotes").glob("*"))

    def leftovers(self) -> list[str]:
        """Return the remains of the killed command, on the disk and at the URL."""
        here = leftovers(*self._stores(), self._scene.work / "outputs")
        return here + (self._bucket.leftovers() if self._bucket else [])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._bucket:
            self._bucket.close()


def _place(kind: str, scene: Scene) -> _Place:
    return _Place(kind, scene, Bucket() if kind == "url" else None)
