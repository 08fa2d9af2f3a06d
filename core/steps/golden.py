"""The step that plays one window for the bundle's self-test.

It is no part of the plan: it runs once a run has held its contract, because only then a bundle is
written.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.formats.tensors import load, save, under
from core.inference.context import RunContext
from core.inference.golden import GoldenWindow, golden_window
from core.inference.player import that_plays
from core.plugin.stages import Session, StageContext, StageResult
from core.plugin.step_names import GOLDEN, MODEL, SAMPLE
from core.plugin.values import Artifact
from core.steps.step import Inputs, Step
from core.store import fingerprint

if TYPE_CHECKING:
    from core.plugin.values import Tensors

__all__ = ["golden_step", "read_golden"]

FILE = "window.safetensors"
STAGES = ("forward", "model", "inverse", "outputs")


def golden_step(context: RunContext, source: str) -> Step:
    """Return the step that plays a window through the graph that `source` made, twice."""
    pipeline = context.pipeline
    runtime = that_plays(pipeline)

    def run(inputs: Inputs, work: StageContext) -> StageResult:
        window = golden_window(context, inputs[source], inputs[MODEL], inputs[SAMPLE], work)
        file = work.folder / FILE
        save({} if window is None else _named(window), file)
        return StageResult(file, "tensors", "fp32", {"windows": 0 if window is None else 1})

    return Step(
        GOLDEN,
        "play a window for the self-test of the bundle",
        f"runtime `{runtime.name}`",
        tuple(dict.fromkeys((source, MODEL, SAMPLE))),
        {
            **context.depends_on_runtime(runtime),
            **context.depends_on_windows,
            "chunker": fingerprint.of_plugin(pipeline.chunker)["source"],
        },
        run,
        by=(runtime,),
        calls=(RunContext.open, RunContext.transform, Session),
    )


def read_golden(artifact: Artifact) -> GoldenWindow | None:
    """Return what the step made; None where no session could play the window here."""
    if not artifact.number("windows"):
        return None
    return _read(Path(artifact.path))


def _named(window: GoldenWindow) -> Tensors:
    return {
        **{f"inputs/{name}": array for name, array in window.inputs.items()},
        **{
            f"{turn}/{stage}/{name}": array
            for turn, stages in (("stages", window.stages), ("again", window.again))
            for stage, tensors in stages.items()
            for name, array in tensors.items()
        },
    }


def _read(file: Path) -> GoldenWindow:
    tensors = load(file)
    stages, again = (
        {stage: under(tensors, f"{turn}/{stage}/") for stage in STAGES}
        for turn in ("stages", "again")
    )
    return GoldenWindow(under(tensors, "inputs/"), stages, again)
