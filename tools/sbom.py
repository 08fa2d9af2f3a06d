"""Writes a CycloneDX bill of materials: installed packages, licences, and the lock's hashes.

python -m tools.sbom FILE

Needs no network. The same environment gives the same file, byte for byte.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from core import __version__
from tools.locked import locked, normal

__all__ = ["bill", "fault"]

ROOT = Path(__file__).parent.parent
SPECIFICATION = "1.6"


def bill() -> dict[str, Any]:
    """Return the bill of this environment as CycloneDX's own tool writes it, with hashes.

    A package that is not in the lock, or not at the locked version, gets no hashes.
    """
    made = subprocess.run(  # noqa: S603 - this Python, and words of ours
        [
            *(sys.executable, "-m", "cyclonedx_py", "environment", "--spec-version", SPECIFICATION),
            *("--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible"),
            *("--no-validate", sys.executable),  # `main` validates the bill, with its hashes
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    written: dict[str, Any] = json.loads(made.stdout)
    written["metadata"]["component"]["version"] = __version__
    pinned = locked()
    for component in written["components"]:
        package = pinned.get(normal(component["name"]))
        if package and package.sha256 and package.version == component["version"]:
            component.setdefault("externalReferences", []).append(_files(component, package.sha256))
    return written


def _files(component: dict[str, Any], sha256: list[str]) -> dict[str, Any]:
    """Return the files of a package in an index, in the form of CycloneDX's tool for hashes."""
    return {
        "type": "distribution",
        "url": component["purl"],
        "comment": "one hash for each file of this version, from requirements.lock",
        "hashes": [{"alg": "SHA-256", "content": each} for each in sha256],
    }


def fault(text: str) -> str:
    """Return the fault against CycloneDX's schema, empty for a valid bill; slow for a whole one."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return str(
        JsonStrictValidator(SchemaVersion.from_version(SPECIFICATION)).validate_str(text) or ""
    )


def main() -> int:
    """Write the bill to the given file; returns the exit code."""
    if len(sys.argv) != 2:
        print("say where to write: python -m tools.sbom sbom.cdx.json", file=sys.stderr)
        return 2
    text = json.dumps(bill(), indent=2, sort_keys=True) + "\n"
    if wrong := fault(text):
        print(f"the bill is no valid CycloneDX {SPECIFICATION}: {wrong}", file=sys.stderr)
        return 1
    Path(sys.argv[1]).write_text(text, encoding="utf-8")
    print(sys.argv[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
