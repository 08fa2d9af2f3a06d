"""Static quantisation to integers: QuantizeLinear and DequantizeLinear around every operator."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import (
    ArtifactSpec,
    Calibration,
    Library,
    Made,
    Quantizer,
    StageError,
    Work,
    hookimpl,
)
from core.onnx_file import save
from plugins.quantizer.onnx_graph import (
    activations,
    cleaned,
    inferred,
    nodes_matching,
    tensors_matching,
)
from plugins.quantizer.onnx_graph.calibrate import Method, collect
from plugins.quantizer.onnx_graph.qdq_graph import (
    facts_of,
    mixed_widths,
    prepared,
    quiet,
    too_few,
)
from plugins.quantizer.onnx_graph.qnn_ranges import edge_tensors
from plugins.quantizer.onnx_graph.static import Layout, bits_of, config_for, quantised

if TYPE_CHECKING:
    import onnx

    from core import Artifact


class Weight(Enum):
    """The type of weights."""

    int8 = "QInt8"
    uint8 = "QUInt8"
    int4 = "QInt4"


class Activation(Enum):
    """The type of activations."""

    uint8 = "QUInt8"
    int8 = "QInt8"
    uint16 = "QUInt16"


@dataclass
class QdqOptions:
    """The options of static quantisation."""

    weight: Weight = Weight.int8
    """Type of the weights: int8, uint8 or int4."""
    activation: Activation = Activation.uint8
    """Type of the activations: uint8 and int8 make precision `int8`, uint16 makes `w8a16`, and
    `w4a16` with weights of int4."""
    layout: Layout = Layout.qnn
    """Where conversions go, by what a runtime fuses: qnn (around every operator), cpu (before Gemm
    and MatMul), tensorrt (before these, Conv and ConvTranspose)."""
    symmetric: bool = False
    """Ranges of activations are centred on zero, as TensorRT demands."""
    weight_symmetric: bool | None = None
    """Ranges of weights are centred on zero; null centres those of int8 and int4."""
    per_channel: bool = False
    """One scale per output channel of a convolution's weights, instead of one for all."""
    method: Method = Method.minmax
    """How a range follows from the values seen: minmax, entropy, percentile, or mse (the least
    mean squared error)."""
    percentile: float = 99.999
    """Percentage of the values that the range keeps, for the method percentile."""
    windows: int = 24
    """How many windows of calibration data to look at."""
    wide: list[str] = field(default_factory=list)
    """Activations that get 16 bits among 8-bit ones: operators (LayerNormalization: what it puts
    out) or patterns of tensor names (*/norm1/*). Conversions are added around them."""
    edges: int = 0
    """Layers from an input or output within which activations get 16 bits among 8-bit ones: what
    is far louder at its peaks than on average loses most there. 0 for none."""
    exclude: list[str] = field(default_factory=list)
    """What stays in float: operators or patterns of node names."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that cannot be."""
        if self.windows < 1:
            raise ValueError(f"`windows` cannot be {self.windows}; ranges need at least 1")
        if self.edges < 0:
            raise ValueError(f"`edges` cannot be {self.edges}; it counts layers, from 0")
        wide = self.activation is Activation.uint16
        if self.weight is Weight.int4 and not wide:
            raise ValueError("`weight` int4 needs `activation` uint16: nothing here runs w4a8")
        if self.layout is Layout.qnn:
            pass
        elif wide or self.wide or self.edges:
            raise ValueError(
                f"`layout` {self.layout.name} has no activations of 16 bits: leave out `wide` and "
                "`edges`, and give `activation` 8 bits"
            )
        elif self.layout is Layout.tensorrt and not (
            self.activation is Activation.int8 and self.symmetric
        ):
            raise ValueError("`layout` tensorrt takes `activation` int8 with `symmetric` true only")
        if not 50 < self.percentile <= 100:  # noqa: PLR2004  # half of the values, all of them
            raise ValueError(f"`percentile` cannot be {self.percentile}; it is above 50, up to 100")


class Qdq(Quantizer[QdqOptions]):
    """Quantises weights and activations with ranges from calibration data, as QNN accepts it."""

    name = "qdq"
    Options = QdqOptions
    libraries = (
        Library("onnxruntime", "pip install onnxruntime"),
        Library("onnx", "pip install onnx"),
    )

    @property
    def calibration_windows(self) -> int:
        """Return how many windows of calibration data it wants."""
        return self.options.windows

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Map a float graph to one of 4- or 8-bit weights and 8- or 16-bit activations."""
        if self.options.activation is not Activation.uint16:
            return ArtifactSpec(spec.format, "int8")
        return ArtifactSpec(spec.format, "w4a16" if self.options.weight is Weight.int4 else "w8a16")

    def run(self, artifact: Artifact, calibration: Calibration, work: Work) -> Made:
        """Quantise the graph; inputs and outputs stay FP32.

        Raises InputError for calibration data that cannot be used, StageError for a graph that
        has nothing to quantise or that overflows.
        """
        model = cleaned(inferred(Path(artifact.path)))
        if not activations(model):
            raise _nothing(artifact)
        with tempfile.TemporaryDirectory(dir=work.folder) as scratch, quiet():
            work.progress(0, calibration.count, "preparing the graph")
            model = prepared(model, Path(scratch))
            config = self._config(model)
            ranges = collect(
                Path(scratch) / "float.onnx",
                calibration,
                config.op_types_to_quantize,
                self.options.method,
                self.options.percentile,
                work.progress,
                bits=bits_of(config, model),
                symmetric=self.options.symmetric,
            )
            work.progress(calibration.count, calibration.count, "quantising the graph")
            lowered = quantised(model, config, ranges)
        facts = facts_of(lowered, config, ranges.windows)
        notices = too_few(ranges.windows, self.options.windows)
        if self.options.activation is not Activation.uint16:
            notices += mixed_widths(facts)
        if not facts["quantised_nodes"]:
            raise _nothing(artifact)
        path = work.folder / "model.onnx"
        save(lowered, path)
        facts["bytes"] = sum(file.stat().st_size for file in work.folder.iterdir())
        return Made(path, "onnx", self.plan(artifact.spec).precision, facts, notices)

    def _config(self, model: onnx.ModelProto) -> Any:
        options = self.options
        wide: list[str] = []
        if options.activation is not Activation.uint16:
            wide = tensors_matching(model, options.wide, "wide")
            wide += edge_tensors(model, options.edges) if options.edges else []
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


def _nothing(artifact: Artifact) -> StageError:
    return StageError(
        "the graph has nothing to quantise: no operator of it computes in FP32",
        f"at: {artifact.path}",
        "quantise a graph in FP32 (quantizer=none keeps this one), or shorten `exclude`",
    )


@hookimpl
def luthier_plugins() -> list[type[Qdq]]:
    """Return the plugin of this file."""
    return [Qdq]
