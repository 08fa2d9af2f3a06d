"""Which integers a back end takes, and how their ranges follow from values, at any scale.

torchao 0.18 never takes a step below 2^-12 (`eps`), whatever it rounds: smaller weights and
activations become zeros. Its histogram finds the range of the least squared error with cubes of
the values, which leave the numbers of FP32 above 1e12 and below 1e-12. A network computes
the same with weights a million times smaller and a gain behind them, so here neither counts.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.formats.torch_export import quiet
from plugins.quantizer._torchao.choices import Backend

if TYPE_CHECKING:
    import torch

__all__ = ["types_for"]

#: The smallest step: the smallest number that FP32 holds with all its bits, so that one divided by
#: it is still finite. Values that need a smaller one are zero in FP32 as well.
SMALLEST = 2.0**-126


def types_for(backend: Backend, *, dynamic: bool, reduce_range: bool = False) -> Any:
    """Return torchao's types for a back end, with observers that know no absolute size.

    x86: activations uint8, weights int8 per channel; ARM: both int8, per tensor.
    """
    with quiet():
        from torchao.quantization.pt2e.quantizer import arm_inductor_quantizer as arm
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86
    if backend.here is Backend.arm:
        config = arm.get_default_arm_inductor_quantization_config(is_dynamic=dynamic)
    else:
        config = x86.get_default_x86_inductor_quantization_config(
            is_dynamic=dynamic, reduce_range=reduce_range
        )
    return replace(
        config,
        input_activation=_free(config.input_activation, None if dynamic else _histogram()),
        weight=_free(config.weight),
    )


def _free(spec: Any, observer: Any = None) -> Any:
    """Return torchao's `spec` of a tensor with no floor but `SMALLEST`, observed by `observer`."""
    # This makes the observer: a `functools.partial` in a wrapper that prints well.
    made = spec.observer_or_fake_quant_ctr.p
    settings = {**made.keywords, "eps": SMALLEST}
    kind = observer or made.func
    return replace(spec, observer_or_fake_quant_ctr=kind.with_args(**settings))


def _histogram() -> Any:
    """Return torchao's histogram, in units of its own largest value."""
    import torch
    from torchao.quantization.pt2e.observer import HistogramObserver

    class Histogram(HistogramObserver):  # type: ignore[misc]  # torchao ships no types
        def forward(self, x_orig: torch.Tensor) -> torch.Tensor:
            if not torch.isnan(self.min_val) and not torch.isnan(x_orig).any():
                return super().forward(x_orig)  # type: ignore[no-any-return]  # as above
            self.min_val.fill_(math.nan)  # reported where the layer's name is known
            return x_orig

        def calculate_qparams(self) -> tuple[torch.Tensor, torch.Tensor]:
            least, most = self.min_val.clone(), self.max_val.clone()
            largest = torch.maximum(least.abs(), most.abs())
            if not torch.isfinite(largest):
                return super().calculate_qparams()  # type: ignore[no-any-return]  # as above
            # A power of two, so that no value is rounded.
            unit = torch.exp2(torch.frexp(largest).exponent.clamp(-126, 127).float())
            self.min_val.copy_(least / unit)
            self.max_val.copy_(most / unit)
            try:
                scale, zero = super().calculate_qparams()
            finally:
                self.min_val.copy_(least)
                self.max_val.copy_(most)
            return (scale * unit).clamp_min(SMALLEST), zero

    return Histogram
