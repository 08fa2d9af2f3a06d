"""Converts an ONNX graph to 16-bit floating point, with FP32 at its inputs and outputs."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from core import ArtifactSpec, Calibration, Fact, Library, Made, Notice, Quantizer, Work, hookimpl
from core.onnx_file import operators, save
from plugins.quantizer.onnx_graph import cleaned, inferred, nodes_matching
from plugins.quantizer.onnx_graph.half import between, constants_lifted, to_half
from plugins.quantizer.onnx_graph.half_limits import (
    LARGEST,
    Cause,
    Reason,
    rank,
    weight_reasons,
    window_reasons,
)
from plugins.quantizer.onnx_graph.observe import Observer, observer_of

if TYPE_CHECKING:
    import onnx

    from core import Artifact

#: What stays in FP32 where no data says what is needed: every operator that sums or squares, which
#: several projects report to overflow in HTDemucs.
LIKELY = (
    "Softmax",
    "Pow",
    "Sqrt",
    "ReduceMean",
    "ReduceSum",
    "ReduceSumSquare",
    "ReduceL2",
    "ReduceLogSumExp",
    "InstanceNormalization",
    "GroupNormalization",
    "LayerNormalization",
)
#: How much louder than it is every window is played once more, cut at the loudest peak seen: 12 dB.
LOUD = 4.0
#: Nodes that a notice names, and that the facts list.
NAMED, LISTED = 3, 40


@dataclass
class Fp16Options:
    """The options of the conversion to FP16."""

    keep_float32: list[str] = field(default_factory=list)
    """What stays in FP32 beside what the ranges ask for: operators, or patterns of node names. An
    NPU that has no FP32 (HTP) computes these in FP16 all the same."""
    windows: int = 8
    """Windows of calibration data whose ranges decide what stays in FP32. Each is played as it is
    and 12 dB louder, clipped; a silent one follows. 0, or a recipe without calibration data, keeps
    every operator that sums or squares."""
    headroom: float = 4.0
    """How many times larger than in these windows a value may become before it passes 65,504."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that cannot be."""
        if self.windows < 0:
            raise ValueError(f"`windows` cannot be {self.windows}; give 0 or more")
        if self.headroom < 1:
            raise ValueError(f"`headroom` cannot be {self.headroom}; it is a factor, from 1")


class Fp16(Quantizer[Fp16Options]):
    """Converts weights and arithmetic to FP16, except where ranges of calibration data forbid."""

    name = "fp16"
    Options = Fp16Options
    calibration_needed: ClassVar[bool] = False
    libraries = (
        Library("onnxruntime", "pip install onnxruntime"),
        Library("onnx", "pip install onnx"),
    )

    @property
    def calibration_windows(self) -> int:
        """Return how many windows of calibration data it looks at."""
        return self.options.windows

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Map a float graph to one of 16 bits."""
        return ArtifactSpec(spec.format, "fp16")

    def run(self, artifact: Artifact, calibration: Calibration, work: Work) -> Made:
        """Convert the graph; its inputs and outputs stay FP32, so a host feeds it as before.

        Raises InputError for calibration data that cannot be used.
        """
        work.progress(0, 0, "reading the graph")
        model = constants_lifted(cleaned(inferred(Path(artifact.path))))
        forced = nodes_matching(model, self.options.keep_float32, "keep_float32")
        reasons = weight_reasons(model)
        seen = self._observed(model, calibration, work) if calibration.count else None
        if seen is None:
            forced += nodes_matching(model, LIKELY, "keep_float32") + _squares(model)
        else:
            reasons += window_reasons(model, seen, self.options.headroom)
        kept = list(dict.fromkeys([*forced, *(reason.node for reason in reasons)]))
        kept += between(model, set(kept))
        work.progress(0, 0, "converting to FP16")
        model = to_half(model, kept)
        facts = _facts(model)
        facts |= _ranges(reasons, seen)
        path = work.folder / "model.onnx"
        save(model, path)
        return Made(path, "onnx", "fp16", facts, _notices(reasons, seen))

    def _observed(
        self, model: onnx.ModelProto, calibration: Calibration, work: Work
    ) -> Observer | None:
        """Return what the windows, the same louder, and silence show; None without a window."""
        total = 2 * calibration.count + 1
        with tempfile.TemporaryDirectory(dir=work.folder) as scratch:
            work.progress(0, total, "opening the graph")
            seen = observer_of(model, Path(scratch))
            for done in seen.stream(calibration.feeds(), LOUD):
                work.progress(done, total, "looking at the range of every tensor")
        return seen if seen.windows else None


def _squares(model: onnx.ModelProto) -> list[str]:
    """Return the nodes that multiply a tensor with itself."""
    return [n.name for n in model.graph.node if n.op_type == "Mul" and n.input[0] == n.input[1]]


def _notices(reasons: Sequence[Reason], seen: Observer | None) -> tuple[Notice, ...]:
    """Return what a person must know: what FP16 could not hold, and where nobody looked."""
    notices = []
    if seen is None:
        text = (
            "no calibration data: every operator that sums or squares stays in FP32, and other "
            "overflow would not be seen; name data with calibration=<dataset>"
        )
        notices.append(Notice("info", text))
    over = [r for r in reasons if r.cause is Cause.overflow]
    if over:
        text = (
            f"{len(over)} node(s) pass the {LARGEST:,.0f} of FP16 and stay in FP32; an NPU without "
            f"FP32 (HTP) overflows there all the same: {_named(over)}"
        )
        notices.append(Notice("warning", text))
    sums = [r for r in reasons if r.cause is Cause.overflowing_sum]
    if sums:
        text = (
            f"{len(sums)} node(s) sum beyond the {LARGEST:,.0f} of FP16 and stay in FP32; on a "
            f"device without FP32 that takes a wider accumulator: {_named(sums)}"
        )
        notices.append(Notice("info", text))
    return tuple(notices)


def _named(reasons: Sequence[Reason]) -> str:
    """Name the worst few."""
    more = f", and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
    return "; ".join(map(str, sorted(reasons, key=rank)[:NAMED])) + more


def _ranges(reasons: Sequence[Reason], seen: Observer | None) -> dict[str, Fact]:
    """Return how many windows were looked at, and the nodes that stay in FP32 for what they saw."""
    counts = Counter(reason.cause for reason in reasons)
    return {
        "calibration_windows": 0 if seen is None else seen.windows,
        **{f"kept_{cause.name}": counts[cause] for cause in Cause if counts[cause]},
        "kept_because": [str(reason) for reason in sorted(reasons, key=rank)[:LISTED]],
    }


def _facts(model: onnx.ModelProto) -> dict[str, Fact]:
    """Count the nodes that give FP16 and those that give FP32, without the casts between them."""
    from onnx import TensorProto

    types = {
        v.name: v.type.tensor_type.elem_type for v in (*model.graph.value_info, *model.graph.output)
    }
    given = [
        types.get(n.output[0]) for n in model.graph.node if n.op_type not in ("Cast", "Constant")
    ]
    return {
        "nodes": len(model.graph.node),
        "float16_nodes": given.count(TensorProto.FLOAT16),
        "float32_nodes": given.count(TensorProto.FLOAT),
        "casts": sum(n.op_type == "Cast" for n in model.graph.node),
        "operators": operators(model.graph.node),
    }


@hookimpl
def luthier_plugins() -> list[type[Fp16]]:
    """Return the plugin of this file."""
    return [Fp16]
