"""The name that this program was started by, and lines that a person can type again."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["line", "program", "quoted"]

#: The packages that can be started with `python -m`, and the script of the first.
PACKAGES = ("luthier", "core")


def program() -> str:
    """Return how this program is started: `luthier`, `python -m luthier` or `python -m core`."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    package = (spec.name if spec else "").removesuffix(".__main__")
    if package in PACKAGES:
        return f"python -m {package}"
    # Only known names are taken from the system: others may hold anything.
    return "luthier" if Path(sys.argv[0]).stem == "luthier" else "python -m core"


def line(words: Sequence[str]) -> str:
    """Return the command with these arguments, quoted for the shell."""
    return f"{program()} {quoted(words)}".rstrip()


def quoted(words: Sequence[str]) -> str:
    """Return words as they are typed into the shell of this system."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)
