"""Learns ranges, weights and biases of a rounded network from the float one: distillation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from core import Notice, Progress

if TYPE_CHECKING:
    from plugins.quantizer._qat.lessons import Lessons
    from plugins.quantizer._qat.network import Network

__all__ = ["Learned", "learn"]

#: How often the result is tested on the windows that were held back.
CHECKS = 6
#: The rate falls to this part of itself, along a half cosine.
LAST_RATE = 0.02
#: Rates of weights and biases, as parts of their largest value, relative to the rate of ranges.
#: Weights are rounded to within 1/127 of it: higher rates jump back and forth between two integers.
OF_VALUES = 1 / 400
#: Rate of the scales of weights relative to that of ranges: weights of 8 bits lose little anyway.
OF_SCALES = 1 / 10


@dataclass(frozen=True)
class Learned:
    """The SNR on held-back windows in dB before and after, and the step that was best.

    `skipped` steps had a gradient that is not finite.
    """

    before_db: float
    after_db: float
    best_step: int
    skipped: int = 0

    def notices(self) -> tuple[Notice, ...]:
        """Return the result of learning, in words."""
        told = (self._brought(),)
        if not self.skipped:
            return told
        text = (
            f"{self.skipped} step(s) of learning had a gradient that is not finite, and were left "
            "out: the graph divides by zero, or takes a root or a logarithm of zero"
        )
        return (Notice("warning", text), *told)

    def _brought(self) -> Notice:
        before, after = f"{self.before_db:.1f} dB", f"{self.after_db:.1f} dB"
        if self.best_step:
            text = f"learning raised the SNR on held-back windows from {before} to {after}"
            return Notice("info", text)
        text = f"learning did not improve on static ranges ({before} on held-back windows)"
        return Notice("warning", f"{text}: try more steps or windows, or another learning_rate")


def learn(
    network: Network, lessons: Lessons, steps: int, rate: float, seed: int, progress: Progress
) -> Learned:
    """Learn in place, and leave the best state seen on held-back windows: perhaps the first one.

    Adam; `rate` is the relative change of a range in one step, from which the other rates follow.
    The loss is the noise-to-signal ratio of the outputs, per channel: see `Lessons.error`.
    """
    given = list(_rates(network, rate))
    # The second moment forgets in about a hundred steps: there are only a few hundred.
    optimiser = torch.optim.Adam(
        [{"params": [tensor], "lr": own} for tensor, own in given], betas=(0.9, 0.99)
    )
    rates = [own for _, own in given]
    generator = torch.Generator().manual_seed(seed)
    tensors = [tensor for tensor, _ in given]
    first = best = lessons.snr_db(network)
    kept, best_step, order = [tensor.detach().clone() for tensor in tensors], 0, list[int]()
    skipped = 0
    check = max(1, steps // CHECKS)
    for step in range(1, steps + 1):
        progress(step - 1, steps, f"learning: SNR {best:.1f} dB on held-back windows")
        if not order:
            order = torch.randperm(len(lessons.learned), generator=generator).tolist()
        wave = 0.5 + 0.5 * math.cos(math.pi * (step - 1) / steps)
        for group, full in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = full * max(wave, LAST_RATE)
        optimiser.zero_grad()
        lessons.error(network, lessons.learned[order.pop()]).mean().backward()  # type: ignore[no-untyped-call]
        if all(tensor.grad is None or bool(tensor.grad.isfinite().all()) for tensor in tensors):
            optimiser.step()
        else:
            skipped += 1
        if step % check == 0 or step == steps:
            now = lessons.snr_db(network)
            if now > best:
                best, best_step = now, step
                kept = [tensor.detach().clone() for tensor in tensors]
    with torch.no_grad():
        for tensor, value in zip(tensors, kept, strict=True):
            tensor.copy_(value)
    progress(steps, steps)
    return Learned(first, best, best_step, skipped)


def _rates(network: Network, rate: float) -> Iterator[tuple[Tensor, float]]:
    """Yield the tensors that are learned, each with the rate that suits its size."""
    if network.ranges.index:
        yield network.ranges.factors, rate
    for weight in network.weights.values():
        yield weight.value, rate * _largest(weight.value) * OF_VALUES
        yield weight.factor, rate * OF_SCALES
    for bias in network.biases.values():
        yield bias.value, rate * _largest(bias.value) * OF_VALUES


def _largest(tensor: Tensor) -> float:
    return float(tensor.detach().abs().max()) if tensor.numel() else 0.0
