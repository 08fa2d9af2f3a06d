"""Looks into a float graph while calibration windows stream through it, one window in memory.

The graph gets outputs of a few bytes each: how large every tensor is, how weak, and what the sums
inside reductions and norms come to. Activations themselves never leave ONNX Runtime.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core import InputError
from core.onnx_file import save
from plugins.quantizer.onnx_graph.inner_sums import OPAQUE, SumProbe, probe_of
from plugins.quantizer.onnx_graph.select import activations

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from core.values import Tensors

__all__ = ["Observer", "Seen", "Summed", "observer_of"]

#: Operators for which every single value counts, however small: a divisor's error is the result's.
SENSITIVE = {"Div": 1, "Reciprocal": 0, "Sqrt": 0, "Log": 0}


@dataclass
class Seen:
    """What all windows showed of one tensor.

    `peak` is the largest magnitude, infinite where the graph itself overflows. `weakest` is the
    smallest root mean square over one window, of the windows in which it was not 0. `least` is
    the smallest magnitude that is not 0, known only for what `SENSITIVE` operators read.
    """

    peak: float = 0.0
    weakest: float = math.inf
    least: float = math.inf


@dataclass
class Summed:
    """What all windows showed of the sum inside one node.

    `largest` is the largest sum of magnitudes (or squares) and `terms` how many are summed;
    `variance` is the smallest that a norm divided by, epsilon included.
    """

    terms: int = 0
    largest: float = 0.0
    variance: float = math.inf


@dataclass
class Observer:
    """A graph opened with more outputs, and what was seen so far by tensor and by node."""

    session: Any
    tensors: list[str]
    sensitive: list[str]
    probes: list[SumProbe]
    seen: dict[str, Seen] = field(default_factory=dict)
    sums: dict[str, Summed] = field(default_factory=dict)
    input_peaks: dict[str, float] = field(default_factory=dict)
    windows: int = 0

    def watch(self, feeds: Tensors) -> None:
        """Run one window and widen what was seen."""
        import numpy as np

        known = {i.name: feeds[i.name] for i in self.session.get_inputs()}
        names = [output.name for output in self.session.get_outputs()]
        found = dict(zip(names, self.session.run(names, known), strict=True))
        for index, tensor in enumerate(self.tensors):
            high, low, squares, size = (
                float(found[f"{mark}.{index}"]) for mark in ("high", "low", "squares", "size")
            )
            entry = self.seen.setdefault(tensor, Seen())
            finite = math.isfinite(high) and math.isfinite(low) and not math.isnan(squares)
            entry.peak = max(entry.peak, abs(high), abs(low)) if finite else math.inf
            if finite and squares > 0:
                entry.weakest = min(entry.weakest, math.sqrt(squares / size))
        for index, tensor in enumerate(self.sensitive):
            least = float(found[f"least.{index}"])
            self.seen[tensor].least = min(self.seen[tensor].least, least)
        for probe in self.probes:
            terms, largest, variance = probe.read([np.asarray(found[n]) for n in probe.outputs])
            total = self.sums.setdefault(probe.node, Summed())
            total.terms = max(total.terms, terms)
            total.largest = max(total.largest, largest) if math.isfinite(largest) else math.inf
            total.variance = min(total.variance, variance)
        self.windows += 1

    def stream(self, windows: Iterable[Tensors], gain: float) -> Iterator[int]:
        """Watch every window as it is and `gain` times louder, then silence; yields how many.

        A louder input is clipped at the largest peak that this input has shown so far, which is
        what a recording of too high a level does to a waveform. Raises InputError for a window
        that lacks an input, or holds values that are not numbers.
        """
        import numpy as np

        silence: Tensors = {}
        for index, feeds in enumerate(windows):
            for name in (i.name for i in self.session.get_inputs()):
                if name not in feeds or not np.isfinite(feeds[name]).all():
                    raise InputError(
                        f"calibration window {index + 1} holds nothing usable for `{name}`",
                        "it is missing, or holds values that are not numbers (NaN or infinite)",
                        "repair or leave out the file, or choose other data: calibration=...",
                    )
                largest = float(np.abs(feeds[name]).max(initial=0.0))
                self.input_peaks[name] = max(self.input_peaks.get(name, 0.0), largest)
            self.watch(feeds)
            yield self.windows
            self.watch({name: self._louder(name, array, gain) for name, array in feeds.items()})
            yield self.windows
            silence = {name: np.zeros_like(array) for name, array in feeds.items()}
        if silence:
            self.watch(silence)
            yield self.windows

    def _louder(self, name: str, array: Any, gain: float) -> Any:
        import numpy as np

        if not np.issubdtype(array.dtype, np.floating):
            return array
        limit = self.input_peaks.get(name, 0.0)
        return np.clip(array * array.dtype.type(gain), -limit, limit)


def observer_of(model: onnx.ModelProto, scratch: Path) -> Observer:
    """Open `model`, which is left alone, with an output for everything that is looked at."""
    import onnx
    import onnxruntime

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    tensors = activations(model)
    places = {t: None for n in model.graph.node for t in _sensitive_inputs(n)}
    sensitive = [t for t in places if t in set(tensors)]
    probes = [
        probe
        for node in model.graph.node
        if node.op_type not in OPAQUE and node.input and node.input[0] in set(tensors)
        if (probe := probe_of(node)) is not None
    ]
    _add(watched, tensors, _measures)
    _add(watched, sensitive, _least)
    for probe in probes:
        watched.graph.node.extend(probe.nodes)
        watched.graph.output.extend(_output(name) for name in probe.outputs)
    path = scratch / "watched.onnx"
    save(watched, path)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    # Fusions would be undone by the outputs; elsewhere they would hide the tensors looked at.
    # Nothing can be fused where everything is an output, and looking for it took 49 s for the
    # bundled model's 1,500 nodes (ONNX Runtime 1.31.1); without, the graph opens in 1.4 s.
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        str(path), sess_options=settings, providers=["CPUExecutionProvider"]
    )
    return Observer(session, tensors, sensitive, probes)


def _sensitive_inputs(node: onnx.NodeProto) -> list[str]:
    place = SENSITIVE.get(node.op_type)
    return [] if place is None else [node.input[place]]


def _add(
    model: onnx.ModelProto,
    tensors: list[str],
    measures: Callable[[str, int], list[onnx.NodeProto]],
) -> None:
    """Add what `measures` makes of every tensor, its last outputs being results."""
    for index, tensor in enumerate(tensors):
        nodes = measures(tensor, index)
        model.graph.node.extend(nodes)
        read = {name for node in nodes for name in node.input}
        made = [name for node in nodes for name in node.output]
        model.graph.output.extend(_output(name) for name in made if name not in read)


def _measures(tensor: str, index: int) -> list[onnx.NodeProto]:
    from onnx import helper

    return [
        helper.make_node("ReduceMax", [tensor], [f"high.{index}"], keepdims=0),
        helper.make_node("ReduceMin", [tensor], [f"low.{index}"], keepdims=0),
        helper.make_node("ReduceSumSquare", [tensor], [f"squares.{index}"], keepdims=0),
        helper.make_node("Size", [tensor], [f"size.{index}"]),
    ]


def _least(tensor: str, index: int) -> list[onnx.NodeProto]:
    """Return the smallest magnitude other than 0, infinite where all are 0."""
    import numpy as np
    from onnx import helper, numpy_helper

    nothing, infinity = (numpy_helper.from_array(np.array(v, np.float32)) for v in (0.0, np.inf))
    part = [f"least.{step}.{index}" for step in ("zero", "infinity", "size", "none", "some")]
    return [
        helper.make_node("Constant", [], [part[0]], value=nothing),
        helper.make_node("Constant", [], [part[1]], value=infinity),
        helper.make_node("Abs", [tensor], [part[2]]),
        helper.make_node("Equal", [part[2], part[0]], [part[3]]),
        helper.make_node("Where", [part[3], part[1], part[2]], [part[4]]),
        helper.make_node("ReduceMin", [part[4]], [f"least.{index}"], keepdims=0),
    ]


def _output(name: str) -> onnx.ValueInfoProto:
    """Return an output whose type ONNX Runtime works out."""
    import onnx

    return onnx.ValueInfoProto(name=name)
