"""Where a run's activations leave the ranges of a quantised graph, on which item, at what cost.

A range comes from calibration data. Values beyond it are clipped, and an item that is clipped
inside the graph may lose far more than calibration promised. So the float graph is played once more
on the sampled windows, and the extremes of every quantised tensor are compared with its range. The
promise of calibration is measured the same way, on a few of its own windows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from core.formats.calibrated_ranges import Held, held_ranges
from core.formats.onnx_graph import inferred, loaded, save
from core.formats.onnx_session import session_options
from core.formats.tensors import load, under
from core.inference.context import Read, RunContext
from core.measure.error_budget_rows import read_places
from core.measure.metrics import snr_of_powers
from core.plugin.stages import StageContext, StageResult
from core.plugin.step_names import MODEL, SAMPLE, SATURATION
from core.plugin.values import Fact, Notice
from core.steps import convert
from core.steps.step import Inputs, Step

if TYPE_CHECKING:
    import onnx

    from core.plugin.values import Tensors

__all__ = ["Passed", "Watch", "saturation"]

#: Windows of the calibration data on which its promise is measured, evenly spread.
PROMISING = 4
#: How much worse than promised, in dB, an item may fare without a warning.
WORSE_DB = 6.0
#: Beyond this multiple of the range an extreme is outside of it, not just at its end by rounding.
OUTSIDE = 1.01
LEAST, MOST = ":least", ":most"
Range = tuple[float, float]


@dataclass(frozen=True)
class Passed:
    """What one item did to the ranges: tensors that it pushed past them, and its worst output.

    `worst` is the tensor that exceeded the range of its integers by the largest `factor`. `snr_db`
    is that of the quantised graph against the float one, at the output that lost most against
    `promised_db`, its SNR on calibration data.
    """

    item: str
    tensors: int
    unseen: int
    clipped: int
    worst: str
    factor: float
    output: str
    snr_db: float
    promised_db: float | None

    @property
    def is_worse(self) -> bool:
        """Return whether the item fares much worse than calibration promised."""
        return self.promised_db is not None and self.promised_db - self.snr_db > WORSE_DB

    def notice(self) -> Notice | None:
        """Return a notice for the user; None if all tensors stayed in the ranges of calibration."""
        where = ""
        if self.clipped:
            where = (
                f"{self.clipped} of {self.tensors} quantised activations exceed their ranges, "
                f"`{self.worst}` by {self.factor:.1f} times"
            )
        elif self.unseen:
            where = (
                f"{self.unseen} of {self.tensors} activations exceed the ranges that "
                "calibration saw"
            )
        if self.promised_db is None:
            cost = f"`{self.output}` has {self.snr_db:.1f} dB"
        else:
            cost = (
                f"`{self.output}` has {self.snr_db:.1f} dB against the float graph, and "
                f"{self.promised_db:.1f} dB on calibration data"
            )
        if self.is_worse:
            text = f"{self.item} loses more than calibration promised: {cost}"
            remedy = "calibrate on data like it (calibration=...), or give more bits (w8a16, fp16)"
            return Notice("warning", f"{text}; {where}; {remedy}" if where else f"{text}; {remedy}")
        if self.clipped:
            return Notice("info", f"{self.item}: {where}, within what calibration promised: {cost}")
        return None


def saturation(context: RunContext, step: Step) -> list[Step]:
    """Return the step `saturation` for a quantizer that calibrates ONNX graphs, or none."""
    from core.plugin.kinds import Quantizer

    formats = {spec.format for spec in (step.takes, step.gives) if spec is not None}
    quantizer, dataset = step.by[0], context.pipeline.calibration
    calibrates = isinstance(quantizer, Quantizer) and quantizer.calibration_windows > 0
    if formats != {"onnx"} or not calibrates or dataset is None:
        return []
    before = step.inputs[0]

    def run(inputs: Inputs, work: StageContext) -> StageResult:
        lowered = loaded(Path(inputs[step.name].path))
        held = held_ranges(lowered)
        found: list[Passed] = []
        if held:
            model = inputs[MODEL]
            stream = convert.calibration(context, model, work)
            promising = _spread(stream.feeds(), stream.count, PROMISING)
            with tempfile.TemporaryDirectory(dir=work.folder) as scratch:
                watch = Watch(Path(inputs[before].path), lowered, held, Path(scratch))
                promise = watch.promised(promising)
                transform, tensors = context.transform(model), load(Path(inputs[SAMPLE].path))
                places = enumerate(read_places(inputs[SAMPLE]))
                for _, of_item in groupby(places, lambda pair: pair[1].item):
                    numbered = list(of_item)
                    name = numbered[0][1].name
                    work.progress(len(found), 0, f"ranges on {name}")
                    pieces = (under(tensors, f"{number}/in/") for number, _ in numbered)
                    feeds = (transform.forward(piece)[0] for piece in pieces)
                    found.append(watch.passed(name, feeds, promise))
        file = work.folder / "passed.json"
        file.write_bytes(msgspec.json.encode(found))
        notices = tuple(notice for one in found if (notice := one.notice()))
        return StageResult(file, "facts", "fp32", _facts(found), notices)

    return [
        Step(
            SATURATION,
            "compare activations with the ranges of the calibration",
            "core",
            tuple(dict.fromkeys((before, step.name, SAMPLE, MODEL))),
            {
                **context.depends_on_windows,
                "calibration": step.depends.get("calibration"),
            },
            run,
            by=(dataset,),
            reads=(Read(dataset, dataset.identity("calibration"), "calibration"),),
            calls=(RunContext.transform,),
        )
    ]


def _spread(stream: Any, count: int, wanted: int) -> Iterator[Tensors]:
    """Yield `wanted` windows of a stream of about `count`, evenly spread."""
    return islice(stream, max(1, count // wanted) // 2, None, max(1, count // wanted))


def _facts(found: Sequence[Passed]) -> dict[str, Fact]:
    if not found:
        return {}
    return {
        "activations": found[0].tensors,
        "promised_db": found[0].promised_db,
        "items": [one.item for one in found],
        "unseen": [one.unseen for one in found],
        "clipped": [one.clipped for one in found],
        "item_snr_db": [one.snr_db for one in found],
    }


class Watch:
    """The float graph, with the extremes of quantised tensors as outputs, and the quantised one."""

    def __init__(
        self, before: Path, lowered: onnx.ModelProto, held: Mapping[str, Held], scratch: Path
    ) -> None:
        model = inferred(before)
        self.outputs = [value.name for value in model.graph.output]
        made = {value.name for value in model.graph.input}
        made |= {name for node in model.graph.node for name in node.output}
        self.held = {name: ranges for name, ranges in held.items() if name in made}
        _watched(model, self.held)
        save(model, scratch / "float.onnx")
        save(lowered, scratch / "quantised.onnx")
        self.known: dict[str, Range] = {}
        self._float = _session(scratch / "float.onnx")
        self._quantised = _session(scratch / "quantised.onnx")

    def play(self, windows: Any) -> tuple[dict[str, Range], dict[str, tuple[float, float]]]:
        """Return the extremes of every tensor, and signal and noise at every output, in power."""
        import numpy as np

        extremes: dict[str, Range] = {}
        powers = dict.fromkeys(self.outputs, (0.0, 0.0))
        for feeds in windows:
            expected, got = (_run(s, feeds) for s in (self._float, self._quantised))
            for name in self.held:
                low, high = float(expected[name + LEAST]), float(expected[name + MOST])
                least, most = extremes.get(name, (low, high))
                extremes[name] = min(low, least), max(high, most)
            for name, (signal, noise) in powers.items():
                known = np.isfinite(expected[name])
                reference = expected[name][known].astype(np.float64)
                powers[name] = (
                    signal + float(np.sum(np.square(reference))),
                    noise + float(np.sum(np.square(reference - got[name][known]))),
                )
        return extremes, powers

    def snrs(self, played: tuple[Any, dict[str, tuple[float, float]]]) -> dict[str, float]:
        """Return the SNR in dB of every output that is not silent."""
        return {name: snr_of_powers(*power) for name, power in played[1].items() if power[0]}

    def promised(self, windows: Any) -> dict[str, float]:
        """Return the SNR in dB of every output on calibration data, and remember its extremes.

        A range may leave some out on purpose: the masks of an attention, or a rare peak.
        """
        played = self.play(windows)
        self.known = played[0]
        return self.snrs(played)

    def passed(self, item: str, feeds: Any, promise: Mapping[str, float]) -> Passed:
        """Return what one item does to the ranges."""
        played = self.play(feeds)
        snrs = self.snrs(played)
        extremes = {name: self._new(name, ends) for name, ends in played[0].items()}
        beyond = {n: _beyond(extremes[n], ranges.held) for n, ranges in self.held.items()}
        unseen = [n for n, r in self.held.items() if r.seen and _beyond(extremes[n], r.seen) > 1]
        worst = max(beyond, key=lambda name: beyond[name])
        output = max(snrs, key=lambda name: promise.get(name, 0.0) - snrs[name], default="")
        return Passed(
            item,
            len(self.held),
            len(unseen),
            sum(factor > OUTSIDE for factor in beyond.values()),
            worst,
            beyond[worst],
            output,
            snrs.get(output, snr_of_powers(0.0, 0.0)),
            promise.get(output),
        )

    def _new(self, name: str, extremes: Range) -> Range:
        """Return extremes; those that calibration data has as well are clipped to the range."""
        low, high = self.known.get(name, (0.0, 0.0))
        ends = self.held[name].held
        return (
            extremes[0] if extremes[0] < low else max(extremes[0], ends[0]),
            extremes[1] if extremes[1] > high else min(extremes[1], ends[1]),
        )


def _beyond(extremes: Range, ends: Range) -> float:
    """Return how far out a tensor reached, as a multiple of the end of the range that it passed.

    If that end lies at zero, or nearly, the excess is related to the width of the range instead.
    """
    width = max(ends[1] - ends[0], 1e-300)
    past = max(ends[0] - extremes[0], extremes[1] - ends[1])
    if past <= 0:
        return 0.0
    own = -ends[0] if ends[0] - extremes[0] >= extremes[1] - ends[1] else ends[1]
    return 1 + past / (own if own > width / 4 else width)


def _watched(model: onnx.ModelProto, held: Mapping[str, Held]) -> None:
    """Add the extremes of every tensor as outputs, each right behind the node that makes it."""
    from onnx import TensorProto, helper

    nodes = list(model.graph.node)
    del model.graph.node[:]

    def watch(names: Iterator[str]) -> None:
        for name in names:
            if name in held:
                for operator, ending in (("ReduceMin", LEAST), ("ReduceMax", MOST)):
                    node = helper.make_node(operator, [name], [name + ending], keepdims=0)
                    model.graph.node.append(node)
                    value = helper.make_tensor_value_info(name + ending, TensorProto.FLOAT, [])
                    model.graph.output.append(value)

    watch(value.name for value in model.graph.input)
    for node in nodes:
        model.graph.node.append(node)
        watch(iter(node.output))


def _session(path: Path) -> Any:
    import onnxruntime

    settings = session_options()
    # In listed order, so that no activation waits in memory for its extremes; integers add exactly.
    settings.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    settings.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])


def _run(session: Any, feeds: Tensors) -> Tensors:
    names = [value.name for value in session.get_outputs()]
    taken = {value.name: feeds[value.name] for value in session.get_inputs()}
    return dict(zip(names, session.run(names, taken), strict=True))
