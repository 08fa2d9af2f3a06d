"""Writes a rewritten program, with what a person must know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core import Fact, Made, Notice, Work
from core.census import share
from core.torch_program import quiet, save
from plugins.quantizer.torch_program.counting import facts_of_program

if TYPE_CHECKING:
    import torch

__all__ = ["write"]

#: From which part on a program is called by a precision that it mostly has not.
MOSTLY = 0.5


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
    facts = {**facts_of_program(program), **notes, "bytes": path.stat().st_size}
    return Made(path, "torch_export", precision, facts, _misnomer(precision, facts))


def _misnomer(precision: str, facts: dict[str, Fact]) -> tuple[Notice, ...]:
    """Return what a person must know of a program whose products are mostly in FP32 still."""
    counted = facts["macs_by_precision"]
    part = share(counted, ["fp32"]) if isinstance(counted, list) else 0.0
    if part <= MOSTLY:
        return ()
    text = f"called {precision}, but {part:.0%} of its multiply-accumulates are in FP32"
    return (Notice("warning", text),)
