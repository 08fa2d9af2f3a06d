"""Quantisation-aware fine-tuning: a graph of 8 bits learns its losses back from the float one."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from core import (
    Artifact,
    ArtifactSpec,
    Calibration,
    Quantizer,
    Requirement,
    StageContext,
    StageResult,
    hookimpl,
)
from core.config.bounds import MOST_WINDOWS, check_within
from core.formats.onnx_graph import save
from plugins.quantizer._onnx import activations, cleaned, inferred, nodes_matching
from plugins.quantizer._onnx.calibration.collect import Method, collect
from plugins.quantizer._onnx.qdq.exclusions import doubts
from plugins.quantizer._onnx.qdq.graph import (
    facts_of,
    masked,
    mixed_widths,
    nothing_in,
    prepared,
    quiet,
)
from plugins.quantizer._onnx.qdq.options import Activation, Weight
from plugins.quantizer._onnx.qdq.qnn_ranges import edge_tensors
from plugins.quantizer._onnx.qdq.static import config_for, quantised
from plugins.quantizer._windows import finite
from plugins.quantizer._windows.held import HELD_BACK, HeldBack

if TYPE_CHECKING:
    import onnx

    from plugins.quantizer._qat.learn import Learned


REMEDY = "shorten `exclude`"
#: Percentage of the values that a range keeps before learning, for the method percentile.
PERCENTILE = 99.999
#: Most lessons: a day and more on any machine.
MOST_STEPS = 1_000_000


@dataclass
class QatOptions:
    """The options of quantisation-aware fine-tuning."""

    steps: int = 120
    """Steps of learning, one window each; 0 leaves the static ranges."""
    learning_rate: float = 0.02
    """Part by which the first steps move the ends of ranges; the last ones move them by a fiftieth
    of it. Weights move more slowly, in proportion."""
    windows: int = 44
    """Windows of calibration data. A sixth, in whole items where there are several, is held back to
    judge by; ranges and lessons come from the rest."""
    seed: int = 0
    """Seed of the order in which windows are learned from."""
    weight: Weight = Weight.int8
    """Type of the weights: int8 (symmetric) or uint8."""
    activation: Activation = Activation.uint8
    """Type of the activations: uint8 makes precision `int8`, uint16 makes `w8a16`."""
    per_channel: bool = True
    """One scale per output channel of a convolution's weights, instead of one for all."""
    method: Method = Method.mse
    """How the range that learning starts from follows from the values seen."""
    edges: int | None = None
    """Layers from an input or output within which activations get 16 bits among 8-bit ones: 0 for
    the inputs and outputs themselves, null for none."""
    exclude: list[str] = field(default_factory=list)
    """What stays in float: operators or patterns of node names."""

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of its range."""
        check_within(self, "windows", 1, MOST_WINDOWS)
        check_within(self, "steps", 0, MOST_STEPS)
        for name in ("edges", "seed"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"`{name}` cannot be {getattr(self, name)}; give 0 or more")
        if self.weight is Weight.int4:
            raise ValueError("`weight` cannot be int4: no runtime here runs such 4-bit weights")
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"`learning_rate` cannot be {self.learning_rate}; give 0.001 to 0.1")


class Qat(Quantizer[QatOptions]):
    """Learns ranges, weights and biases of the graph that `qdq` makes, by distillation."""

    name = "qat"
    Options = QatOptions
    libraries = (
        Requirement("onnxruntime", "pip install onnxruntime"),
        Requirement("onnx", "pip install onnx"),
        Requirement("torch", "pip install torch"),
    )

    @property
    def calibration_windows(self) -> int:
        """Return how many windows of calibration data the quantizer wants."""
        return self.options.windows

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Map a float graph to one of 8-bit weights and 8- or 16-bit activations."""
        wide = self.options.activation is Activation.uint16
        found = {
            "unsigned activations": self.options.activation is not Activation.int8,
            "asymmetric activations": True,
            "unsigned weights": self.options.weight is Weight.uint8,
        }
        traits = frozenset(name for name, holds in found.items() if holds)
        return ArtifactSpec(spec.format, "w8a16" if wide else "int8", traits)

    def run(self, artifact: Artifact, calibration: Calibration, work: StageContext) -> StageResult:
        """Quantise with static ranges, then learn from the float graph; ends stay FP32.

        The result has the structure of the static graph, and is that graph where learning did not
        bring it nearer to the float one on windows that were held back. Raises InputError for
        calibration data that cannot be used, StageError for a graph that has nothing to quantise,
        that overflows, or that holds an operator without a gradient here, or with another result.
        """
        model = cleaned(inferred(Path(artifact.path)))
        if not activations(model):
            raise nothing_in(artifact, REMEDY)
        options = self.options
        with tempfile.TemporaryDirectory(dir=work.folder) as scratch, quiet():
            work.progress(0, calibration.count, "preparing the graph")
            model, masks = masked(prepared(model, Path(scratch)), Path(scratch), calibration)
            narrow = options.activation is Activation.uint8
            config = config_for(
                model,
                options.weight.value,
                options.activation.value,
                per_channel=options.per_channel,
                wide=edge_tensors(model, options.edges)
                if narrow and options.edges is not None
                else [],
                excluded=nodes_matching(model, options.exclude, "exclude"),
            )
            split = HeldBack(calibration, max(1, calibration.count // HELD_BACK))
            ranges = collect(
                Path(scratch) / "float.onnx",
                split.others,
                config.op_types_to_quantize,
                options.method,
                PERCENTILE,
                work.progress,
            )
            notices = (*masks, *doubts(model, config, ranges))
            lowered = quantised(model, config, ranges)
            facts = facts_of(lowered, config, ranges.windows)
            if not facts["quantised_nodes"]:
                raise nothing_in(artifact, REMEDY)
            learned = self._learn(Path(scratch), lowered, calibration, work)
        facts |= {
            "steps": options.steps,
            "best_step": learned.best_step,
            "snr_before_db": round(learned.before_db, 2),
            "snr_after_db": round(learned.after_db, 2),
        }
        path = work.folder / "model.onnx"
        save(lowered, path)
        facts["bytes"] = sum(file.stat().st_size for file in work.folder.iterdir())
        notices += mixed_widths(facts) if narrow else ()
        notices = (*notices, *learned.notices())
        return StageResult(path, "onnx", self.plan(artifact.spec).precision, facts, notices)

    def _learn(
        self, scratch: Path, lowered: onnx.ModelProto, calibration: Calibration, work: StageContext
    ) -> Learned:
        """Learn `lowered`, in place, from the float graph in `scratch`."""
        import onnx
        from onnx import numpy_helper

        from plugins.quantizer._qat.agreement import check_agreement
        from plugins.quantizer._qat.learn import learn
        from plugins.quantizer._qat.lessons import Lessons
        from plugins.quantizer._qat.network import Network
        from plugins.quantizer._qat.written import written

        given = onnx.load(str(scratch / "float.onnx"))
        originals = {t.name: numpy_helper.to_array(t) for t in given.graph.initializer}
        teacher, network = Network(given), Network(lowered, originals)
        check_agreement(teacher, given, next(finite(calibration)), scratch)
        lessons = Lessons(teacher, calibration, scratch, work.progress)
        options = self.options
        learned = learn(
            network, lessons, options.steps, options.learning_rate, options.seed, work.progress
        )
        if learned.best_step:
            written(network, lowered)
        return learned


@hookimpl
def luthier_plugins() -> list[type[Qat]]:
    """Return the plugin of this file."""
    return [Qat]
