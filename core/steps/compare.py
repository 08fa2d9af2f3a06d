"""The steps that measure the loss of every stage, on a few windows, and add it up.

On demand (`measure.worst_tensors`) one more step compares tensors inside the quantised graph:
core/measure/tensor_error.py.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from core.formats.precision_census import census, facts_of, misnomer
from core.formats.tensors import load, save, under
from core.inference.context import RunContext
from core.inference.windows import lengths_of, run_group, spread
from core.machine import cores
from core.measure import cold_start, error_budget_rows, placement
from core.measure.agreement import core_agreement_db, strayed
from core.measure.error_budget_rows import OUTPUTS, Place, write_places
from core.measure.metrics import compare
from core.measure.tensor_error import worst
from core.plugin.kinds import Runtime
from core.plugin.placement import Placement
from core.plugin.stages import Session, StageContext, StageResult
from core.plugin.step_names import (
    BUDGET,
    IDEAL,
    MODEL,
    PLAY,
    PRECISION_CENSUS,
    PROBE,
    QUANTIZER,
    REFERENCE,
    RUNTIME,
    SAMPLE,
    TENSOR_ERROR,
)
from core.plugin.values import Artifact, Fact, Signature
from core.steps import convert
from core.steps.saturation import saturation
from core.steps.step import Inputs, Step
from core.store import fingerprint

if TYPE_CHECKING:
    from core.plugin.values import Row, Tensors

__all__ = ["budget", "comparison", "sampled"]


def comparison(context: RunContext, steps: list[Step]) -> list[Step]:
    """Return `sample`, a `budget.<stage>` per artifact that plays here, and closer measurements.

    These are `saturation` for a quantizer that calibrates, `tensor_error` on demand,
    `precision_census` for a graph that is played, and `probe` for a compiled one that is not. A
    compiled one that cannot be opened here has neither `budget.runtime` nor `probe`.
    """
    pipeline = context.pipeline
    extra = [_sample(context)]
    for step in steps:
        runtime = _runtime_for(context, step)
        if runtime is not None:
            extra.append(_budget(context, step, runtime))
            extra += saturation(context, step) if step.name == QUANTIZER else []
            if step.name == QUANTIZER and pipeline.measure.worst_tensors:
                extra += _worst(context, step, runtime)
    played = convert.source(context, steps)
    extra += [_census(step) for step in steps if step.name == played and _is_graph(step)]
    if pipeline.probes:
        extra.append(_probe(context, convert.final(steps), played))
    return extra


def budget(context: RunContext, steps: list[Step]) -> Step:
    """Return the step that makes the error budget, once the whole input was played."""
    chunker, probed = context.pipeline.chunker, context.pipeline.probes
    stages: list[str] = []
    unmeasured: dict[str, list[str]] = {}
    waiting: list[str] = []
    for step in steps:
        if _runtime_for(context, step) is not None:
            stages.append(step.name)
            unmeasured[step.name], waiting = waiting, []
        elif step.name != MODEL and not (probed and step is steps[-1]):
            waiting.append(step.name)

    def run(inputs: Inputs, work: StageContext) -> StageResult:
        lines = error_budget_rows.rows(chunker, inputs, stages, unmeasured, work.progress)
        file = work.folder / "rows.json"
        file.write_bytes(msgspec.json.encode(lines))
        return StageResult(file, "facts", "fp32")

    compared = [f"budget.{stage}" for stage in stages]
    return Step(
        BUDGET,
        "measure the cost of every stage",
        "core",
        (MODEL, SAMPLE, REFERENCE, IDEAL, PLAY, *compared, *[PROBE] * probed),
        {
            "chunker": fingerprint.of_plugin(chunker),
            "unmeasured": unmeasured,
        },
        run,
    )


def _runtime_for(context: RunContext, step: Step) -> Runtime[Any] | None:
    """Return the runtime of the recipe that plays the artifact of `step` here, if one does."""
    own = context.pipeline.runtime
    if step.name == RUNTIME and context.pipeline.never_run:
        return None
    for runtime in (context.pipeline.host, own):
        if runtime is not None and runtime.plays and step.gives is not None:
            # A runtime that compiles opens only what it compiled.
            compiles = runtime is own and own.compiles
            plays = step.name == RUNTIME if compiles else step.gives.format in runtime.accepts
            if plays:
                return runtime
    return None


def _sample(context: RunContext) -> Step:
    pipeline = context.pipeline

    def run(inputs: Inputs, work: StageContext) -> StageResult:
        model = inputs[MODEL]
        opened = context.open(model)
        signature = model.info.signature
        tensors: dict[str, Any] = {}
        places: list[Place] = []
        for item in context.items(model, work):
            count = pipeline.measure.budget_windows
            lengths = lengths_of(item.inputs, signature)
            for window in spread(count, item.inputs, pipeline.chunker, signature):
                number = len(places)
                piece = pipeline.chunker.cut(item.inputs, window, signature)
                tensors |= {f"{number}/in/{name}": array for name, array in piece.items()}
                outputs = opened.reference(piece)
                tensors |= {f"{number}/out/{name}": array for name, array in outputs.items()}
                places.append(Place(item.id, item.name, window, lengths))
                work.progress(len(places), 0, f"FP32 reference of {item.name}")
        save(tensors, work.folder / "windows.safetensors")
        write_places(places, work.folder)
        count = len(places)
        return StageResult(
            work.folder / "windows.safetensors", "tensors", "fp32", {"windows": count}
        )

    return Step(
        SAMPLE,
        "take windows to compare on",
        f"model `{pipeline.model.name}`",
        (MODEL,),
        {
            **context.depends_on_items,
            **context.depends_on_windows,
            "model": fingerprint.of_plugin(pipeline.model),
            "chunker": fingerprint.of_plugin(pipeline.chunker.sampler()),
            "windows": pipeline.measure.budget_windows,
        },
        run,
        by=(pipeline.model,),
        reads=context.reads_items,
        calls=(RunContext.open, RunContext.items),
    )


def sampled(sample: Artifact) -> tuple[list[Tensors], list[Tensors]]:
    """Return the inputs and reference outputs of every sampled window."""
    tensors = load(Path(sample.path))
    inputs: list[Tensors] = []
    outputs: list[Tensors] = []
    for number in range(int(sample.number("windows"))):
        for side, into in (("in", inputs), ("out", outputs)):
            into.append(under(tensors, f"{number}/{side}/"))
    return inputs, outputs


def _budget(context: RunContext, step: Step, runtime: Runtime[Any]) -> Step:
    def run(inputs: Inputs, work: StageContext) -> StageResult:
        model, artifact = inputs[MODEL], inputs[step.name]
        signature, transform = model.info.signature, context.transform(model)
        pieces, reference = sampled(inputs[SAMPLE])
        estimates: list[Tensors] = []
        seconds: list[float] = []
        with runtime.open(artifact, lambda: context.open(model), work) as session:
            for first in range(0, len(pieces), session.at_once):
                group = pieces[first : first + session.at_once]
                pairs = [transform.forward(piece) for piece in group]
                results = run_group(session, [feeds for feeds, _ in pairs], work.progress, seconds)
                for (_, remembered), outputs in zip(pairs, results, strict=True):
                    estimates.append(transform.inverse(outputs, remembered))
                    work.progress(len(estimates), len(pieces), session.device)
            # A time beside another job is no measurement, and waiting to be alone would take longer
            # than these few windows: the step `play` is timed instead.
            timed = [] if session.here and cores.beside() else seconds
            facts = {
                **session.facts,
                **_facts(reference, estimates, signature, session.device, timed),
            }
        _keep(estimates, work)
        return _noted(work, facts)

    return Step(
        f"budget.{step.name}",
        f"compare {step.name} with FP32 PyTorch",
        f"runtime `{runtime.name}`",
        _names(step.name, SAMPLE, MODEL),
        {
            **context.depends_on_runtime(runtime),
            "dsp": context.depends_on_windows["dsp"],
        },
        run,
        by=(runtime,),
        calls=(RunContext.open, RunContext.transform, Session),
    )


def _worst(context: RunContext, step: Step, runtime: Runtime[Any]) -> list[Step]:
    """Return the step that compares inner tensors, where both graphs are ONNX."""
    pipeline, before = context.pipeline, step.inputs[0]
    formats = {spec.format for spec in (step.takes, step.gives) if spec is not None}
    if formats != {"onnx"}:
        return []
    count = pipeline.measure.worst_tensors

    def run(inputs: Inputs, work: StageContext) -> StageResult:
        model = inputs[MODEL]
        transform = context.transform(model)
        feeds = [transform.forward(piece)[0] for piece in sampled(inputs[SAMPLE])[0]]
        with tempfile.TemporaryDirectory(dir=work.folder) as scratch:
            found = worst(
                inputs[before],
                inputs[step.name],
                feeds,
                lambda artifact: runtime.open(artifact, lambda: context.open(model), work),
                count,
                Path(scratch),
                work.progress,
            )
        rows: list[str | float | Row] = [
            {"tensor": lost.tensor, "operator": lost.operator, "snr_db": round(lost.snr_db, 2)}
            for lost in found
        ]
        return _noted(work, {"worst_tensors": rows, "windows": len(feeds)})

    return [
        Step(
            TENSOR_ERROR,
            "look for the tensors that lost most",
            f"runtime `{runtime.name}`",
            _names(before, step.name, SAMPLE, MODEL),
            {
                **context.depends_on_runtime(runtime),
                "count": count,
                "dsp": context.depends_on_windows["dsp"],
            },
            run,
            by=(runtime,),
            calls=(RunContext.open, RunContext.transform, Session),
        )
    ]


def _is_graph(step: Step) -> bool:
    return step.gives is not None and step.gives.format == "onnx"


def _census(of: Step) -> Step:
    """Return the step that counts what the graph of `of` computes at which precision."""

    def run(inputs: Inputs, work: StageContext) -> StageResult:
        artifact = inputs[of.name]
        counted = census(Path(artifact.path))
        made = _noted(work, facts_of(counted))
        notice = misnomer(artifact.precision, counted)
        return replace(made, notices=(notice,)) if notice else made

    return Step(
        PRECISION_CENSUS,
        "count the operations at each precision",
        "core",
        (of.name,),
        {},
        run,
    )


def _probe(context: RunContext, compiled: str, source: str) -> Step:
    pipeline = context.pipeline
    runtime, host = pipeline.runtime, pipeline.host
    assert host is not None, "the plan refuses a recipe without a host that plays"

    def run(inputs: Inputs, work: StageContext) -> StageResult:
        model = inputs[MODEL]
        signature, transform = model.info.signature, context.transform(model)
        pieces, reference = sampled(inputs[SAMPLE])
        numbers = _apart(pipeline.measure.probe_windows, len(pieces))
        pairs = [transform.forward(pieces[number]) for number in numbers]
        feeds = [pair[0] for pair in pairs]
        seconds: list[float] = []
        started = time.perf_counter()
        with runtime.open(inputs[compiled], lambda: context.open(model), work) as session:
            open_s = time.perf_counter() - started
            device, on_target = session.device, session.on_target
            probed_cores = list(run_group(session, feeds, work.progress, seconds))
            noted, placed = dict(session.facts), session.placement(feeds[0])
            # The cold start of an emulator, or beside another job, says nothing of the device.
            if on_target and not (session.here and cores.beside()):
                noted |= cold_start.facts_of(session, open_s, seconds)
        with host.open(inputs[source], lambda: context.open(model), work) as session:
            on_host = list(run_group(session, feeds, work.progress, []))
            host_device = session.device
        probed = [transform.inverse(c, p[1]) for c, p in zip(probed_cores, pairs, strict=True)]
        from_host = [transform.inverse(c, p[1]) for c, p in zip(on_host, pairs, strict=True)]
        same = [reference[number] for number in numbers]
        facts = {
            **noted,
            **placement.facts_of(placed),
            **_facts(same, probed, signature, device, seconds),
        }
        facts["numbers"] = [*map(float, numbers)]
        facts["agreement_db"] = compare(from_host, probed, signature).overall
        facts["agreement_core_db"] = core_agreement_db(on_host, probed_cores)
        facts["host_device"] = host_device
        facts["on_target"] = on_target
        _keep(probed, work)
        named = (host_device, device)
        warned = strayed(same, from_host, probed, signature, named)
        return replace(_noted(work, facts), notices=(*warned, *placement.warned(placed)))

    return Step(
        PROBE,
        "run a few windows on the compiled model",
        f"runtime `{runtime.name}`",
        _names(compiled, source, SAMPLE, MODEL),
        {
            **context.depends_on_runtime(runtime),
            "host": fingerprint.of_plugin(host),
            "windows": pipeline.measure.probe_windows,
            "dsp": context.depends_on_windows["dsp"],
        },
        run,
        by=(runtime, host),
        calls=(RunContext.open, RunContext.transform, Session, Placement),
    )


def _apart(count: int, total: int) -> list[int]:
    """Return up to `count` of `total` numbers, evenly apart, so that every item is sampled."""
    count = min(count, total)
    return [int((k + 0.5) * total / count) for k in range(count)]


def _facts(
    reference: Sequence[Tensors],
    estimates: Sequence[Tensors],
    signature: Signature,
    device: str,
    seconds: list[float],
) -> dict[str, Fact]:
    snr = compare(reference, estimates, signature)
    return {
        "snr_db": snr.overall,
        "labels": list(snr.labels),
        "label_snr_db": list(snr.per_label),
        "device": device,
        "windows": len(estimates),
        "seconds": [*seconds],
    }


def _keep(outputs: Sequence[Tensors], work: StageContext) -> None:
    """Write the outputs of the windows beside the facts; the error budget compares them."""
    named = {
        f"{number}/out/{name}": array
        for number, tensors in enumerate(outputs)
        for name, array in tensors.items()
    }
    save(named, work.folder / OUTPUTS)


def _noted(work: StageContext, facts: dict[str, Fact]) -> StageResult:
    """Return facts as an artifact: a small JSON file."""
    file = work.folder / "facts.json"
    file.write_bytes(msgspec.json.encode(facts))
    return StageResult(file, "facts", "fp32", facts)


def _names(*names: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
