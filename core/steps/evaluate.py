"""The steps that measure whole results: those of a run, and of FP32 PyTorch in some windows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from core.formats.tensors import load, under
from core.inference.context import RunContext
from core.inference.windows import lengths_of, windows_in_words
from core.measure import cold_start
from core.measure.metrics import compare, latency
from core.plugin.records import PlayedItem
from core.plugin.stages import EvaluatedItem, StageContext, StageResult, Window
from core.plugin.step_names import AGAINST, EVALUATE, IDEAL, MODEL, PLAY, RATE, REFERENCE
from core.plugin.values import Artifact, Metric, Signature
from core.steps.step import Inputs, Step
from core.store import fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.plugin.values import Tensors

__all__ = ["evaluation", "rated", "read_items", "read_metrics", "read_outputs"]

#: The items of a result, beside its metrics.
ITEMS = "items.json"
#: What the peak memory belongs to.
WHOLE = "whole process"


def evaluation(context: RunContext) -> Step:
    """Return the step that measures what was played: speed, nearness to FP32, and quality."""
    pipeline = context.pipeline
    compared = REFERENCE if pipeline.against is None else AGAINST

    def run(inputs: Inputs, work: StageContext) -> StageResult:
        model, played = inputs[MODEL], inputs[PLAY]
        signature, device = model.info.signature, str(played.facts["device"])
        metrics = _speed(played, device)
        windows = (
            EvaluatedItem.against
            if pipeline.against is None
            else windows_in_words(pipeline.against.window(), signature)
        )
        items: list[PlayedItem] = []
        for item in context.items(model, work):
            reference = read_outputs(inputs[compared], item.id)
            ideal = read_outputs(inputs[IDEAL], item.id)
            outputs = read_outputs(played, item.id)
            seen = EvaluatedItem(
                item,
                outputs,
                reference,
                ideal,
                pipeline.chunker.split(lengths_of(item.inputs, signature)),
                device,
                windows,
            )
            items.append(PlayedItem(item.id, item.name, _cuts(seen.windows)))
            metrics += _parity(seen, signature)
            for evaluator in pipeline.evaluator:
                metrics += evaluator.evaluate(seen, signature)
        (work.folder / ITEMS).write_bytes(msgspec.json.encode(items))
        file = work.folder / "metrics.json"
        file.write_bytes(msgspec.json.encode(metrics))
        return StageResult(file, "facts", "fp32", {"against": windows})

    return Step(
        EVALUATE,
        "measure the result",
        ", ".join(f"evaluator `{e.name}`" for e in pipeline.evaluator) or "core",
        (MODEL, PLAY, compared, IDEAL),
        {
            "chunker": fingerprint.of_plugin(pipeline.chunker),
            "evaluators": [fingerprint.of_plugin(e) for e in pipeline.evaluator],
            **context.depends_on_items,
        },
        run,
        by=tuple(pipeline.evaluator),
        reads=context.reads_items,
        calls=(RunContext.items,),
    )


def rated(context: RunContext) -> Step:
    """Return the step that measures FP32 PyTorch itself, so that a sweep can compare windows.

    It is compared with FP32 PyTorch in the windows of the training.
    """
    pipeline, device = context.pipeline, "CPU (PyTorch)"

    def run(inputs: Inputs, work: StageContext) -> StageResult:
        model = inputs[MODEL]
        signature = model.info.signature
        metrics: list[Metric] = []
        for item in context.items(model, work):
            outputs, ideal = (read_outputs(inputs[n], item.id) for n in (REFERENCE, IDEAL))
            windows = pipeline.chunker.split(lengths_of(item.inputs, signature))
            seen = EvaluatedItem(
                item, outputs, ideal, ideal, windows, device, "those of the training"
            )
            metrics += _parity(seen, signature)
            for evaluator in pipeline.evaluator:
                metrics += evaluator.evaluate(seen, signature)
        file = work.folder / "metrics.json"
        file.write_bytes(msgspec.json.encode(metrics))
        return StageResult(file, "facts", "fp32")

    return Step(
        RATE,
        "measure FP32 PyTorch in these windows",
        ", ".join(f"evaluator `{e.name}`" for e in pipeline.evaluator) or "core",
        (MODEL, REFERENCE, IDEAL),
        {
            "chunker": fingerprint.of_plugin(pipeline.chunker),
            "evaluators": [fingerprint.of_plugin(e) for e in pipeline.evaluator],
            **context.depends_on_items,
        },
        run,
        by=tuple(pipeline.evaluator),
        reads=context.reads_items,
        calls=(RunContext.items,),
    )


def read_metrics(artifact: Artifact) -> list[Metric]:
    """Return the metrics that `evaluate` or `rate` kept."""
    return msgspec.json.decode(Path(artifact.path).read_bytes(), type=list[Metric])


def read_items(artifact: Artifact) -> tuple[PlayedItem, ...]:
    """Return the items that `evaluate` measured, in order."""
    file = Path(artifact.folder) / ITEMS
    return msgspec.json.decode(file.read_bytes(), type=tuple[PlayedItem, ...])


def read_outputs(artifact: Artifact, item: str) -> Tensors:
    """Return the outputs of one item from what `play` or `reference` kept."""
    return under(load(Path(artifact.path)), f"{item}/")


def _cuts(windows: Sequence[Window]) -> dict[str, tuple[tuple[int, int], ...]]:
    """Return, per axis, the spans of the windows; those of a grid are the same in every row."""
    axes = dict.fromkeys(axis for window in windows for axis in window.start)
    return {
        axis: tuple(sorted({(window.start[axis], window.stop[axis]) for window in windows}))
        for axis in axes
    }


def _speed(played: Artifact, device: str) -> list[Metric]:
    inputs = played.facts.get("inputs")
    metrics = latency(
        played.numbers("seconds"),
        played.number("covered_s") or None,
        device,
        inputs if isinstance(inputs, float) else None,
    )
    metrics += cold_start.metrics_of(played, device)
    if played.facts.get("peak_memory_mb") is None:
        return metrics  # another machine computed, and did not report it
    peak = played.number("peak_memory_mb")
    return [*metrics, Metric("peak_memory", peak, "MB", device, better="lower", note=WHOLE)]


def _parity(played: EvaluatedItem, signature: Signature) -> list[Metric]:
    """Return how near the played result is to FP32 PyTorch, with the windows of the latter."""
    snr = compare([played.reference], [played.outputs], signature)
    note = f"against FP32 PyTorch with {played.against}"
    return [
        Metric(
            "parity_snr",
            value,
            "dB",
            played.device,
            played.item.name,
            label,
            better="higher",
            note=note,
        )
        for label, value in (("", snr.overall), *zip(snr.labels, snr.per_label, strict=True))
    ]
