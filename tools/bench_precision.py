"""Measures every precision of the bundled model: size, SNR, lost SDR, latency, acceptance.

There are two sets of songs: three generated songs, and the pieces of `tools.real_music` where their
packages are installed.

python -m tools.bench_precision                   everything (make bench-precision)
python -m tools.bench_precision onnx accepted     only these parts; other parts stay unchanged

Writes `docs/results/precision.json`, from which `make docs` writes the tables of
`docs/precision.md`. Every part is a command that a person could type, so it measures a person's
results. No precision breaks its contract, so that `auto` tries and times every precision.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tools import real_music
from tools.results import measure

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "precision.json"
COMMAND = "make bench-precision"
#: Seeds of songs that neither training nor calibration has used, and the length of the songs.
SONGS = ("dataset.seed=0", "dataset.count=3", "dataset.seconds=24")
#: For 16-bit floats on PyTorch: a processor without such floats takes twenty times as long.
SHORT = ("dataset.seed=0", "dataset.count=1", "dataset.seconds=6")
#: The precisions that ONNX Runtime plays, and those that PyTorch plays in a bearable time.
ONNX = ("fp16", "int8", "a8w8", "qat", "mixed", "w8a16", "w4a16", "dynamic")
TORCH = ("torch_int8", "torch_dynamic")
OPEN = ("auto=true", "contract.min_snr_db=-200", "contract.max_sdr_drop_db=200")
UNBOUND = ("contract.min_snr_db=null", "contract.max_sdr_drop_db=null")
#: The length of a window in the S24's recipes.
LENGTH = 90_112


def run(store: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Luthier with `arguments`; returns the finished process with its messages."""
    command = [sys.executable, "-m", "core", *arguments, f"store={store}"]
    return subprocess.run(command, check=False, text=True, stderr=subprocess.PIPE)  # noqa: S603  # our own


def tried(store: Path, songs: tuple[str, ...], *arguments: str) -> list[dict[str, Any]]:
    """Return a row for every precision that the target of a recipe runs."""
    with tempfile.TemporaryDirectory() as output:
        done = run(store, *arguments, *songs, *OPEN, f"output={output}")
        if done.returncode:
            raise SystemExit(done.stderr)
        (file,) = Path(output).rglob("report.json")
        report = json.loads(file.read_text())
    rows = []
    for result in report["candidates"]:
        judged = {one["name"]: one["value"] for one in result["contract"]}
        rows.append({
            "precision": result["precision"], "status": result["status"], "why": result["why"],
            "bytes": result["bytes"], "snr_db": result["snr_db"],
            "sdr_drop_db": judged.get("max_sdr_drop_db"), "seconds": result["rank"],
            "device": report["played_on"], "songs": list(songs),
        })  # fmt: skip
    return rows


def on_onnx(store: Path) -> Iterator[dict[str, Any]]:
    """Play every precision with ONNX Runtime, and time the precisions in turn."""
    yield from tried(store, SONGS, "recipe=auto", "target=cpu")


def on_torch(store: Path) -> Iterator[dict[str, Any]]:
    """Play the programs that PyTorch quantises, and time them in turn with the exported program."""
    integers = "target.precisions=[fp32,torch_int8,torch_dynamic]"
    yield from tried(store, SONGS, "recipe=cpu_torch_int8", integers)
    halves = tried(
        store, SHORT, "recipe=cpu_torch_int8", "target.precisions=[fp32,bf16,torch_fp16]"
    )
    # Each row keeps the time of the FP32 program from the same series.
    (base,) = (row["seconds"] for row in halves if row["precision"] == "fp32")
    yield from (row | {"base_seconds": base} for row in halves if row["precision"] != "fp32")


def on_generated(store: Path) -> Iterator[dict[str, Any]]:
    """Yield the losses of every precision on each of the generated songs."""
    for precision in (*ONNX, *TORCH):
        yield {"precision": precision, **lost(store, precision, *SONGS)}


def on_real(store: Path) -> Iterator[dict[str, Any]]:
    """Yield the losses of every precision on each real piece.

    Yields nothing if packages are missing: earlier figures then stay.
    """
    if packages := real_music.missing():
        install = f"apt-get install --no-install-recommends {' '.join(packages)}"
        print(
            f"real music is left out: {len(packages)} packages are missing: {install}", flush=True
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        real_music.make(Path(folder))
        for precision in (*ONNX, *TORCH):
            snr = lost(store, precision, "dataset=files", f"dataset.path={folder}/pieces")
            sdr = lost(store, precision, "dataset=musdb", f"dataset.path={folder}/stems")
            yield {"precision": precision, **snr, "sdr_drop_db": sdr["sdr_drop_db"]}


def lost(store: Path, precision: str, *songs: str) -> dict[str, Any]:
    """Play songs at a precision, and return their losses to FP32 by name of song, in dB.

    `snr_db` is the SNR of all stems together, `stem_snr_db` the SNR of the worst stem, and
    `sdr_drop_db` the mean loss over the stems, where the true stems are known.
    """
    recipe = ("recipe=cpu_torch_int8",) if precision in TORCH else ("recipe=auto", "auto=false")
    with tempfile.TemporaryDirectory() as output:
        done = run(
            store, *recipe, "target=cpu", f"precision={precision}", *songs, *UNBOUND,
            "reporter=[json]", f"output={output}",
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(done.stderr)
        (file,) = Path(output).rglob("report.json")
        return by_song(json.loads(file.read_text())["metrics"])


def by_song(metrics: list[dict[str, Any]]) -> dict[str, Any]:
    """Return SNR and lost SDR of every song, from the metrics of a report."""
    snr: dict[str, float] = {}
    stems: dict[str, float] = {}
    drop: dict[str, float] = {}
    for one in metrics:
        song, label = one["item"], one["label"]
        if one["name"] == "parity_snr" and not label:
            snr[song] = one["value"]
        elif one["name"] == "parity_snr":
            stems[song] = min(one["value"], stems.get(song, one["value"]))
        elif one["name"] == "sdr_drop" and not label:
            drop[song] = one["value"]
    return {"snr_db": snr, "stem_snr_db": stems, "sdr_drop_db": drop}


def accepted(store: Path) -> Iterator[dict[str, Any]]:
    """Ask the S24's compiler for every precision, one after the other."""
    from core.cli.listing import presets
    from core.config.discovery import discover

    conf = Path(__file__).parent.parent / "conf"
    for precision in presets(discover(), conf, "precision"):
        with tempfile.TemporaryDirectory() as output:
            done = run(
                store, "recipe=s24_fit", f"precision={precision}", f"fit.shortest={LENGTH}",
                f"fit.longest={LENGTH}", "fit.calibration_windows=null", "reporter=[]",
                f"output={output}",
            )  # fmt: skip
            row: dict[str, Any] = {"precision": precision, "runtime": "qnn"}
            files = list(Path(output).rglob("fit.json"))
            if done.returncode or not files:
                yield row | {"takes": False, "why": done.stderr.strip().partition("\n")[0]}
                continue
            (table,) = json.loads(files[0].read_text())["precisions"]
            found = table["rows"][0]["verdict"]
            yield row | {
                "takes": found["fits"], "why": found["cause"],
                "partitions": found["facts"].get("partitions"),
                "nodes_on_cpu": found["facts"].get("nodes_on_cpu"),
                "bytes": found["facts"].get("context_binary_bytes"),
            }  # fmt: skip


PARTS: dict[str, Callable[[Path], Iterator[dict[str, Any]]]] = {
    "onnx": on_onnx,
    "torch": on_torch,
    "generated": on_generated,
    "real": on_real,
    "accepted": accepted,
}


def main(wanted: list[str]) -> None:
    """Measure the wanted parts, with one store for all parts."""
    with tempfile.TemporaryDirectory() as store:
        parts = {name: functools.partial(part, Path(store)) for name, part in PARTS.items()}
        measure(RESULTS, COMMAND, parts, wanted)


if __name__ == "__main__":
    main(sys.argv[1:])
