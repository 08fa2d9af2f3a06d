"""Measures the time that a sweep saves, its result after kills, and the speed of a search.

python -m tools.bench_sweep                       make bench-sweep
python -m tools.bench_sweep grid                  one part of it
    apart    every point alone with an empty store, one start per point
    grid     the same points as one sweep, two at a time; its time over the time of `apart`
    kills    the sweep again in a new store, killed with SIGKILL three times, compared with `grid`
    windows  the loss at each length: FP32 at every length, against the best length
    search   Optuna on the grid's store: the found part of the grid's front after half the points

Writes `docs/results/sweep.json`. `search` reads the files of `grid` in the benchmark's folder.
"""

from __future__ import annotations

import itertools
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tools.results import measure

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "sweep.json"
COMMAND = "make bench-sweep"
PLACE = Path(tempfile.gettempdir(), "luthier-bench-sweep")
RECIPE = ("recipe=cpu_fp32", "calibration=synthetic")
LENGTHS, PRECISIONS = (22050, 44100, 88200, 176400), ("fp32", "fp16", "int8", "w8a16")
SWEPT = (
    f"chunker.length={','.join(map(str, LENGTHS))}",
    f"precision={','.join(PRECISIONS)}",
)
BESIDE = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


def luthier(*arguments: str) -> list[str]:
    """Return the command line of one start."""
    return [sys.executable, "-m", "core", *arguments]


def run(*arguments: str) -> float:
    """Run one command to its end; returns its time in seconds."""
    started = time.perf_counter()
    subprocess.run(luthier(*arguments), check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # our own
    return time.perf_counter() - started


def fresh(name: str) -> Path:
    """Return an empty folder."""
    shutil.rmtree(PLACE / name, ignore_errors=True)
    (PLACE / name).mkdir(parents=True)
    return PLACE / name


def at(folder: Path) -> tuple[str, str]:
    """Return the arguments that keep all files of a start in `folder`."""
    return f"store={folder / 'store'}", f"output={folder / 'out'}"


def apart() -> Iterator[dict[str, Any]]:
    """Run every point alone; no point uses a result of another point."""
    for length, precision in itertools.product(LENGTHS, PRECISIONS):
        folder = fresh("apart")
        point = (f"chunker.length={length}", f"precision={precision}")
        yield {
            "length": length,
            "precision": precision,
            "seconds": run(*RECIPE, *point, *at(folder)),
        }


def grid() -> Iterator[dict[str, Any]]:
    """Run all points as one sweep, and count the runs of every step."""
    folder = fresh("grid")
    seconds = run("-m", *RECIPE, *SWEPT, *BESIDE, *at(folder))
    alone = [row["seconds"] for row in json.loads(RESULTS.read_text())["apart"]["rows"]]
    yield {
        "seconds": seconds,
        "apart_seconds": sum(alone),
        "ratio": seconds / sum(alone),
        **steps(folder),
    }


def steps(folder: Path) -> dict[str, Any]:
    """Return how often every step ran, and the steps that ran twice for a key."""
    points = record(folder)["points"]
    ran = Counter(name for point in points for name in point["ran"])
    keys = Counter(p.parent.parent.name for p in (folder / "store").glob("*/*/artifact.json"))
    return {
        "done": sum(point["status"] == "done" for point in points),
        "ran": dict(ran),
        "ran_twice": sorted(name for name in ran if ran[name] > keys[name]),
    }


def record(folder: Path) -> dict[str, Any]:
    """Return the record of the sweep in a folder."""
    (file,) = (folder / "out").glob("*/sweep-*/sweep.json")
    return dict(json.loads(file.read_text()))


def kills() -> Iterator[dict[str, Any]]:
    """Kill the sweep three times at random moments, and let the fourth start finish."""
    folder, source = fresh("kills"), random.Random(5)  # noqa: S311  # moments, not secrets
    moments = []
    for _ in range(3):
        moments.append(source.uniform(15, 50))
        process = subprocess.Popen(  # noqa: S603  # our own
            luthier("-m", *RECIPE, *SWEPT, *BESIDE, *at(folder)), stdout=subprocess.DEVNULL
        )
        time.sleep(moments[-1])
        assert process.poll() is None, "the sweep ended before it was killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
    seconds = run("-m", *RECIPE, *SWEPT, *BESIDE, *at(folder))
    whole, cut = (table(record(PLACE / name)["points"]) for name in ("grid", "kills"))
    made = Counter(p.parent.parent.name for p in (folder / "store").glob("*/*/artifact.json"))
    before = table(record(folder)["points"], timed=True)
    run("-m", *RECIPE, *SWEPT, *BESIDE, *at(folder))
    yield {
        "killed_after_s": moments,
        "last_start_s": seconds,
        "entries": dict(made),
        "same_as_uninterrupted": whole == cut,
        "same_when_started_again": before == table(record(folder)["points"], timed=True),
    }


def table(points: Sequence[dict[str, Any]], *, timed: bool = False) -> list[Any]:
    """Return the table of points; `timed` includes times and memory, which every sweep measures."""
    measured = {"latency", "real_time_factor", "time_per_input", "cold_start", "memory"}
    return [
        [
            point["values"],
            point["status"],
            {
                name: round(value, 3)
                for name, value in point["figures"].items()
                if timed or name not in measured
            },
        ]
        for point in points
    ]


def windows() -> Iterator[dict[str, Any]]:
    """Yield the figures of FP32 at every length: the mean SDR, and the worst stem's loss."""
    folder = fresh("windows")
    run("-m", *RECIPE, SWEPT[0], "contract.max_sdr_drop_db=0.1", *at(folder))
    found = record(folder)
    for point in found["points"]:
        figures = point["figures"]
        yield {
            "length": int(point["values"]["chunker.length"]),
            "status": point["status"],
            "sdr": figures["sdr"],
            "worst_sdr_drop": figures["sdr_drop"],
            "real_time_factor": figures["real_time_factor"],
            "spread": point["spreads"]["real_time_factor"],
            "under_load": bool(point["load"] and point["load"]["heavy"]),
            "against": [text for text in found["notices"] if "compared with FP32" in text],
        }


def search() -> Iterator[dict[str, Any]]:
    """Search half of the grid's points, with three seeds, by Luthier's sampler and by Optuna's."""
    points = record(PLACE / "grid")["points"]
    front = {tuple(p["values"].values()) for p in points if p["front"]}
    half = len(points) // 2
    for sampler, seed in itertools.product(("front", "gp"), (0, 1, 2)):
        folder = fresh(f"search-{sampler}-{seed}")
        options = {"sampler": sampler, "seed": seed, "n_trials": half}
        run(
            "-m", *RECIPE, *SWEPT, f"store={PLACE / 'grid' / 'store'}", f"output={folder / 'out'}",
            "reporter=[json]", "hydra/sweeper=optuna",
            *(f"hydra.sweeper.{key}={value}" for key, value in options.items()),
        )  # fmt: skip
        ran = {tuple(p["values"].values()) for p in record(folder)["points"]}
        yield {
            "sampler": sampler,
            "seed": seed,
            "points": len(ran),
            "of": len(points),
            "front_found": len(front & ran),
            "front": len(front),
        }


if __name__ == "__main__":
    measure(
        RESULTS,
        COMMAND,
        {"apart": apart, "grid": grid, "kills": kills, "windows": windows, "search": search},
        sys.argv[1:],
    )
