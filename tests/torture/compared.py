"""Compares the results of commands with undisturbed ones: nothing lost, nothing doubled.

An undisturbed command is described by its `results` (tests/torture/scene.py), the `entries` of its
store with the hashes of their files, and after `same` by its `stable` entries. Files that hold
times differ from run to run, and so do the keys of everything that is made of these files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["differences", "same", "unlike"]


def same(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return the common part of two undisturbed commands: files with times differ, and keys too."""
    shared = {n: f for n, f in one["entries"].items() if other["entries"].get(n, f) == f}
    stable = {name: files for name, files in shared.items() if name in other["entries"]}
    return {**one, "stable": stable}


def unlike(
    whole: dict[str, Any], found: dict[str, tuple[str, dict[str, str]]]
) -> Iterator[tuple[str, str]]:
    """Yield missing and extra entries of a store, against that of an undisturbed command."""
    for name, files in whole["stable"].items():
        if name not in found:
            yield "lost", f"not in the store: {name}"
        elif found[name][1] != files:
            yield "lost", f"other files in the store: {name}"
    yield from (
        ("lost", f"not whole: {name}") for name, (_, f) in found.items() if "not whole" in f
    )
    wanted, there = (
        Counter(name.partition("/")[0] for name in of) for of in (whole["entries"], found)
    )
    for step in wanted | there:
        if there[step] != wanted[step]:
            column = "lost" if there[step] < wanted[step] else "doubled"
            yield column, f"{there[step]} entries of {step}, not {wanted[step]}"


def differences(
    whole: dict[str, Any], found: Sequence[tuple[str, dict[str, str]]], *, twice: bool = False
) -> Iterator[tuple[str, str]]:
    """Yield the differences from the results of an undisturbed command.

    With `twice`, a run may have given its result once before.
    """
    wanted = [(kind, dict(files)) for kind, files in whole["results"]]
    left = list(found)
    for kind, files in wanted:
        if (kind, files) in left:
            left.remove((kind, files))
        else:
            yield "lost", f"no such result: {kind} {files}; there are: {[k for k, _ in found]}"
    for kind, files in left:
        if not (twice and kind == "run" and (kind, files) in wanted):
            yield "doubled", f"one more result: {kind} {sorted(files)}"
