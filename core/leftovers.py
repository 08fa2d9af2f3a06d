"""Names of temporary folders that say who owns them, and the removal of those whose owner died.

A process that is killed cannot clean up; the next one does it.
"""

from __future__ import annotations

import platform
import re
import shutil
from os import getpid
from pathlib import Path

import psutil

__all__ = ["owned_name", "sweep_up"]


def owned_name(name: str) -> str:
    """Return a hidden name that holds this machine and this process."""
    host = re.sub(r"[^A-Za-z0-9]", "-", platform.node())
    return f".{name}.of.{host}.{getpid()}"


def sweep_up(parent: Path) -> None:
    """Remove folders of this machine below `parent` whose process is gone."""
    host = re.sub(r"[^A-Za-z0-9]", "-", platform.node())
    for folder in parent.glob(f".*.of.{host}.*"):
        owner = folder.name.rpartition(".")[2]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
