"""Takes many small networks through every installed exporter, quantizer and runtime.

python -m tools.coverage                  everything small (make bench-coverage)
python -m tools.coverage 'light_*'        the large models of the onnx package; takes hours
python -m tools.coverage lstm 'resize_*'  only networks with such names; other results stay

Writes `docs/results/coverage.json`, from which `make docs` writes `docs/coverage.md`.
`--processes=2` sets the number of networks at a time, `--out=FILE` the file of the results;
`--missing` continues a stopped sweep.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from fnmatch import fnmatchcase
from pathlib import Path

from core.config.discovery import discover
from tools.coverage.cells import Cell, Chain
from tools.coverage.modules import MODULES
from tools.coverage.onnx_models import onnx_models
from tools.coverage.results import RESULTS, merged, read, written
from tools.coverage.sweep import sweep

#: Large networks calibrate on few windows, and may take long.
LARGE = "light_*"


def chains() -> list[Chain]:
    """Return every network with every exporter."""
    found = [
        Chain(case, exporter)
        for case in MODULES
        for exporter in ("onnx", "onnx_dynamo", "torch_export")
    ]
    for model in onnx_models():
        large = fnmatchcase(model.name, LARGE)
        found.append(Chain(model, windows=4, limit_s=600) if large else Chain(model))
    return found


def _wanted(name: str, names: list[str]) -> bool:
    """Return whether a network is one of `names`; the large ones only if they are named."""
    if not names:
        return not fnmatchcase(name, LARGE)
    return any(fnmatchcase(name, pattern) for pattern in names)


def main(arguments: list[str]) -> None:
    """Sweep the wanted networks, and write every cell at once."""
    parser = argparse.ArgumentParser(prog="python -m tools.coverage")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--missing", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    old = read(given.out)
    done = {(cell.model, cell.exporter, cell.precision) for cell in old} if given.missing else set()
    wanted = [
        chain
        for chain in chains()
        if _wanted(chain.subject.name, given.names)
        and (chain.subject.name, chain.exporter, chain.precisions[-1]) not in done
    ]
    broken = [one for one in discover().broken if one.ours]
    if broken:
        raise SystemExit(f"a plugin of the box is broken: {broken[0].why}")
    started, new = time.monotonic(), list[Cell]()

    def told(cell: Cell) -> None:
        new.append(cell)
        figure = "" if cell.snr_db is None else f"{cell.snr_db:.1f} dB "
        print(
            f"{cell.model}/{cell.exporter} {cell.precision}: {cell.verdict} {figure}{cell.reason}",
            flush=True,
        )
        written(given.out, merged(old, new), time.monotonic() - started)

    sweep(wanted, given.processes, told, Path(os.devnull))


if __name__ == "__main__":
    main(sys.argv[1:])
