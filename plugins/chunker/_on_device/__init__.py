"""The code that cuts and joins on a device, in Python, C++ and Kotlin: the same maths as here.

The files go into the bundle as they are; the numbers stand in its metadata, or in constants that
the core writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from core import Signature

__all__ = ["OVERLAP_ADD", "last_axis", "sources"]

#: What `overlap_add` does with the numbers of its options, in words for `metadata.json`.
OVERLAP_ADD = {
    "starts": "0, stride, 2 * stride, ... below the length of the input",
    "weight": "max(1e-30, (min(i + 1, n - i) / ceil(n / 2)) ** power) for sample i of n",
    "join": "the sum of weight * window, divided by the sum of the weights",
    "short_window": "its n samples come after (length - n) // 2 samples, which are the input's "
    "where it has any and zeros elsewhere; they have the weights of a window's first n samples",
}


def sources(chunker: str, *languages: str) -> Mapping[str, Path]:
    """Return a chunker's files by their place in the bundle: Python's, and those asked for."""
    here = Path(__file__).parent / chunker
    return {
        file.relative_to(here).as_posix(): file
        for language in ("python", *languages)
        for file in sorted((here / language).iterdir())
        if file.suffix in {".py", ".h", ".kt"}
    }


def last_axis(axis: str, signature: Signature) -> bool:
    """Return whether one input and one output hold their rows along `axis`, as the C++ expects."""
    tensors = (*signature.inputs, *signature.outputs)
    alone = len(signature.inputs) == len(signature.outputs) == 1
    return alone and all(spec.axes[-1] == axis for spec in tensors)
