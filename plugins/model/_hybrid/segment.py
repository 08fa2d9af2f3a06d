"""The windows that an HTDemucs was trained on, as far as they are known without loading it."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

__all__ = ["BLOCK", "RELEASED", "of_file"]

#: Samples of the released networks' training segment: 7.8 s at 44.1 kHz.
RELEASED = 343_980
#: The layout for NPUs folds time into columns where a window is a multiple of this (columns.py).
BLOCK = 4096
#: Most bytes of a safetensors header that are read.
LONGEST = 8 * 2**20


def of_file(path: Path) -> int:
    """Return the samples of the training segment that a checkpoint states, in milliseconds.

    `RELEASED` where none can be read without torch; loading the checkpoint reports it later.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, LONGEST)))
        metadata = header["__metadata__"]
        metadata = json.loads(metadata["luthier"]) if "luthier" in metadata else metadata
        arguments = json.loads(metadata["kwargs"])
        rate, seconds = arguments.get("samplerate", 44100), arguments["segment"]
        samples = int(rate * _number(seconds))
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError,
            struct.error):  # fmt: skip
        return RELEASED
    return samples if samples > 0 else RELEASED


def _number(value: Any) -> float:
    """Return a length in seconds, which demucs's hub writes as a fraction."""
    if isinstance(value, dict):
        return float(value["numerator"] / value["denominator"])
    return float(value)
