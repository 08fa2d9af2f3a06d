"""The forward transform as an ONNX graph: one window of waveform to the inputs of the core."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx

from plugins.dsp._spectral.frames import hann_window, paddings
from plugins.dsp._spectral.layout import Layout
from plugins.dsp._spectral.nodes import Nodes

__all__ = ["write_forward"]

DOUBLE, FLOAT = onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT


def write_forward(path: Path, layout: Layout, epsilon: float) -> Path:
    """Write what `Transform.forward` computes; `epsilon` is added to a standard deviation."""
    nodes = Nodes()
    mag = nodes.reshape(_spectrum(nodes, layout), *layout.core_inputs[layout.mag])
    mix = nodes.add("Unsqueeze", layout.window, nodes.whole(0))
    for name, value in ((layout.mix, mix), (layout.mag, mag)):
        if layout.normalise:
            kind = "mix" if name == layout.mix else "mag"
            count = math.prod(layout.core_inputs[name])
            _normalise(nodes, value, count, epsilon, kind, name)
        else:
            nodes.add("Identity", value, name=name)
    return nodes.write(
        path,
        "forward",
        {layout.window: (layout.channels, layout.length)},
        {**layout.core_inputs, **layout.statistics},
    )


def _spectrum(nodes: Nodes, layout: Layout) -> str:
    """Return the spectrum (channel, real or imaginary, bin, frame) of the window."""
    split, frames = layout.factors, layout.frames
    zeros, reflected = paddings(layout.length, layout.hop)
    padded = nodes.pad(layout.window, 2, 1, zeros, "constant")
    padded = nodes.pad(padded, 2, 1, reflected, "reflect")
    hops = nodes.reshape(padded, layout.channels, frames + 3, layout.hop_rows, split.columns)
    # Transposed before framing, because the frames hold every sample four times.
    hops = nodes.add("Transpose", hops, perm=[0, 1, 3, 2])
    parts = [nodes.cut(hops, 1, part, part + frames) for part in range(4)]
    hann = hann_window(layout.nfft) / np.float32(math.sqrt(layout.nfft))
    frame = nodes.add(
        "Mul",
        nodes.add("Concat", *parts, axis=-1),
        nodes.constant("hann", layout.transposed(hann)),
    )
    real, imaginary = (
        nodes.add("MatMul", frame, nodes.constant(f"first {name}", matrix))
        for name, matrix in zip(("real", "imaginary"), split.first(), strict=True)
    )
    turn = [
        nodes.constant(f"twiddle {name}", matrix)
        for name, matrix in zip(("real", "imaginary"), split.twiddle(), strict=True)
    ]
    turned = nodes.add("Concat", *twiddled(nodes, real, imaginary, *turn), axis=-2)
    bands = nodes.add("MatMul", nodes.constant("second", split.second()), turned)
    bands = nodes.reshape(bands, layout.channels, frames, 2, split.bands * split.rows)
    if layout.keep_nyquist:
        bands = nodes.cut(bands, 3, 0, layout.bins)
    return nodes.add("Transpose", bands, perm=[0, 2, 3, 1])


def twiddled(nodes: Nodes, real: str, imaginary: str, by_real: str, by_imaginary: str) -> list[str]:
    """Return a complex product, real and imaginary."""
    return [
        nodes.add(operator, nodes.add("Mul", real, by_one), nodes.add("Mul", imaginary, by_other))
        for operator, by_one, by_other in (
            ("Sub", by_real, by_imaginary),
            ("Add", by_imaginary, by_real),
        )
    ]


def _normalise(nodes: Nodes, x: str, count: int, epsilon: float, kind: str, name: str) -> None:
    """Write (x - mean) / (epsilon + std) to `name`, and both numbers beside it.

    Sums are taken in float64, as in `Transform.forward`.
    """
    mean = nodes.add("Cast", _sum(nodes, "ReduceMean", x), name=f"{kind}_mean", to=FLOAT)
    centred = nodes.add("Sub", x, mean)
    freedom = nodes.constant(f"{kind} freedom", np.array(max(1, count - 1), np.float64))
    variance = nodes.add("Div", _sum(nodes, "ReduceSumSquare", centred), freedom)
    std = nodes.add("Cast", nodes.add("Sqrt", variance), name=f"{kind}_std", to=FLOAT)
    nodes.add("Div", centred, nodes.add("Add", std, nodes.number(epsilon)), name=name)


def _sum(nodes: Nodes, operator: str, x: str) -> str:
    return nodes.add(operator, nodes.add("Cast", x, to=DOUBLE), keepdims=0)
