"""Writes a rewritten program, with the notices about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core import Fact, Notice, StageContext, StageError, StageResult
from core.formats.precision_census import Census, facts_of, misnomer
from core.formats.torch_export import describe, quiet, save
from plugins.quantizer._torchao.counting import census, quantised_of

if TYPE_CHECKING:
    import torch

__all__ = ["write"]


def write(
    module: torch.fx.GraphModule,
    arguments: tuple[torch.Tensor, ...],
    precision: str,
    work: StageContext,
    notes: dict[str, Fact],
    notices: tuple[Notice, ...] = (),
) -> StageResult:
    """Write an opened program, which takes `arguments`, as an artifact of `precision`.

    Raises StageError where PyTorch cannot write the program.
    """
    import torch

    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(module, arguments)
    except Exception as error:  # torch.export raises a class per reason, with no common base
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise StageError(
            f"PyTorch cannot write the program in {precision}: {type(error).__name__}",
            lines[0][:200] if lines else "",
            "keep it in float: quantizer=none",
            "see the whole trace: hydra.verbose=true",
        ) from error
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
    notice = misnomer(precision, counted) or _mostly_wide(precision, counted)
    told = (*notices, notice) if notice else notices
    return StageResult(path, "torch_export", precision, facts, told)


def _mostly_wide(precision: str, counted: Census) -> Notice | None:
    """Return the notice about a program that is called 16-bit and mostly is not."""
    total = sum(counted.macs.values())
    wide = counted.macs.get("fp32", 0)
    if precision not in ("bf16", "fp16") or 2 * wide <= total:
        return None
    text = (
        f"called {precision}, but {wide / total:.0%} of its multiply-accumulates stay in FP32: see "
        "`kept_because`"
    )
    return Notice("warning", text)
