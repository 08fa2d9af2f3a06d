"""Ranges of 8 bits for results of softmaxes: as far as they were seen to reach, and some room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

    from plugins.quantizer._onnx.calibration.choose import Range

__all__ = ["softmax_ranges"]

#: How many times larger than any weight seen a weight may become before it is clipped.
ROOM = 4.0


def softmax_ranges(model: onnx.ModelProto, extremes: Mapping[str, Range]) -> dict[str, Range]:
    """Return the ranges of softmaxes among `extremes`, for 8 bits.

    ONNX Runtime 1.31.1 assumes that all of them reach 1. Of 512 keys none weighs more than 0.013
    where attention is flat: 12.5 dB are left in 8 bits, and 42.2 with a range up to there (12.6 and
    20.5 on the HTP, onnxruntime-qnn 2.7.0). A method that cuts off rare values does not suit them:
    attention consists of the largest weights.
    """
    outputs = [node.output[0] for node in model.graph.node if node.op_type == "Softmax"]
    return {name: (0.0, min(1.0, ROOM * extremes[name][1])) for name in outputs if name in extremes}
