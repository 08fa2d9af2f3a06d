"""Measures every engine with one model on this machine: nearness, times in turn, cold start, size.

python -m tools.bench_engines                            the bundled model, 1 s (make bench-engines)
python -m tools.bench_engines --model full --seconds 7.8
python -m tools.bench_engines --only 'openvino/*'        only these rows; other rows stay unchanged

Writes `docs/results/engines.json`, from which `make docs` writes the tables of `docs/engines.md`.
The full-size HTDemucs has random weights: neither times nor sizes depend on them. Each row is a
recipe that a person could run. Its conversion goes through the store (`--store`), and its session
is opened by its runtime. If an engine is not installed, its row has the command that installs it;
`--only` adds its figures from an environment that has it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from core.config.compose import register
from core.config.discovery import discover
from core.config.recipes import read_recipes
from core.machine.machine_load import Watch, facts_of
from core.store.locate import open_store
from tools.engine_series import Engine, Workshop, series
from tools.results import about

__all__ = ["ENGINES", "merged"]

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "engines.json"
COMMAND, WITH_OPTIONS = "make bench-engines", "python -m tools.bench_engines"
CPUS = Path("/proc/cpuinfo")
#: The length of a window by its duration in seconds: the layouts for NPUs need multiples of 4,096.
LENGTHS = {"1": 45_056, "7.8": 344_064}
#: The weights of each model: `random` ones are those of the full-size network.
WEIGHTS = {"bundled": "bundled", "full": "random"}
#: What all others are compared with. It runs in every series, also in one that is for other rows.
BASE = "torch/fp32"
DEFAULTS: dict[str, Any] = {"model": "bundled", "seconds": "1", "rounds": 12, "only": ["*"]}
EAGER = ("~exporter", "graph=[]", "runtime=torch")
COMPILED = ("runtime=torch", "runtime.compile=true")
ON_CPU = ("auto=false", "target=cpu", "runtime=onnxruntime")

ENGINES = (
    Engine("torch", "fp32", "cpu_fp32", EAGER),
    Engine(
        "torch", "autocast_bf16", "cpu_fp32", (*EAGER, "target=torch", "precision=autocast_bf16")
    ),
    *(
        Engine(
            "torch_compiled", precision, "cpu_torch_compiled", (*COMPILED, f"precision={precision}")
        )
        for precision in ("fp32", "autocast_bf16")
    ),
    *(
        Engine("torch_aot", precision, "cpu_torch_compiled", (f"precision={precision}",))
        for precision in ("fp32", "bf16")
    ),
    *(
        Engine("onnxruntime", precision, "auto", (*ON_CPU, f"precision={precision}"))
        for precision in ("fp32", "int8", "dynamic")
    ),
    Engine("onnxruntime_webgpu", "fp32", "cpu_fp32", ("runtime.provider=webgpu",)),
    Engine("openvino", "fp32", "openvino_fp32"),
    Engine("openvino", "bf16", "openvino_bf16"),
    Engine("openvino", "a8w8", "openvino_int8"),
    Engine("openvino", "nncf_int8", "openvino_nncf"),
    Engine("openvino", "nncf_controlled", "openvino_nncf", ("precision=nncf_controlled",)),
    Engine("tensorrt", "fp16", "tensorrt_fp16"),
    Engine("tensorrt", "int8", "tensorrt_int8"),
    Engine("qnn_s24", "fp16", "s24_fp16"),
    Engine("qnn_s24", "int8", "s24_int8"),
    Engine("qnn_s24", "w8a16", "s24_w8a16"),
)


def merged(
    old: Mapping[str, Any], when: str, origin: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the results of one model and length with new rows, in the order of `ENGINES`.

    Rows that were not measured now stay, each with the series that it was timed in. A series that
    no row is from any more is dropped.
    """
    kept = {row["name"]: row for row in old.get("rows", [])}
    kept |= {row["name"]: {**row, "series": when} for row in rows}
    ordered = [kept[engine.name] for engine in ENGINES if engine.name in kept]
    origins = {**old.get("series", {}), when: dict(origin)}
    used = {row["series"] for row in ordered}
    return {"series": {k: v for k, v in origins.items() if k in used}, "rows": ordered}


def words(model: str, seconds: str) -> tuple[str, ...]:
    """Return the overrides that every row of a model and a length has."""
    return (
        f"model.weights={WEIGHTS[model]}",
        f"chunker.length={LENGTHS[seconds]}",
        "measure.budget_windows=2",
    )


#: Instructions that decide on which kernels engines have, as Linux names them.
MULTIPLIERS = ("amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni", "avx512f", "avx2")


def processor() -> str:
    """Return the processor by its vendor's name, with what it multiplies in, if the system says."""
    lines = CPUS.read_text(encoding="utf-8").splitlines() if CPUS.exists() else []
    said = {key.strip(): value.strip() for key, _, value in (x.partition(":") for x in lines)}
    able = set(said.get("flags", "").split())
    found = [name.upper() for name in MULTIPLIERS if name in able][:2]
    name = said.get("model name", "") or platform.processor() or platform.machine()
    return f"{name} with {' and '.join(found)}" if found else name


def command(given: argparse.Namespace) -> str:
    """Return the command of a measurement, without places on this machine."""
    options = {"model": given.model, "seconds": given.seconds, "rounds": given.rounds}
    said = [f"--{name} {value}" for name, value in options.items() if value != DEFAULTS[name]]
    if given.only != DEFAULTS["only"]:
        said.append(f"--only {' '.join(map(repr, given.only))}")
    return " ".join((WITH_OPTIONS, *said)) if said else COMMAND


def main() -> None:
    """Measure the wanted rows in one series, and write them into the file of the results."""
    parser = argparse.ArgumentParser(prog=WITH_OPTIONS)
    parser.add_argument("--model", choices=WEIGHTS)
    parser.add_argument("--seconds", choices=LENGTHS)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--only", nargs="+", metavar="ENGINE/PRECISION")
    parser.add_argument("--store", help="a folder that keeps what was converted")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.set_defaults(**DEFAULTS)
    given = parser.parse_args()
    wanted = [e.name for e in ENGINES if any(fnmatchcase(e.name, only) for only in given.only)]
    if not wanted:
        names = ", ".join(engine.name for engine in ENGINES)
        parser.error(f"--only matches no row; there are: {names}")
    registry = discover()
    recipes = read_recipes(registry.recipes)
    register(registry, recipes)
    run = [engine for engine in ENGINES if engine.name in (*wanted, BASE)]
    with tempfile.TemporaryDirectory() as scratch:
        store = open_store(given.store or str(Path(scratch) / "store"))
        shop = Workshop(registry, recipes, store, Path(scratch))
        made = [shop.build(engine, words(given.model, given.seconds)) for engine in run]
        watch, before = Watch(), os.getloadavg()[0]
        rows = series(made, given.rounds, BASE, Path(scratch))
        load = facts_of(watch.load())
    origin = {
        **about(command(given)),
        "processor": processor(),
        **load,
        "load_average": [round(before, 2), round(os.getloadavg()[0], 2)],
        "rounds": given.rounds,
    }
    results = json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else {}
    part = f"{given.model} {given.seconds}"
    when = datetime.now(UTC).isoformat(timespec="seconds")
    new = [row for row in rows if row["name"] in wanted]
    results[part] = merged(results.get(part, {}), when, origin, new)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
