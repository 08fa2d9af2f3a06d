"""The code that opens and runs a bundle on a device, in Python, C++ and Kotlin.

`any/` holds what every device shares: one window through the host graphs and the model. The
folder of a runtime holds `device.*`, which opens the model. The files go into the bundle as they
are; the facts of the bundle stand in its metadata, or in constants that the core writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["sources"]


def sources(device: str) -> Mapping[str, Path]:
    """Return every file by its place in the bundle; `device` is the name of a runtime."""
    here = Path(__file__).parent
    return {
        file.relative_to(here / folder).as_posix(): file
        for folder in ("any", device)
        for file in sorted((here / folder).rglob("*.*"))
        if file.suffix in {".py", ".h", ".kt"}
    }
