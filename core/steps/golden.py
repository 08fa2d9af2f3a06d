"""The step that plays one window for the bundle's self-test.

It is no part of the plan: it runs once a run has held its contract, because only then a bundle is
written.
"""

from __future__ import annotations

import msgspec

from core.bundle.golden import prepare
from core.inference.context import RunContext
from core.inference.golden import LARGEST, golden_window
from core.inference.player import that_plays
from core.plugin.stages import Session, StageContext, StageResult
from core.plugin.step_names import GOLDEN, MODEL, SAMPLE
from core.plugin.values import Fact
from core.steps.step import Inputs, Step
from core.store import fingerprint

__all__ = ["golden_step"]


def golden_step(context: RunContext, source: str) -> Step:
    """Return the step that plays a window through the graph that `source` made, twice."""
    pipeline = context.pipeline
    runtime = that_plays(pipeline)

    def run(inputs: Inputs, work: StageContext) -> StageResult:
        model = inputs[MODEL]
        window = golden_window(context, inputs[source], model, inputs[SAMPLE], work)
        if window is None:
            return _noted(work, 0)
        stages = window.stages, window.again
        prepare(work.folder, window.inputs, LARGEST, stages, model.info.signature)
        return _noted(work, 1)

    return Step(
        GOLDEN,
        "play a window for the self-test of the bundle",
        f"runtime `{runtime.name}`",
        tuple(dict.fromkeys((source, MODEL, SAMPLE))),
        {
            **context.depends_on_runtime(runtime),
            **context.depends_on_windows,
            "chunker": fingerprint.of_plugin(pipeline.chunker.sampler()),
        },
        run,
        by=(runtime,),
        calls=(RunContext.open, RunContext.transform, Session),
    )


def _noted(work: StageContext, windows: int) -> StageResult:
    """Return the number of windows as an artifact; the window's own files lie beside it."""
    facts: dict[str, Fact] = {"windows": windows}
    file = work.folder / "facts.json"
    file.write_bytes(msgspec.json.encode(facts))
    return StageResult(file, "facts", "fp32", facts)
