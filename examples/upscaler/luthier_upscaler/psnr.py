"""PSNR, the usual measure of images: against the true image and against FP32 PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from luthier import Array, EvaluatedItem, Evaluator, LimitSpec, Metric, NoOptions, Signature

from luthier_upscaler.bicubic import bicubic

__all__ = ["Psnr", "psnr_db"]

#: The figure for two equal images: it is finite, so that JSON and plots can hold it.
LIMIT_DB = 100.0


def psnr_db(true: Array, image: Array) -> float:
    """Return 10·log10(1 / mean squared error) in dB, for values from 0 to 1.

    Values outside 0 to 1 are clipped first, as in a file. The result is at most 100 dB.
    """
    import numpy as np

    error = float(np.mean(np.square(np.clip(true, 0, 1) - np.clip(image, 0, 1), dtype=np.float64)))
    return min(LIMIT_DB, -10 * float(np.log10(error))) if error else LIMIT_DB


class Psnr(Evaluator[NoOptions]):
    """Measures PSNR: against the true image, over bicubic, and against FP32 PyTorch."""

    name = "psnr"
    limits: ClassVar[Mapping[str, LimitSpec]] = {
        "min_psnr_db": LimitSpec("psnr", "dB", is_least=True),
        "min_psnr_to_fp32_db": LimitSpec("psnr_to_fp32", "dB", is_least=True),
    }

    def evaluate(self, played: EvaluatedItem, signature: Signature) -> Sequence[Metric]:
        """Return `psnr_to_fp32`, and also `psnr` and `psnr_gain` if the true image is known."""
        source, target = signature.inputs[0].name, signature.outputs[0].name
        item, output = played.item, played.outputs[target]

        def metric(name: str, value: float, note: str) -> Metric:
            return Metric(
                name, value, "dB", played.device, item.name, target, better="higher", note=note
            )

        to_fp32 = psnr_db(played.reference[target], output)
        metrics = [metric("psnr_to_fp32", to_fp32, f"against FP32 PyTorch with {played.against}")]
        if target in item.references:
            true = item.references[target]
            reached, simple = psnr_db(true, output), psnr_db(true, bicubic(item.inputs[source]))
            note = f"above bicubic, which reaches {simple:.2f} dB"
            metrics += [
                metric("psnr", reached, "against the true image"),
                metric("psnr_gain", reached - simple, note),
            ]
        return metrics
