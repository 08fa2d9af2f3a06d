"""Proves that the stages of a recipe fit, before anything runs; touches no tensor."""

from __future__ import annotations

from typing import Any, cast

from core.config.limits import OWN, TIMED
from core.config.pipeline import Pipeline
from core.config.settings import PLURAL, SLOTS
from core.errors import MisfitError
from core.inference.signature import check_free
from core.plugin.kinds import KINDS, Converter, Dataset, Evaluator, Runtime
from core.plugin.registry import Registry
from core.plugin.values import ArtifactSpec, ModelSpec
from core.steps.chain import chain

__all__ = ["check"]

#: The chunker that cuts nothing.
WHOLE = "whole"


def check(pipeline: Pipeline, registry: Registry, *, measured: bool = True) -> None:
    """Raise MisfitError for the first two stages that do not fit.

    With `measured=False` no quality is measured, so calibration data may be played.
    """
    spec = pipeline.model.plan()
    _check_target(pipeline)
    _check_formats(pipeline, registry)
    _check_model(pipeline, spec, registry)
    _check_windows(pipeline, registry)
    _check_calibration(pipeline, measured=measured)
    _check_contract(pipeline, registry)


def _check_formats(pipeline: Pipeline, registry: Registry) -> None:
    made_by = f"model `{pipeline.model.name}`"
    before_runtime = ArtifactSpec(pipeline.model.plan().format)
    for link in chain(pipeline):
        if not link.plugin.passes:
            _accepts(pipeline, registry, link.slot, link.plugin, link.takes, made_by)
            made_by = f"{link.slot} `{link.plugin.name}`"
        if link.slot != "runtime":
            before_runtime = link.gives
    if not pipeline.plays_itself:
        if pipeline.host is None or not pipeline.host.plays:
            raise _without_host(pipeline, registry, before_runtime.format)
        _accepts(pipeline, registry, "host", pipeline.host, before_runtime, made_by)


def _without_host(pipeline: Pipeline, registry: Registry, format_: str) -> MisfitError:
    """Return the error for a recipe in which nothing plays whole inputs, with hosts that would."""
    slow = pipeline.runtime if pipeline.host is None else pipeline.host
    what = f"runtime `{slow.name}` cannot play whole inputs here"
    if slow is pipeline.runtime and pipeline.never_run:
        what = (
            f"runtime `{slow.name}` compiles here, but this machine cannot open what it makes: "
            f"{pipeline.never_run}"
        )
    # A runtime that compiles opens only what it compiled.
    playing = [
        name
        for name, cls in registry.classes(Runtime).items()
        if cls.plays and not cls.compiles and format_ in cls.accepts
    ]
    advised = next((n for n in (pipeline.target.host, *playing) if n in playing), "<runtime>")
    return MisfitError(
        what,
        _where(pipeline),
        f"add a host, a runtime that plays {format_} here: host={advised}",
        f"runtimes that play {format_}: {', '.join(playing) or 'none'}",
    )


def _accepts(
    pipeline: Pipeline,
    registry: Registry,
    slot: str,
    plugin: Converter[Any],
    spec: ArtifactSpec,
    made_by: str,
) -> None:
    kind = SLOTS[slot]
    if spec.format not in plugin.accepts:
        converters = cast("type[Converter[Any]]", KINDS[kind])
        classes = registry.classes(converters)
        fitting = [name for name, cls in classes.items() if spec.format in cls.accepts]
        fits = ", ".join(sorted(fitting)) or "none"
        without = {"graph": "graph=[]", "quantizer": "quantizer=none"}.get(slot)
        raise MisfitError(
            f"{slot} `{plugin.name}` accepts {', '.join(sorted(plugin.accepts))}, "
            f"but {made_by} produces {spec.format}",
            _where(pipeline),
            f"{kind} plugins that accept {spec.format}: {fits}",
            *(f"choose one: {slot}={name}" for name in sorted(fitting)[:1] if slot not in PLURAL),
            f"or leave it out: {without}" if without else "",
        )
    if (
        isinstance(plugin, Runtime)
        and plugin.precisions
        and spec.precision not in plugin.precisions
    ):
        raise MisfitError(
            f"{slot} `{plugin.name}` runs {', '.join(sorted(plugin.precisions))}, "
            f"but {made_by} produces {spec.precision}",
            _where(pipeline),
            "choose another: precision=...",
        )


def _check_model(pipeline: Pipeline, spec: ModelSpec, registry: Registry) -> None:
    if spec.dsp != pipeline.dsp.name:
        raise MisfitError(
            f"model `{pipeline.model.name}` needs dsp `{spec.dsp}`, "
            f"but the recipe names `{pipeline.dsp.name}`",
            _where(pipeline),
            f"choose it: dsp={spec.dsp}",
        )
    for slot, dataset in (("dataset", pipeline.dataset), ("calibration", pipeline.calibration)):
        if dataset is not None and set(dataset.axes) != set(spec.axes):
            datasets = registry.classes(Dataset).items()
            fitting = [name for name, cls in datasets if set(cls.axes) == set(spec.axes)]
            raise MisfitError(
                f"{slot} `{dataset.name}` gives {' × '.join(dataset.axes)}, "
                f"but model `{pipeline.model.name}` takes {' × '.join(spec.axes)}",
                _where(pipeline),
                f"datasets that fit: {', '.join(sorted(fitting)) or 'none'}",
            )
    for axis in pipeline.chunker.window():
        if axis not in spec.axes:
            raise MisfitError(
                f"chunker `{pipeline.chunker.name}` cuts the axis `{axis}`, "
                f"but the inputs of model `{pipeline.model.name}` have {', '.join(spec.axes)}",
                _where(pipeline),
                *_another_axis(pipeline, spec),
                "choose a chunker for these axes, or chunker=whole",
            )


def _another_axis(pipeline: Pipeline, spec: ModelSpec) -> list[str]:
    """Return how to give the chunker another axis, if it can cut any."""
    if not hasattr(pipeline.chunker.options, "axis"):
        return []
    named = " or ".join(f"chunker.axis={axis}" for axis in spec.free or spec.axes)
    return [f"name another axis: {named}"]


def _check_target(pipeline: Pipeline) -> None:
    known = pipeline.target.precisions
    if known and pipeline.precision not in known:
        raise MisfitError(
            f"target `{pipeline.target.name}` does not run precision `{pipeline.precision}`",
            _where(pipeline),
            f"it runs: {', '.join(known)}",
        )


def _check_windows(pipeline: Pipeline, registry: Registry) -> None:
    """Refuse windows that the model's plan excludes; the rest is known when it is loaded."""
    free = pipeline.model.plan().free
    if free is not None:
        cutting = [n for n in registry.names("chunker") if n != pipeline.chunker.name]
        check_free(pipeline, free, [name for name in cutting if name != WHOLE])


def _check_calibration(pipeline: Pipeline, *, measured: bool) -> None:
    quantizer = pipeline.quantizer
    if quantizer is None or quantizer.passes or quantizer.calibration_windows == 0:
        return
    if pipeline.calibration is None:
        if not quantizer.calibration_needed:
            return
        raise MisfitError(
            f"quantizer `{quantizer.name}` calibrates, but the recipe names no calibration data",
            _where(pipeline),
            "name a dataset: calibration=<dataset>",
        )
    if not measured:
        return
    evaluation = set(pipeline.dataset.identity("evaluation"))
    shared = [i for i in pipeline.calibration.identity("calibration") if i in evaluation]
    if shared:
        raise MisfitError(
            f"calibration and evaluation share {len(shared)} item(s), first `{shared[0]}`",
            _where(pipeline),
            f"both come from: {pipeline.calibration.options}",
            "a result on calibration data looks better than a result on new data",
            "give the two different data: calibration=<dataset>, dataset=<dataset>",
        )


def _where(pipeline: Pipeline) -> str:
    return f"recipe: {pipeline.recipe}"


def _check_contract(pipeline: Pipeline, registry: Registry) -> None:
    """Raise MisfitError for a limit that the recipe cannot answer, before anything runs."""
    where = f"recipe: {pipeline.recipe}"
    answered = {name for evaluator in pipeline.evaluator for name in evaluator.limits}
    for limit in pipeline.contract:
        if limit.name in TIMED and not pipeline.plays_itself:
            why = "does not measure the device's speed or memory"
            if pipeline.never_run:
                why = f"compiles what this machine cannot open: {pipeline.never_run}"
            raise MisfitError(
                f"`contract.{limit.name}` cannot be judged: runtime `{pipeline.runtime.name}` "
                f"{why}",
                where,
                "choose a runtime that plays on the device, or remove the limit: "
                f"contract.{limit.name}=null",
            )
        if limit.name not in OWN and limit.name not in answered:
            evaluators = registry.classes(Evaluator).items()
            fitting = [name for name, cls in evaluators if limit.name in cls.limits]
            raise MisfitError(
                f"`contract.{limit.name}` cannot be judged: no evaluator of the recipe measures it",
                where,
                f"add one that does: evaluator=[{','.join(fitting)}]",
            )
