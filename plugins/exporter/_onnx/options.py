"""The options that every exporter to ONNX has."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

__all__ = ["ExportOptions", "ExternalData"]


class ExternalData(Enum):
    """Where the weights go."""

    auto = "auto"
    always = "always"


@dataclass
class ExportOptions:
    """The options that all exporters to ONNX share."""

    opset: int = 20
    """Version of the ONNX operator set. Below 20 there is no Gelu: it falls apart into Erf
    arithmetic, which is slower on CPUs and which an NPU may refuse."""
    dynamic: bool = False
    """Leave the axes that a window cuts free, so that one graph serves windows of any length."""
    verify: bool = True
    """Run the graph on the example inputs and compare it with PyTorch."""
    tolerance_db: float = 80.0
    """Lowest signal-to-noise ratio against PyTorch, in dB, that counts as the same result. ONNX
    Runtime's LayerNormalization over long rows is the least exact of its operators: 89 dB."""
    external_data: ExternalData = ExternalData.auto
    """Write the weights beside the graph: where one file cannot hold them (2 GB), or always."""

    #: The opsets that the exporter can write.
    opsets: ClassVar[range] = range(18, 22)

    def __post_init__(self) -> None:
        """Raise ValueError for an opset that the exporter cannot write."""
        if self.opset not in self.opsets:
            raise ValueError(
                f"`opset` cannot be {self.opset}; "
                f"this exporter writes {self.opsets[0]} to {self.opsets[-1]}"
            )
