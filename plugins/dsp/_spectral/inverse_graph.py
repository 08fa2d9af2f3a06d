"""The inverse transform as an ONNX graph: the outputs of the core to one window of waveform."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from plugins.dsp._spectral.forward_graph import twiddled
from plugins.dsp._spectral.frames import envelope, hann_window, padding
from plugins.dsp._spectral.layout import Layout
from plugins.dsp._spectral.nodes import Nodes

__all__ = ["write_inverse"]

#: Hops at the start, and at the end, that fewer than four frames cover.
_ENDS = 3


def write_inverse(path: Path, layout: Layout) -> Path:
    """Write what `Transform.inverse` computes."""
    nodes = Nodes()
    time = layout.time_out
    if layout.normalise:
        time = nodes.add("Add", nodes.add("Mul", time, "mix_std"), "mix_mean")
    time = nodes.reshape(time, layout.stems, layout.channels, layout.length)
    nodes.add("Add", time, _waveform(nodes, layout), name=layout.result)
    return nodes.write(
        path,
        "inverse",
        {**layout.core_outputs, **layout.statistics},
        {layout.result: (layout.stems, layout.channels, layout.length)},
    )


def _waveform(nodes: Nodes, layout: Layout) -> str:
    """Return the spectral branch as (stem, channel, time)."""
    hops = _overlapped(nodes, layout, _frames(nodes, layout))
    hops = nodes.add("Mul", hops, _levels(nodes, layout))
    hops = nodes.add("Transpose", hops, perm=[0, 1, 3, 2])
    samples = (layout.frames + 3) * layout.hop
    whole = nodes.reshape(hops, layout.stems, layout.channels, samples)
    start = padding(layout.hop)
    return nodes.cut(whole, 2, start, start + layout.length)


def _frames(nodes: Nodes, layout: Layout) -> str:
    """Return the windowed frames (stem · channel, frame, b, a)."""
    split, signals = layout.factors, layout.stems * layout.channels
    spectrum = nodes.reshape(_weighted(nodes, layout), signals, 2, layout.bins, layout.frames)
    missing = split.bands * split.rows - layout.bins
    spectrum = nodes.pad(spectrum, 4, 2, (0, missing), "constant")
    bands = nodes.reshape(
        nodes.add("Transpose", spectrum, perm=[0, 3, 1, 2]),
        signals, layout.frames, 2 * split.bands, split.rows,
    )  # fmt: skip
    mixed = nodes.add("MatMul", nodes.constant("second", split.second_back()), bands)
    real = nodes.cut(mixed, 2, 0, split.columns)
    imaginary = nodes.cut(mixed, 2, split.columns, 2 * split.columns)
    by_real, by_imaginary = split.twiddle()
    turn = nodes.constant("twiddle real", by_real), nodes.constant("twiddle back", -by_imaginary)
    turned = nodes.add("Concat", *twiddled(nodes, real, imaginary, *turn), axis=-1)
    frame = nodes.add("MatMul", turned, nodes.constant("first", split.first_back()))
    hann = hann_window(layout.nfft) * np.float32(math.sqrt(layout.nfft))
    return nodes.add("Mul", frame, nodes.constant("hann", layout.transposed(hann)))


def _weighted(nodes: Nodes, layout: Layout) -> str:
    """Return the denormalised spectrum, with half of each bin that has no mirror image."""
    weight = np.ones((layout.bins, 1), np.float32)
    weight[0] = 0.5
    if layout.keep_nyquist:
        weight[-1] = 0.5
    weights = nodes.constant("weights", weight)
    if not layout.normalise:
        return nodes.add("Mul", layout.spec_out, weights)
    scale, shift = (nodes.add("Mul", weights, name) for name in ("mag_std", "mag_mean"))
    return nodes.add("Add", nodes.add("Mul", layout.spec_out, scale), shift)


def _overlapped(nodes: Nodes, layout: Layout, frames: str) -> str:
    """Return the sum of the frames, each a hop after the one before: (signal, hop, b, a)."""
    rows = layout.hop_rows
    parts = [
        nodes.pad(
            nodes.cut(frames, 3, part * rows, (part + 1) * rows), 4, 1, (part, 3 - part), "constant"
        )
        for part in range(4)
    ]
    return nodes.add("Sum", *parts)


def _levels(nodes: Nodes, layout: Layout) -> str:
    """Return one over the sum of the squared windows, per hop or one for all.

    With whole edges only the hops at either end differ, so the graph holds one of the others.
    """
    hann = hann_window(layout.nfft)
    rows = envelope(hann, layout.hop, layout.frames, layout.whole_edges)
    levels = layout.transposed(np.float32(1) / rows)
    if len(levels) <= 2 * _ENDS + 1:
        return nodes.constant("levels", levels)
    middle = nodes.constant("levels inside", levels[_ENDS : _ENDS + 1])
    ends = (
        nodes.constant("levels at first", levels[:_ENDS]),
        nodes.constant("levels at last", levels[-_ENDS:]),
    )
    shape = (len(levels) - 2 * _ENDS, *levels.shape[1:])
    return nodes.add(
        "Concat", ends[0], nodes.add("Expand", middle, nodes.whole(*shape)), ends[1], axis=0
    )
