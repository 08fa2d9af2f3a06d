"""Converts an ONNX graph to 16-bit floating point, with FP32 at its inputs and outputs."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from core import (
    Artifact,
    ArtifactSpec,
    Calibration,
    Notice,
    Quantizer,
    Requirement,
    StageContext,
    StageResult,
    hookimpl,
)
from core.config.bounds import MOST_WINDOWS, check_within
from core.formats.onnx_graph import save
from plugins.quantizer._onnx import cleaned, inferred, nodes_matching
from plugins.quantizer._onnx.calibration.watched import observer_of
from plugins.quantizer._onnx.fp16.convert import between, single_only, to_half
from plugins.quantizer._onnx.fp16.facts import facts_of, notices_of, range_facts
from plugins.quantizer._onnx.fp16.limits import LARGEST, weight_reasons, window_reasons
from plugins.quantizer._onnx.graph.bodies import with_bodies
from plugins.quantizer._onnx.graph.masks import nearer_masks
from plugins.quantizer._onnx.graph.operands import structural_nodes
from plugins.quantizer._onnx.qdq.exclusions import named

if TYPE_CHECKING:
    import onnx

    from plugins.quantizer._onnx.calibration.observe import Observer

#: Operators that stay in FP32 where no data decides: all that sum or square, which several projects
#: report to overflow in HTDemucs.
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
#: The gain, 12 dB, at which every window is played once more, clipped at the loudest peak seen.
LOUD = 4.0


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
        """Raise ValueError for a value out of its range."""
        check_within(self, "windows", 0, MOST_WINDOWS)
        if self.headroom < 1:
            raise ValueError(f"`headroom` cannot be {self.headroom}; it is a factor, from 1")


class Fp16(Quantizer[Fp16Options]):
    """Converts weights and arithmetic to FP16, except where ranges of calibration data forbid."""

    name = "fp16"
    Options = Fp16Options
    calibration_needed: ClassVar[bool] = False
    libraries = (
        Requirement("onnxruntime", "pip install onnxruntime"),
        Requirement("onnx", "pip install onnx"),
    )

    @property
    def calibration_windows(self) -> int:
        """Return how many windows of calibration data the quantizer wants."""
        return self.options.windows

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Map a float graph to one of 16 bits."""
        return ArtifactSpec(spec.format, "fp16")

    def run(self, artifact: Artifact, calibration: Calibration, work: StageContext) -> StageResult:
        """Convert the graph; its inputs and outputs stay FP32, so a host feeds it as before.

        Raises InputError for calibration data that cannot be used.
        """
        work.progress(0, 0, "reading the graph")
        model = cleaned(inferred(Path(artifact.path)))
        masks = self._masked(model, calibration, work)
        forced = nodes_matching(model, self.options.keep_float32, "keep_float32")
        # Shapes and indices must be exact: FP16 counts by twos from 2,048.
        forced += [*single_only(model), *sorted(structural_nodes(model))]
        forced += with_bodies(model)
        told = _told(model)
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
        facts = facts_of(model)
        facts |= range_facts(reasons, seen)
        path = work.folder / "model.onnx"
        save(model, path)
        notices = (*masks, *told, *notices_of(reasons, seen))
        return StageResult(path, "onnx", "fp16", facts, notices)

    def _masked(
        self, model: onnx.ModelProto, calibration: Calibration, work: StageContext
    ) -> tuple[Notice, ...]:
        """Replace masks that FP16 does not hold, in place; needs a window to test them."""
        if not calibration.count:
            return ()
        with tempfile.TemporaryDirectory(dir=work.folder) as scratch:
            return nearer_masks(model, calibration.feeds(), Path(scratch), beyond=LARGEST)

    def _observed(
        self, model: onnx.ModelProto, calibration: Calibration, work: StageContext
    ) -> Observer | None:
        """Return what the windows, the same louder, and silence show; None without a window."""
        total = 2 * calibration.count + 1
        with tempfile.TemporaryDirectory(dir=work.folder) as scratch:
            work.progress(0, total, "opening the graph")
            seen = observer_of(model, Path(scratch))
            for done in seen.stream(calibration.feeds(), LOUD):
                work.progress(done, total, "observing the range of every tensor")
        return seen if seen.windows else None


def _told(model: onnx.ModelProto) -> tuple[Notice, ...]:
    """Return the notice about nodes with graphs inside."""
    inside, nodes = with_bodies(model), {node.name: node for node in model.graph.node}
    text = f"the inside of {named(inside, nodes)} stays in FP32: ranges are not observed there"
    return (Notice("info", text),) if inside else ()


def _squares(model: onnx.ModelProto) -> list[str]:
    """Return the nodes that multiply a tensor with itself."""
    return [n.name for n in model.graph.node if n.op_type == "Mul" and n.input[0] == n.input[1]]


@hookimpl
def luthier_plugins() -> list[type[Fp16]]:
    """Return the plugin of this file."""
    return [Fp16]
