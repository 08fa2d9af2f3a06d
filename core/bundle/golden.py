"""The golden window of a bundle: one window with its results, which a program checks itself by.

`golden.bin` holds the numbers, little-endian: the window's inputs in their own types, then float32
values of the results. `golden.json` says where what lies. A result is kept as groups of values, one
for every label (a stem) if the labels are its first axis: `count` values from `start` on in steps
of `step`, in the order of the tensor's memory. The SNR of a group is

    10·log10(power / Σ (value - expected)²)        in dB

where `power` is that of its expected values, or of a group 20 dB below the loudest of the tensor.

Each stage has a tolerance. The rounding of a graph differs from one processor to another, so no
result is equal to the last digit. How much this changes was measured: the run plays the window
twice, the second time with other last digits. A back end may be `MARGIN_DB` further off than that.
What a compiler made may differ as much more as it did when the run compared it with its graph.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.measure.metrics import QUIET_DB, snr_of_powers
from core.plugin.stages import outside
from core.plugin.values import Signature, TensorSpec
from core.text.shown import shown_below, without_credentials

if TYPE_CHECKING:
    from core.plugin.values import Array, Tensors

__all__ = ["FILE", "TABLE", "Expected", "Measured", "prepare", "write"]

#: The numbers, and the table that says where they lie.
FILE, TABLE = "golden.bin", "golden.json"
#: Increased when a program for the older format would misread `golden.json`.
FORMAT = 1
#: Most values of one group: enough for an SNR that is right to a tenth of a dB.
VALUES = 8192
#: What a back end may be further off than what was measured here, in dB.
MARGIN_DB = 6.0
#: The highest tolerance. In FP32 nothing but rounding is left there; at other precisions engines
#: round at other places, even where the one that measured it here was steadier.
HIGHEST_DB = {"fp32": 80.0}
HIGHEST_OTHER_DB = 40.0
#: The lowest tolerance. Silence has 0 dB.
LOWEST_DB = 3.0
#: The stages that the dsp computes alone.
DSP = ("forward", "inverse")
Stages = Mapping[str, "Tensors"]


@dataclass(frozen=True)
class Measured:
    """How near the results of the other artifact are to those of the one that was played, in dB.

    Of a graph and what was compiled from it only one is played whole. `db` compares the outputs of
    the signature, `core_db` those of the core; None where they were not compared.
    """

    db: float | None = None
    core_db: float | None = None


@dataclass(frozen=True)
class Expected:
    """The golden window of a run: the folder that `prepare` wrote, and what its tolerances need.

    `played` says which artifact of the bundle was played: `model` or `fallback`.
    """

    folder: Path
    played: str
    other: Measured


@dataclass(frozen=True)
class _Group:
    """Values of a tensor of a result, and where they lie in the file."""

    stage: str
    tensor: str
    label: str
    start: int
    step: int
    count: int
    power: float
    offset: int = 0


def prepare(
    folder: Path, inputs: Tensors, largest: int, stages: tuple[Stages, Stages], signature: Signature
) -> None:
    """Write both files, with the names of the model itself, and without tolerances.

    `stages` are the results of the window, and those of the window with other last digits. Of an
    input of floats the first `largest` values are kept, and repeated.
    """
    blob = bytearray()
    table: dict[str, Any] = {
        "format": FORMAT,
        "file": FILE,
        "inputs": [
            {"name": spec.name, **_stored(inputs[spec.name], blob, largest)}
            for spec in signature.inputs
        ],
    }
    groups, steady = [], dict[str, float]()
    expected, again = stages
    for stage, tensors in expected.items():
        for name, array in tensors.items():
            for group in _groups(stage, name, array, _spec(signature, stage, name)):
                other = _values(again[stage][name], group)
                db = _snr(_values(array, group), other, group.power)
                steady[stage] = min(db, steady.get(stage, math.inf))
                groups.append(asdict(_kept(group, array, blob)))
    (folder / FILE).write_bytes(blob)
    _write_table(folder, {**table, "groups": groups, "steady_db": steady})


def write(
    bundle: Path, expected: Expected, precisions: Mapping[str, str], *, dsp: bool
) -> dict[str, Any]:
    """Write both files of the bundle, and return the content of the table.

    `precisions` are those of the bundle's artifacts, `model` and perhaps `fallback`. `dsp` says
    whether the bundle holds the dsp as graphs: these have names of their own for the tensors of the
    signature.
    """
    table: dict[str, Any] = json.loads((expected.folder / TABLE).read_text(encoding="utf-8"))
    named = {"inverse", "outputs"} if dsp else set()
    table["groups"] = [
        {**group, "tensor": outside(group["tensor"])} if group["stage"] in named else group
        for group in table["groups"]
        if dsp or group["stage"] != "inverse"
    ]
    table["tolerance_db"] = _tolerances(table["steady_db"], expected, precisions)
    table["steady_db"] = {stage: round(db, 1) for stage, db in table["steady_db"].items()}
    table["window"] = "noise with the spectrum of a window of the run's data"
    shutil.copyfile(expected.folder / FILE, bundle / FILE)
    table = shown_below(table, without_credentials)  # labels are a stranger's words
    _write_table(bundle, table)
    return table


def _write_table(folder: Path, table: dict[str, Any]) -> None:
    text = json.dumps(table, indent=1)
    (folder / TABLE).write_text(f"{text}\n", encoding="utf-8")


def _stored(array: Array, blob: bytearray, largest: int) -> dict[str, Any]:
    """Append an input, and return its type, shape and place; floats are cut to what repeats."""
    import numpy as np

    flat = array.ravel()[: largest if array.dtype.kind == "f" else None]
    kept = np.ascontiguousarray(flat, flat.dtype.newbyteorder("<"))
    offset = _aligned(blob)
    blob += kept.tobytes()
    shape = list(array.shape)
    return {"dtype": str(array.dtype), "shape": shape, "offset": offset, "count": len(flat)}


def _aligned(blob: bytearray) -> int:
    """Fill up to a multiple of 8 bytes, so that every number is aligned; return the length."""
    blob += bytes(-len(blob) % 8)
    return len(blob)


def _spec(signature: Signature, stage: str, name: str) -> TensorSpec | None:
    """Return the spec of a tensor of the signature; None for one of the core."""
    if stage not in {"inverse", "outputs"}:
        return None
    return next(spec for spec in signature.outputs if spec.name == name)


def _groups(stage: str, tensor: str, array: Array, spec: TensorSpec | None) -> list[_Group]:
    """Return the groups of a tensor, one for each label of its first axis."""
    labels: Sequence[str] = spec.labels.get(spec.axes[0], ()) if spec and spec.axes else ()
    if not labels or len(labels) != array.shape[0]:
        labels = ("",)
    size = array.size // len(labels)
    if not size:
        return []
    step, length = _step(size, array.shape[-1] if array.ndim else 1)
    found = [
        _Group(stage, tensor, label, number * size, step, length, 0.0)
        for number, label in enumerate(labels)
    ]
    import numpy as np

    powers = [float(np.sum(np.square(_values(array, one)))) for one in found]
    least = max(powers) * 10 ** (-QUIET_DB / 10)
    return [
        _Group(**{**asdict(one), "power": max(power, least)})
        for one, power in zip(found, powers, strict=True)
    ]


def _step(size: int, row: int) -> tuple[int, int]:
    """Return a step through `size` values, and how many it meets: it visits all places of a row."""
    step = -(-size // VALUES)
    while step > 1 and math.gcd(step, row) > 1:
        step += 1
    return step, -(-size // step)


def _values(array: Array, group: _Group) -> Array:
    import numpy as np

    flat = array.reshape(-1)
    stop = group.start + group.step * (group.count - 1) + 1
    return flat[group.start : stop : group.step].astype(np.float32).astype(np.float64)


def _snr(expected: Array, found: Array, power: float) -> float:
    import numpy as np

    return snr_of_powers(power, float(np.sum(np.square(expected - found))))


def _kept(group: _Group, array: Array, blob: bytearray) -> _Group:
    """Append the values of a group, and return it with its place."""
    offset = _aligned(blob)
    blob += _values(array, group).astype("<f4").tobytes()
    return _Group(**{**asdict(group), "offset": offset})


def _tolerances(
    steady: Mapping[str, float], expected: Expected, precisions: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """Return the least SNR of every stage in dB: of the dsp, and of each artifact."""
    told = {"dsp": {stage: _bounded(db, "fp32") for stage, db in steady.items() if stage in DSP}}
    for artifact, precision in precisions.items():
        near = {"outputs": expected.other.db, "model": expected.other.core_db}
        told[artifact] = {}
        for stage, db in steady.items():
            if stage in DSP:
                continue
            # Without a comparison any result but silence and noise may be right.
            other = db if artifact == expected.played else near[stage] or LOWEST_DB
            told[artifact][stage] = _bounded(min(db, other), precision)
    return told


def _bounded(db: float, precision: str) -> float:
    highest = HIGHEST_DB.get(precision, HIGHEST_OTHER_DB)
    return round(max(LOWEST_DB, min(highest, db - MARGIN_DB)), 1)
