"""Checks that an archive is the one that was compiled, for a machine like this one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import StageError
from core.plugin.values import Artifact, Fact
from core.store.hashing import folder_digest

if TYPE_CHECKING:
    import torch

__all__ = ["check_origin", "inputs", "made_by"]

AGAIN = "compile it again: run the recipe with this machine's store"


def made_by(machine: Mapping[str, Fact]) -> dict[str, Fact]:
    """Return the facts of an archive that say what made it: the machine, and PyTorch."""
    import torch

    return {
        "made_for": json.dumps(dict(machine), sort_keys=True),
        "made_with": str(torch.__version__),
    }


def inputs(artifact: Artifact) -> list[torch.Tensor]:
    """Return zeros of the shapes and types that an archive takes, as its facts say."""
    import torch

    rows = artifact.facts["takes"]
    assert isinstance(rows, list), "`torch_aot` writes a list"
    return [
        torch.zeros([*map(int, str(row["shape"]).split())], dtype=getattr(torch, str(row["dtype"])))
        for row in rows
        if isinstance(row, dict)
    ]


def check_origin(artifact: Artifact, machine: Mapping[str, Fact] | None) -> None:
    """Raise StageError unless the files are those that `torch_aot` made.

    Native code must also be of this `machine` and this PyTorch: instructions that a processor
    lacks end the process, and another PyTorch has other functions under the same names.
    """
    where = f"at: {artifact.path}"
    if "made_for" not in artifact.facts:
        raise StageError(
            "the archive holds code, and nothing says that `torch_aot` made it", where, AGAIN
        )
    if folder_digest(Path(artifact.folder)) != artifact.sha256:
        raise StageError(
            "the archive holds code, and it is not the one that was compiled", where, AGAIN
        )
    if machine is None:
        return
    for name, here in made_by(machine).items():
        there = artifact.facts.get(name)
        if there != here:
            raise StageError(
                "the package holds native code for another machine or another PyTorch",
                where,
                f"it was made for: {there}",
                f"this machine has: {here}",
                AGAIN,
            )
