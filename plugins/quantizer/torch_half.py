"""16-bit floating point of a torch program: bfloat16 or FP16, as PyTorch's autocast chooses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from core import (
    Artifact,
    ArtifactSpec,
    Calibration,
    Fact,
    Notice,
    Quantizer,
    Requirement,
    StageContext,
    StageResult,
    hookimpl,
)
from core.config.bounds import MOST_WINDOWS, check_within
from core.formats.torch_export import load, zeros
from plugins.quantizer._torchao import (
    Loudest,
    Reason,
    check_outputs,
    halved,
    likely,
    matching,
    opened,
    weight_reasons,
    window_reasons,
    windows,
    write,
)

if TYPE_CHECKING:
    import torch


#: Most reasons that the facts list.
LISTED = 40


class Half(Enum):
    """A float of 16 bits: its name, and PyTorch's name of it."""

    bf16 = "bfloat16"
    fp16 = "float16"


@dataclass
class TorchHalfOptions:
    """The options of 16-bit floating point in PyTorch."""

    dtype: Half = Half.bf16
    """bf16 (the range of FP32, 8 bits of mantissa) or fp16 (11 bits, overflows at 65,504)."""
    keep_float32: list[str] = field(default_factory=list)
    """What stays in FP32 beside what the ranges ask for: operators, or patterns of node names."""
    windows: int = 4
    """Windows of calibration data whose values decide what stays in FP32 of a program in fp16. 0,
    or a recipe without calibration data, keeps every operator that sums or squares."""
    headroom: float = 4.0
    """How many times larger than in these windows a value may become before it passes 65,504."""

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of its range."""
        check_within(self, "windows", 0, MOST_WINDOWS)
        if self.headroom < 1:
            raise ValueError(f"`headroom` cannot be {self.headroom}; it is a factor, from 1")


class TorchHalf(Quantizer[TorchHalfOptions]):
    """Computes a torch program's products in 16 bits and stores their weights so."""

    name = "torch_half"
    accepts = frozenset({"torch_export"})
    Options = TorchHalfOptions
    calibration_needed: ClassVar[bool] = False
    libraries = (Requirement("torch", "pip install torch"),)

    @property
    def calibration_windows(self) -> int:
        """Return how many windows the quantizer wants; none for bf16, which has FP32's range."""
        return self.options.windows if self.options.dtype is Half.fp16 else 0

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Map a float program to one of 16 bits."""
        return ArtifactSpec(spec.format, self.options.dtype.name)

    def run(self, artifact: Artifact, calibration: Calibration, work: StageContext) -> StageResult:
        """Convert the program; inputs and outputs keep their types, as do nodes that must.

        PyTorch decides per operator (`torch.autocast`): convolutions, products and attention take
        16 bits, and later operators compute in the type that reaches them. In FP16, nodes that make
        or read values beyond its range stay in FP32. Raises InputError for calibration data that
        cannot be used, StageError for a node that cannot compute in 16 bits and for a result that
        is not finite.
        """
        import torch

        work.progress(0, 0, "reading the program")
        program = load(Path(artifact.path))
        module = opened(program)
        kept = matching(module, self.options.keep_float32, "keep_float32")
        reasons: list[Reason] = []
        notices: tuple[Notice, ...] = ()
        loudest = Loudest()
        if self.options.dtype is Half.fp16:
            reasons = weight_reasons(module)
            if calibration.count:
                given = _heard(windows(calibration, artifact.info, work.progress), loudest)
                with torch.no_grad():
                    reasons += window_reasons(module, given, self.options.headroom)
            else:
                kept |= likely(module)
                notices = (_unseen(),)
            kept |= _around(module, reasons)
        work.progress(0, 0, "converting the operators")
        dtype = getattr(torch, self.options.dtype.value)
        result, unable = halved(program, module, dtype, kept)
        notices += check_outputs(program, result, loudest, artifact.info.core_outputs)
        notes: dict[str, Fact] = {
            "calibration_windows": calibration.count,
            "kept_float32": len(kept) + len(unable),
            "kept_because": [
                *map(str, reasons[:LISTED]),
                *(f"{name}: does not run in 16 bits here" for name in unable[:LISTED]),
            ],
        }
        work.progress(0, 0, "writing the program")
        precision = self.options.dtype.name
        return write(result, zeros(program), precision, work, notes, notices)


def _heard(
    given: Iterator[tuple[torch.Tensor, ...]], loudest: Loudest
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Pass windows on, and let `loudest` keep the loudest of them."""
    for arguments in given:
        loudest.add(arguments)
        yield arguments


def _around(module: torch.fx.GraphModule, reasons: list[Reason]) -> set[str]:
    """Return the nodes that make or read a tensor: one stays in FP32 only when both do."""
    names = {reason.node for reason in reasons}
    found = set()
    for node in module.graph.nodes:
        if node.name in names:
            found |= {node.name, *(user.name for user in node.users)}
    return found


def _unseen() -> Notice:
    text = (
        "no calibration data: every operator that sums or squares stays in FP32, and other "
        "overflow is not noticed; name data with calibration=<dataset>"
    )
    return Notice("info", text)


@hookimpl
def luthier_plugins() -> list[type[TorchHalf]]:
    """Return the plugin of this file."""
    return [TorchHalf]
