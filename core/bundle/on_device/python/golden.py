"""The golden window: one window with its results, by which a back end is tested. Needs NumPy.

`core/bundle/golden.py` of Luthier describes the two files.
"""

import json
import math
from pathlib import Path

import numpy as np
from manifest import BundleError, reason

TABLE, FILE = "golden.json", "golden.bin"
FORMAT = 1


class Golden:
    """The table and the numbers."""

    def __init__(self, folder: Path) -> None:
        """Read both files; raises BundleError where they do not fit."""
        try:
            self.table = json.loads((folder / TABLE).read_text(encoding="utf-8"))
            self.blob = (folder / FILE).read_bytes()
            known = self.table["format"]
            if known != FORMAT:
                raise BundleError(f"{TABLE} has the format {known}, this program reads {FORMAT}")
            self.inputs = {one["name"]: self.input(one) for one in self.table["inputs"]}
            self.expected = [self.numbers("<f4", g) for g in self.table["groups"]]
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise BundleError(f"{TABLE} and {FILE} do not fit: {reason(error)}") from error

    def input(self, one: dict) -> np.ndarray:
        """Return an input of the window; what is stored of it is repeated to its shape."""
        dtype = np.dtype(one["dtype"]).newbyteorder("<")
        return np.resize(self.numbers(dtype, one), one["shape"]).astype(one["dtype"])

    def numbers(self, dtype: object, one: dict) -> np.ndarray:
        """Return numbers of the file; raises ValueError where there are too few."""
        return np.frombuffer(self.blob, dtype, one["count"], one["offset"])

    def decibels(self, stage: str, tensors: dict) -> list[tuple[str, float]]:
        """Return the SNR of every group of a stage, in dB, with its name."""
        found = []
        for group, expected in zip(self.table["groups"], self.expected, strict=True):
            if group["stage"] != stage:
                continue
            flat = np.asarray(tensors[group["tensor"]]).reshape(-1)
            stop = group["start"] + group["step"] * (group["count"] - 1) + 1
            values = flat[group["start"] : stop : group["step"]].astype(np.float64)
            name = group["label"] or group["tensor"]
            found.append((name, decibels(group["power"], expected, values)))
        return found

    def worst(self, artifact: str, stage: str, tensors: dict) -> tuple[str, float, float]:
        """Return the group with the lowest SNR, that SNR, and the least that it must be."""
        name, db = min(self.decibels(stage, tensors), key=lambda pair: pair[1], default=("", 200.0))
        return name, db, self.table["tolerance_db"][artifact].get(stage, 0.0)


def decibels(power: float, expected: np.ndarray, found: np.ndarray) -> float:
    """Return 10·log10(power / Σ (found - expected)²), between -200 and 200."""
    if found.shape != expected.shape:
        return -200.0
    noise = float(np.sum(np.square(found - expected.astype(np.float64))))
    if noise == 0:
        return 200.0
    if not math.isfinite(noise) or power <= 0:
        return -200.0
    return max(-200.0, min(200.0, 10 * math.log10(power / noise)))
