"""Room above what calibration saw, for tensors whose type has steps to spare.

A range of 16 bits that ends where the calibration data ended clips what is louder, and a clipped
transient costs far more than a wider step: on real music the bundled model at `w8a16`, calibrated
on a generator's songs, had 11.5 dB in the worst excerpt, and 33.6 dB with ends four times as far
out; eight times, 29.8 dB, because a spectrogram is so much louder at its peaks than on average that
there the step becomes the loss. So every tensor gets the room that its own step allows. With
calibration data of many kinds less room is needed: at least half as much again; three times lost
6 dB on a quiet cello, and a fifth lost 6 dB on a flute.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from plugins.quantizer._onnx.calibration.value_bounds import ENDLESS

if TYPE_CHECKING:
    from plugins.quantizer._onnx.calibration.choose import Range

__all__ = ["MOST", "MOST_OF_OPERAND", "with_headroom"]

#: How far a range ends beyond the values seen, as a factor: at least and at most.
LEAST, MOST = 1.5, 8.0
#: The most for the second operand of a product of two activations. The HTP multiplies 16 bits by 8
#: of it: attention whose keys and values had room of 8 times had 28 dB in its emulator, and 44
#: without (onnxruntime-qnn 2.7.0); on a CPU 50 dB either way.
MOST_OF_OPERAND = 1.25
#: Room beyond the least may not lower the SNR of rounding below this, in dB.
ROUNDING_DB = 62.0
#: Steps of a 16-bit type.
STEPS = 2**16 - 1


def with_headroom(
    extremes: Range, mean_square: float, bounds: Range = ENDLESS, most: float = MOST
) -> Range:
    """Return the 16-bit range of a tensor that reached `extremes` and has this mean square.

    Rounding to steps of Δ errs by Δ²/12 in power (Widrow and Kollár 2008, "Quantization Noise",
    chapter 5). A side that was hardly reached gets half the room of the other one, because a mean
    that was positive so far may become negative. No range passes `bounds`, beyond which its
    operator gives no value, and none gets more than `most` times as much.
    """
    low, high = min(extremes[0], 0.0), max(extremes[1], 0.0)
    peak = max(-low, high)
    if not peak:
        return extremes
    step = (high - low) / STEPS
    rounding_db = 10 * math.log10(max(mean_square, 1e-300) / (step * step / 12 or 1e-300))
    factor = min(max(10 ** ((rounding_db - ROUNDING_DB) / 20), LEAST), most)
    other = max(factor / 2, 1.0) * peak
    low, high = min(factor * low, -other), max(factor * high, other)
    # Values that were seen count before the bounds of the operator: rounding may pass those.
    return (
        min(max(low, bounds[0]), extremes[0]),
        max(min(high, bounds[1]), extremes[1]),
    )
