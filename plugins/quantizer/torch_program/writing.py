"""Writes a rewritten program, with what a person must know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core import Fact, Made, Work
from core.census import facts_of, misnomer
from core.torch_program import describe, quiet, save
from plugins.quantizer.torch_program.counting import census, quantised_of

if TYPE_CHECKING:
    import torch

__all__ = ["write"]


def write(
    module: torch.fx.GraphModule,
    arguments: tuple[torch.Tensor, ...],
    precision: str,
    work: Work,
    notes: dict[str, Fact],
) -> Made:
    """Write an opened program, which takes `arguments`, as an artifact of `precision`."""
    import torch

    with quiet(), torch.no_grad():
        program = torch.export.export(module, arguments)
    path = work.folder / "model.pt2"
    save(program, path)
    counted = census(program)
    facts: dict[str, Fact] = {
        **describe(program),
        **facts_of(counted),
        **quantised_of(program),
        **notes,
        "bytes": path.stat().st_size,
    }
    notice = misnomer(precision, counted)
    return Made(path, "torch_export", precision, facts, (notice,) if notice else ())
