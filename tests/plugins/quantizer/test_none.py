"""The quantizer `none`."""

from __future__ import annotations

from core import ArtifactSpec
from plugins.quantizer.none import NoQuantizer


def test_the_graph_is_passed_on() -> None:
    """The quantizer `none` runs no stage, needs no data, and passes the graph on."""
    quantizer = NoQuantizer(NoQuantizer.Options())
    assert quantizer.passes
    assert quantizer.calibration_windows == 0
    assert quantizer.plan(ArtifactSpec("onnx", "fp32")) == ArtifactSpec("onnx", "fp32")
