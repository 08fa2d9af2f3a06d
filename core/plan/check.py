"""Proves that the stages of a recipe fit, before anything runs; touches no tensor."""

from __future__ import annotations

from typing import Any, cast

from core.config.limits import OWN, TIMED
from core.config.pipeline import Assembly
from core.config.settings import PLURAL, SLOTS
from core.errors import MisfitError
from core.inference.signature import check_free
from core.plugin.kinds import Converter, Evaluator, Runtime
from core.plugin.registry import Registry
from core.plugin.values import ArtifactSpec, ModelSpec
from core.steps.chain import chain

__all__ = ["check"]

#: The chunker that cuts nothing.
WHOLE = "whole"


def check(assembly: Assembly, registry: Registry, *, measured: bool = True) -> None:
    """Raise MisfitError for the first two stages that do not fit.

    With `measured=False` nothing is said of quality, so what is played may have been calibrated on.
    """
    spec = assembly.model.plan()
    _check_target(assembly)
    _check_formats(assembly, registry)
    _check_model(assembly, spec, registry)
    _check_windows(assembly, registry)
    _check_calibration(assembly, measured=measured)
    _check_contract(assembly, registry)


def _check_formats(assembly: Assembly, registry: Registry) -> None:
    made_by = f"model `{assembly.model.name}`"
    before_runtime = ArtifactSpec(assembly.model.plan().format)
    for link in chain(assembly):
        if not link.plugin.passes:
            _accepts(assembly, registry, link.slot, link.plugin, link.takes, made_by)
            made_by = f"{link.slot} `{link.plugin.name}`"
        if link.slot != "runtime":
            before_runtime = link.gives
    if not assembly.runtime.plays:
        if assembly.host is None or not assembly.host.plays:
            slow = assembly.runtime if assembly.host is None else assembly.host
            raise MisfitError(
                f"runtime `{slow.name}` cannot play whole inputs here",
                _where(assembly),
                "name the runtime that does: host=<runtime>",
                f"runtimes that play: {', '.join(_playing(registry))}",
            )
        _accepts(assembly, registry, "host", assembly.host, before_runtime, made_by)


def _playing(registry: Registry) -> list[str]:
    return [n for n, e in registry.entries["runtime"].items() if getattr(e.cls, "plays", False)]


def _accepts(
    assembly: Assembly,
    registry: Registry,
    slot: str,
    plugin: Converter[Any],
    spec: ArtifactSpec,
    made_by: str,
) -> None:
    kind = SLOTS[slot]
    if spec.format not in plugin.accepts:
        fitting = [
            n
            for n, e in registry.entries[kind].items()
            if spec.format in getattr(e.cls, "accepts", ())
        ]
        fits = ", ".join(sorted(fitting)) or "none"
        without = {"graph": "graph=[]", "quantizer": "quantizer=none"}.get(slot)
        raise MisfitError(
            f"{slot} `{plugin.name}` accepts {', '.join(sorted(plugin.accepts))}, "
            f"but {made_by} produces {spec.format}",
            _where(assembly),
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
            _where(assembly),
            "choose another: precision=...",
        )


def _check_model(assembly: Assembly, spec: ModelSpec, registry: Registry) -> None:
    if spec.dsp != assembly.dsp.name:
        raise MisfitError(
            f"model `{assembly.model.name}` needs dsp `{spec.dsp}`, "
            f"but the recipe names `{assembly.dsp.name}`",
            _where(assembly),
            f"choose it: dsp={spec.dsp}",
        )
    for slot, dataset in (("dataset", assembly.dataset), ("calibration", assembly.calibration)):
        if dataset is not None and set(dataset.axes) != set(spec.axes):
            fitting = [
                n
                for n, e in registry.entries["dataset"].items()
                if set(getattr(e.cls, "axes", ())) == set(spec.axes)
            ]
            raise MisfitError(
                f"{slot} `{dataset.name}` gives {' × '.join(dataset.axes)}, "
                f"but model `{assembly.model.name}` takes {' × '.join(spec.axes)}",
                _where(assembly),
                f"datasets that fit: {', '.join(sorted(fitting)) or 'none'}",
            )
    for axis in assembly.chunker.window():
        if axis not in spec.axes:
            raise MisfitError(
                f"chunker `{assembly.chunker.name}` cuts the axis `{axis}`, "
                f"but the inputs of model `{assembly.model.name}` have {', '.join(spec.axes)}",
                _where(assembly),
                *_another_axis(assembly, spec),
                "choose a chunker for these axes, or chunker=whole",
            )


def _another_axis(assembly: Assembly, spec: ModelSpec) -> list[str]:
    """Return how a chunker that cuts any axis is told which, where it is one."""
    if not hasattr(assembly.chunker.options, "axis"):
        return []
    named = " or ".join(f"chunker.axis={axis}" for axis in spec.free or spec.axes)
    return [f"name another axis: {named}"]


def _check_target(assembly: Assembly) -> None:
    known = assembly.target.precisions
    if known and assembly.precision not in known:
        raise MisfitError(
            f"target `{assembly.target.name}` does not run precision `{assembly.precision}`",
            _where(assembly),
            f"it runs: {', '.join(known)}",
        )


def _check_windows(assembly: Assembly, registry: Registry) -> None:
    """Refuse what the model's plan already shows; the rest is known when it is loaded."""
    free = assembly.model.plan().free
    if free is not None:
        cutting = [n for n in registry.names("chunker") if n != assembly.chunker.name]
        check_free(assembly, free, [name for name in cutting if name != WHOLE])


def _check_calibration(assembly: Assembly, *, measured: bool) -> None:
    quantizer = assembly.quantizer
    if quantizer is None or quantizer.passes or quantizer.calibration_windows == 0:
        return
    if assembly.calibration is None:
        if not quantizer.calibration_needed:
            return
        raise MisfitError(
            f"quantizer `{quantizer.name}` calibrates, but the recipe names no calibration data",
            _where(assembly),
            "name a dataset: calibration=<dataset>",
        )
    if not measured:
        return
    evaluation = set(assembly.dataset.identity("evaluation"))
    shared = [i for i in assembly.calibration.identity("calibration") if i in evaluation]
    if shared:
        raise MisfitError(
            f"calibration and evaluation share {len(shared)} item(s), first `{shared[0]}`",
            _where(assembly),
            f"both come from: {assembly.calibration.options}",
            "what is measured on data that was calibrated on looks better than it is",
            "give the two different data: calibration=<dataset>, dataset=<dataset>",
        )


def _where(assembly: Assembly) -> str:
    return f"recipe: {assembly.recipe}"


def _check_contract(assembly: Assembly, registry: Registry) -> None:
    """Raise MisfitError for a limit that the recipe cannot answer, before anything runs."""
    where = f"recipe: {assembly.recipe}"
    answered = {name for evaluator in assembly.evaluator for name in evaluator.limits}
    for limit in assembly.contract:
        if limit.name in TIMED and not assembly.runtime.plays:
            raise MisfitError(
                f"`contract.{limit.name}` cannot be judged: runtime `{assembly.runtime.name}` is "
                "no measure of the device's speed or memory",
                where,
                "choose a runtime that plays on the device, or drop it: "
                f"contract.{limit.name}=null",
            )
        if limit.name not in OWN and limit.name not in answered:
            fitting = [
                name
                for name, entry in registry.entries["evaluator"].items()
                if limit.name in cast("type[Evaluator[Any]]", entry.cls).limits
            ]
            raise MisfitError(
                f"`contract.{limit.name}` cannot be judged: no evaluator of the recipe measures it",
                where,
                f"add one that does: evaluator=[{','.join(fitting)}]",
            )
