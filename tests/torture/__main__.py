"""Runs the long suite, writes its figures and a closing table; exit 1 if anything went wrong.

python -m tests.torture                        all parts
python -m tests.torture kills flips            some of them
python -m tests.torture --count 5 --seed 7     so many cases of each part, from another seed
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.torture.forks import ROOT
from tests.torture.tally import WRONG, Tally

#: Every part with its number of cases.
PARTS: Mapping[str, int] = {
    "kills": 200,
    "disks": 50,
    "concurrency": 20,
    "flips": 500,
    "songs": 500,
    "models": 200,
    "fuzz": 1000,
}
RESULTS = ROOT / "docs" / "results" / "torture.json"


def main() -> int:
    """Run the requested parts; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, help="cases of each part, instead of all")
    given = parser.parse_args()
    unknown = [part for part in given.parts if part not in PARTS]
    if unknown:
        parser.error(f"no part is named {', '.join(unknown)}; parts: {', '.join(PARTS)}")
    wanted = given.parts or list(PARTS)
    rows: list[dict[str, Any]] = []
    for part in wanted:
        count = PARTS[part] if given.count is None else min(given.count, PARTS[part])
        module = importlib.import_module(f"tests.torture.{part}")
        load = os.getloadavg()[0]
        tally: Tally = module.torture(count, given.seed)
        row = {**tally.row(), "seed": given.seed, "load_average": round(load, 1)}
        rows.append(row)
        print(part, row["cases"], {w: row[w] for w in WRONG}, f"{row['seconds']} s", flush=True)
        for example in row["examples"]:
            print("   ", example, flush=True)
        if given.count is None:  # only results of full counts are kept
            _keep(part, row)
    _show(rows)
    return int(any(row[column] for row in rows for column in WRONG))


def _keep(part: str, row: dict[str, Any]) -> None:
    """Write one part with its machine to the results; the other parts stay unchanged."""
    from tools.results import about

    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    origin = about(f"python -m tests.torture {part} --seed {row['seed']}")
    when = {"processor": _processor(), "when": time.strftime("%Y-%m-%d")}
    results[part] = {**origin, **when, "rows": [row]}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def _processor() -> str:
    """Return the name of the processor, if the system gives it."""
    about = Path("/proc/cpuinfo")
    names = about.read_text().splitlines() if about.exists() else []
    return next(
        (n.partition(":")[2].strip() for n in names if n.startswith("model name")),
        platform.processor(),
    )


def _show(rows: list[dict[str, Any]]) -> None:
    """Print the closing table."""
    head = ("part", "cases", *WRONG, "seconds")
    lines = [head, *(tuple(str(row[name]) for name in head) for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
    print()
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


if __name__ == "__main__":
    sys.exit(main())
