"""Flips single bits at random places in all files below a store, and in a sweep's records.

Each flip must be reported, and its entry made again: no result and no report may differ.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.core.store.test_flips import figures
from tests.flips import Told, unnoticed
from tests.torture.disks import REAL
from tests.torture.forks import Ended, command, each, warm
from tests.torture.scene import COMMANDS, Scene, digests, results, tracebacks
from tests.torture.tally import Tally

__all__ = ["torture"]

#: For the store of each command: its share of the flips, and the number of flips at once.
SHARES = {"run": (0.7, 12), "sweep": (0.12, 12), "batch": (0.12, 4), "real": (0.06, 10)}
#: The flips of one case. A case takes about one run for each group of flips at once.
BATCH = 48
LIMIT_S = 600


@dataclass(frozen=True)
class Flips:
    """Some flips below the store of one command."""

    kind: str
    count: int
    at_once: int
    seed: int


def torture(count: int, seed: int) -> Tally:
    """Flip `count` bits."""
    warm("numpy", "safetensors.numpy", "onnxruntime", "torch", "soundfile", "scipy.signal", "onnx")
    tally = Tally("flips")
    cases = []
    for kind, (share, at_once) in SHARES.items():
        left = max(1, round(count * share))
        while left:
            cases.append(Flips(kind, min(left, BATCH), at_once, 1000 * seed + len(cases)))
            left -= cases[-1].count
    for case, faults in each(_flipped, cases, limit_s=LIMIT_S):
        name = f"{case.kind}, seed {case.seed}"
        tally.cases += case.count
        if isinstance(faults, Ended):
            tally.more(name, faults)
            continue
        tally.count(**{f"below the store of {case.kind}": case.count})
        tally.wrong["unnoticed"] += len(faults["unnoticed"])
        tally.examples += [f"unnoticed: {name}: {fault}" for fault in faults["unnoticed"]]
        tally.more(name, [("tracebacks", seen) for seen in faults["tracebacks"]])
    return tally


def _flipped(case: Flips) -> dict[str, list[str]]:
    """Flip below the store of one command; returns the unnoticed flips and the tracebacks."""
    with tempfile.TemporaryDirectory(prefix="luthier-torture-") as folder:
        scene = Scene(Path(folder)).prepare()
        seen: list[str] = []
        arguments = REAL if case.kind == "real" else COMMANDS[case.kind]

        def run() -> Told:
            if case.kind != "sweep":
                shutil.rmtree(scene.work / "outputs", ignore_errors=True)
            said = [*arguments, "store=store", "output=outputs"]
            ended = command(said, scene.work, scene.environment(), limit_s=LIMIT_S / 4)
            seen.extend(tracebacks(ended.said))
            code = 1 if ended.code is None else ended.code
            return Told(code, ended.said, _figures(scene.work / "outputs"))

        first = run()
        assert first.code == 0, first
        roots = [scene.work / "store", *scene.work.glob("outputs/toy/sweep-*/points")]
        found = unnoticed(roots, run, first, case.count, at_once=case.at_once, seed=case.seed)
        return {"unnoticed": found, "tracebacks": seen}


def _figures(outputs: Path) -> Any:
    """Return every report without times, and the hashes of all stems."""
    reports = sorted(outputs.rglob("report.json"))
    stems = [sorted(digests(outputs / top).items()) for top in ("toy", "cpu_fp32")]
    wanted = (".wav", "y.txt")
    kept = [sorted(d for name, d in of if name.endswith(wanted)) for of in stems]
    return [figures(json.loads(file.read_text())) for file in reports], kept, results(outputs)
