"""The options of static quantisation, and the combinations that no runtime takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from core.config.bounds import MOST_WINDOWS, check_within
from plugins.quantizer._onnx.calibration.collect import Method
from plugins.quantizer._onnx.qdq.static import Layout

__all__ = ["Activation", "QdqOptions", "Weight"]


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
    edges: int | None = None
    """Layers from an input or output within which activations get 16 bits among 8-bit ones: what
    is far louder at its peaks than on average loses most there. 0 for the inputs and outputs
    themselves, null for none."""
    exclude: list[str] = field(default_factory=list)
    """What stays in float: operators or patterns of node names."""

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range, and for options that exclude each other."""
        check_within(self, "windows", 1, MOST_WINDOWS)
        if self.edges is not None and self.edges < 0:
            raise ValueError(f"`edges` cannot be {self.edges}; it counts layers, from 0")
        wide = self.activation is Activation.uint16
        if self.weight is Weight.int4 and not wide:
            raise ValueError("`weight` int4 needs `activation` uint16: no runtime here runs w4a8")
        if self.layout is Layout.qnn:
            pass
        elif wide or self.wide or self.edges is not None:
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

    def traits(self) -> frozenset[str]:
        """Return how the integers are written, for runtimes that take only some: `ArtifactSpec`."""
        signed = self.weight is not Weight.uint8
        centred = signed if self.weight_symmetric is None else self.weight_symmetric
        found = {
            "unsigned activations": self.activation is not Activation.int8,
            "asymmetric activations": not self.symmetric,
            "unsigned weights": not signed,
            "asymmetric weights": not centred,
        }
        return frozenset(name for name, holds in found.items() if holds)
