"""The packages of the lock files: versions, hashes, and the part of Luthier that needs each.

All data come from files of the checkout, so they are the same on every machine.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["BASE", "Locked", "locked", "normal", "parts"]

ROOT = Path(__file__).parent.parent
BASE = "base"
"""The part that every installation has; the others are the extras of pyproject.toml."""
PINNED = re.compile(
    r"^(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[^\s;\\]+)(?: ; (?P<marker>.*?))? *\\?$"
)
NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclass
class Locked:
    """One pinned package."""

    name: str
    version: str
    marker: str = ""
    """Where it is installed at all, as in PEP 508; empty for everywhere."""
    sha256: list[str] = field(default_factory=list)
    """Of its files for all platforms; empty for PyTorch, whose build is the machine's choice."""
    via: list[str] = field(default_factory=list)
    """The packages that ask for it, and `luthier`."""


def normal(name: str) -> str:
    """Return the name of a package in the form that an index compares."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, Locked]:
    """Return every package of the two lock files, by its normal name, in order."""
    found: dict[str, Locked] = {}
    for file in ("requirements-torch.lock", "requirements.lock"):
        last: Locked | None = None
        for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
            if match := PINNED.match(line):
                name = normal(match["name"])
                last = found[name] = Locked(name, match["version"], match["marker"] or "")
            elif last and (match := re.match(r"^ +--hash=sha256:(\w{64})", line)):
                last.sha256.append(match[1])
            elif last and (
                match := re.match(r"^ +# +(?:via +)?([A-Za-z0-9][\w.-]*)(?: \(.*\))?$", line)
            ):
                last.via += [normal(match[1])] if match[1] != "via" else []
    return dict(sorted(found.items()))


def parts(packages: dict[str, Locked]) -> dict[str, set[str]]:
    """Return the packages that the base and each extra bring, by the notes in the lock.

    A note names the package that asks, but not its extra. So a part may get a package too many, but
    none too few. An extra that is not in the lock has no packages.
    """
    about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {BASE: about["dependencies"], **about["optional-dependencies"]}
    children: dict[str, set[str]] = {}
    for package in packages.values():
        for parent in package.via:
            children.setdefault(parent, set()).add(package.name)
    return {part: _below(children, _names(lines), packages) for part, lines in asked.items()}


def _names(lines: Iterable[str]) -> list[str]:
    return [normal(match[0]) for line in lines if (match := NAME.match(line))]


def _below(children: dict[str, set[str]], roots: list[str], known: Iterable[str]) -> set[str]:
    found, waiting = set(), [root for root in roots if root in set(known)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += children.get(name, set())
    return found
