"""Compares a bundle with its `SHA256SUMS`, before any other file of it is opened."""

import functools
import hashlib
from pathlib import Path

#: The hashes of all other files; the first line has the bundle's id.
SUMS = "SHA256SUMS"


class BundleError(Exception):
    """A bundle that must not be used; the text says why, and what to do."""


@functools.cache
def check(folder: Path) -> None:
    """Raise BundleError for every file that is missing or changed, by its name; once a process.

    Files that the list does not name (such as those that Python writes) are not looked at.
    """
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise BundleError(
            f"{folder} is no whole bundle: {SUMS} cannot be read ({reason(error)}); "
            "copy the whole folder again"
        ) from error
    listed = [line.partition("  ")[::2] for line in lines if line and not line.startswith("#")]
    names = {name for _, name in listed}
    problems = [problem for wanted, name in listed if (problem := differs(folder, name, wanted))]
    problems += [f"{SUMS} does not list {name}" for name in ("metadata.json",) if name not in names]
    if problems:
        raise BundleError(
            "\n".join([f"{folder} is damaged, or mixed with the files of another version:", *(
                f"  {problem}" for problem in problems
            ), "copy the whole folder again"])
        )  # fmt: skip


def differs(folder: Path, name: str, wanted: str) -> str:
    """Return in words how a file differs from the list; empty where it does not."""
    try:
        home = folder.resolve()
        place = (home / name).resolve()
        if home not in place.parents or "\\" in name or ":" in name:
            return f"{SUMS} names a file outside of the bundle: {name[:200]!r}"
        with place.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return f"{name} is missing"
    except (OSError, ValueError, RuntimeError) as error:
        return f"{name[:200]!r} cannot be read ({reason(error)})"
    return (
        "" if found == wanted else f"{name} was changed: SHA-256 {found[:12]}…, not {wanted[:12]}…"
    )


def reason(error: Exception) -> str:
    """Return the system's own words, or the error's."""
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
