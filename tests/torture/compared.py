"""Compares what commands gave with what undisturbed ones did: nothing lost, nothing twice.

An undisturbed command is described by its `results` (tests/torture/scene.py), the `entries` of its
store with the hashes of their files, and after `same` by the `stable` ones among them: files that
hold what was timed differ from run to run, and so do the keys of what is made of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["differences", "same", "unlike"]


def same(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return what two undisturbed commands have in common: what was timed differs, and its keys."""
    shared = {n: f for n, f in one["entries"].items() if other["entries"].get(n, f) == f}
    stable = {name: files for name, files in shared.items() if name in other["entries"]}
    return {**one, "stable": stable}


def unlike(
    whole: dict[str, Any], found: dict[str, tuple[str, dict[str, str]]]
) -> Iterator[tuple[str, str]]:
    """Yield what a store has less or more than that of an undisturbed command."""
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
    """Yield what differs from the results of an undisturbed command.

    With `twice`, a run may have given its result before already.
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
