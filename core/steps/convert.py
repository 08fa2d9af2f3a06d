"""The steps from the weights to what a device runs: fetch, export, rewrite, quantise, compile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from core.inference.context import Read, RunContext
from core.plugin.kinds import Exporter, Graph, Quantizer, Runtime
from core.plugin.stages import Calibration, StageContext, StageResult
from core.plugin.step_names import MODEL
from core.plugin.values import Artifact, ArtifactSpec
from core.steps.chain import Link, chain
from core.steps.example import example
from core.steps.step import Inputs, Step
from core.store import fingerprint

if TYPE_CHECKING:
    from core.plugin.values import Tensors

__all__ = ["conversion", "final", "source"]


def conversion(context: RunContext) -> list[Step]:
    """Return the steps that make the artifact, leaving out the stages that pass it on untouched."""
    steps = [_fetch(context)]
    for link in chain(context.pipeline):
        compiles = not isinstance(link.plugin, Runtime) or link.plugin.compiles
        if not link.plugin.passes and compiles:
            steps.append(_convert(context, link, steps[-1]))
    return steps


def final(steps: list[Step]) -> str:
    """Return the name of the step that made what the device runs."""
    return steps[-1].name


def source(context: RunContext, steps: list[Step]) -> str:
    """Return the name of the step whose artifact is played whole.

    That is the one before the compiler if the compiled one is too slow here, or cannot be opened.
    """
    pipeline = context.pipeline
    before = pipeline.runtime.compiles and not pipeline.plays_itself
    return steps[-2 if before else -1].name


def _fetch(context: RunContext) -> Step:
    model = context.pipeline.model
    of, read = fingerprint.of_plugin(model), Read(model, model.identity())

    def run(_: Inputs, work: StageContext) -> StageResult:
        return model.fetch(work)

    return Step(
        MODEL,
        "load the weights",
        f"model `{model.name}`",
        (),
        {"stage": of, "identity": read.identity},
        run,
        gives=ArtifactSpec(model.plan().format),
        options=of["options"],
        by=(model,),
        reads=(read,),
    )


def _convert(context: RunContext, link: Link, before: Step) -> Step:
    plugin = link.plugin
    of = fingerprint.of_plugin(plugin)
    depends: dict[str, Any] = {"stage": of}
    inputs = (MODEL,) if before.name == MODEL else (before.name, MODEL)
    name, title, reads = link.slot, "", tuple[Read, ...]()
    calls: tuple[Callable[..., Any], ...] = ()

    if isinstance(plugin, Exporter):
        title = "export"
        depends |= context.depends_on_windows
        # The hash of the weights covers neither the module's code nor the code that opens it.
        depends["model"] = fingerprint.of_plugin(context.pipeline.model)

        def run(inputs: Inputs, work: StageContext) -> StageResult:
            model = inputs[MODEL]
            return plugin.run(context.open(model), example(context, model, work), work)

        calls = (RunContext.open, RunContext.items, RunContext.transform)

    elif isinstance(plugin, Graph):
        name, title = f"graph.{plugin.name}", "rewrite the graph"

        def run(inputs: Inputs, work: StageContext) -> StageResult:
            return plugin.run(inputs[before.name], work)

    elif isinstance(plugin, Quantizer):
        title = "quantise"
        dataset = context.pipeline.calibration
        if plugin.calibration_windows and dataset is not None:
            depends |= context.depends_on_windows
            reads = (Read(dataset, dataset.identity("calibration"), "calibration"),)
            depends["calibration"] = {
                **fingerprint.of_plugin(dataset),
                "items": list(reads[0].identity),
                "chunker": fingerprint.of_plugin(context.pipeline.chunker.sampler()),
            }
            if wanted_windows(context, plugin) < plugin.calibration_windows:
                depends["calibration"]["windows"] = wanted_windows(context, plugin)

        def run(inputs: Inputs, work: StageContext) -> StageResult:
            return plugin.run(inputs[before.name], calibration(context, inputs[MODEL], work), work)

        calls = (RunContext.transform,)

    else:
        assert isinstance(plugin, Runtime)
        title = f"compile for {context.pipeline.target.title or plugin.name}"

        def run(inputs: Inputs, work: StageContext) -> StageResult:
            return plugin.compile(inputs[before.name], work)

    return Step(
        name,
        title,
        f"{plugin.kind} `{plugin.name}`",
        inputs,
        depends,
        run,
        link.takes,
        link.gives,
        of["options"],
        (plugin,),
        reads,
        calls=calls,
    )


def wanted_windows(context: RunContext, quantizer: Quantizer[Any]) -> int:
    """Return how many windows of calibration data a quantizer gets at most."""
    wanted, most = quantizer.calibration_windows, context.calibration_windows
    return wanted if most is None else min(wanted, most)


def calibration(context: RunContext, model: Artifact, work: StageContext) -> Calibration:
    """Return the stream of calibration feeds that the quantizer asked for."""
    from core.formats.tensors import contiguous
    from core.inference.items import cached_items
    from core.inference.windows import spread

    pipeline = context.pipeline
    dataset, quantizer = pipeline.calibration, pipeline.quantizer
    if dataset is None or quantizer is None or quantizer.calibration_windows == 0:
        return Calibration(0, lambda: ())
    signature = model.info.signature
    wanted = wanted_windows(context, quantizer)
    per_item = -(-wanted // max(1, len(dataset.identity("calibration"))))

    def feeds() -> Iterator[Tensors]:
        transform = context.transform(model)
        left = wanted
        for item in cached_items(dataset, "calibration", signature, work.state_dir):
            for window in spread(min(per_item, left), item.inputs, pipeline.chunker, signature):
                piece = pipeline.chunker.cut(item.inputs, window, signature)
                yield contiguous(transform.forward(piece)[0])
                left -= 1
            if left <= 0:
                return

    return Calibration(wanted, feeds, per_item)
