"""Static quantisation to integers: QuantizeLinear and DequantizeLinear around every operator."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from core.formats.onnx_graph import save
from plugins.quantizer._onnx import activations, cleaned, inferred, nodes_matching, tensors_matching
from plugins.quantizer._onnx.calibration.collect import Method, collect
from plugins.quantizer._onnx.qdq.exclusions import doubts
from plugins.quantizer._onnx.qdq.graph import (
    facts_of,
    masked,
    mixed_widths,
    nothing_in,
    prepared,
    quiet,
    too_few,
)
from plugins.quantizer._onnx.qdq.options import Activation, QdqOptions, Weight
from plugins.quantizer._onnx.qdq.qnn_ranges import carried, edge_tensors
from plugins.quantizer._onnx.qdq.static import Layout, config_for, quantised

if TYPE_CHECKING:
    import onnx


REMEDY = "shorten `exclude`"


__all__ = ["Activation", "Layout", "Method", "Qdq", "QdqOptions", "Weight"]


class Qdq(Quantizer[QdqOptions]):
    """Quantises weights and activations with ranges from calibration data, as QNN accepts it."""

    name = "qdq"
    Options = QdqOptions
    libraries = (
        Requirement("onnxruntime", "pip install onnxruntime"),
        Requirement("onnx", "pip install onnx"),
    )

    @property
    def calibration_windows(self) -> int:
        """Return how many windows of calibration data the quantizer wants."""
        return self.options.windows

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Map a float graph to one of 4- or 8-bit weights and 8- or 16-bit activations."""
        traits = self.options.traits()
        if self.options.activation is not Activation.uint16:
            return ArtifactSpec(spec.format, "int8", traits)
        wide = "w4a16" if self.options.weight is Weight.int4 else "w8a16"
        return ArtifactSpec(spec.format, wide, traits)

    def run(self, artifact: Artifact, calibration: Calibration, work: StageContext) -> StageResult:
        """Quantise the graph; inputs and outputs stay FP32.

        Raises InputError for calibration data that cannot be used, StageError for a graph that
        has nothing to quantise or that overflows.
        """
        model = cleaned(inferred(Path(artifact.path)))
        if not activations(model):
            raise nothing_in(artifact, REMEDY)
        with tempfile.TemporaryDirectory(dir=work.folder) as scratch, quiet():
            work.progress(0, calibration.count, "preparing the graph")
            model, masks = masked(prepared(model, Path(scratch)), Path(scratch), calibration)
            config = self._config(model)
            ranges = collect(
                Path(scratch) / "float.onnx",
                calibration,
                config.op_types_to_quantize,
                self.options.method,
                self.options.percentile,
                work.progress,
                symmetric=self.options.symmetric,
            )
            work.progress(calibration.count, calibration.count, "quantising the graph")
            notices = (*masks, *doubts(model, config, ranges))
            lowered = quantised(model, config, ranges)
        facts = facts_of(lowered, config, ranges.windows)
        notices += too_few(ranges.windows, self.options.windows)
        if self.options.activation is not Activation.uint16:
            notices += mixed_widths(facts)
        if not facts["quantised_nodes"]:
            raise nothing_in(artifact, REMEDY)
        path = work.folder / "model.onnx"
        save(lowered, path)
        facts["bytes"] = sum(file.stat().st_size for file in work.folder.iterdir())
        return StageResult(path, "onnx", self.plan(artifact.spec).precision, facts, notices)

    def _config(self, model: onnx.ModelProto) -> Any:
        options = self.options
        wide: list[str] = []
        if options.activation is not Activation.uint16:
            wide = tensors_matching(model, options.wide, "wide")
            wide += [] if options.edges is None else edge_tensors(model, options.edges)
            wide = carried(model, wide)
        return config_for(
            model,
            options.weight.value,
            options.activation.value,
            per_channel=options.per_channel,
            wide=wide,
            excluded=nodes_matching(model, options.exclude, "exclude"),
            layout=options.layout,
            symmetric=options.symmetric,
            weight_symmetric=options.weight_symmetric,
        )


@hookimpl
def luthier_plugins() -> list[type[Qdq]]:
    """Return the plugin of this file."""
    return [Qdq]
