"""Makes what a recipe plays, and opens it: one model for many inputs, nothing measured."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.plugin.progress import Progress
from luthier.calls import composed
from luthier.watch import ProgressCallback, watching

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.config.pipeline import Pipeline
    from core.inference.player import Player
    from core.plugin.values import Artifact, ModelInfo, Notice

__all__ = ["Made", "made", "opened"]


@dataclass(frozen=True)
class Made:
    """What a recipe made to be played here: the artifact, the model it came from, and notices."""

    pipeline: Pipeline
    played: Artifact
    model: Artifact
    state_dir: Path
    notices: tuple[Notice, ...]


def made(given: Sequence[str], progress: ProgressCallback | None) -> Made:
    """Make what the words of a command play, or take it from the store.

    Raises ConfigError where they ask for several precisions, of which a run chooses one.
    """
    from core.config.compose import recipe_of_job
    from core.config.pipeline import make_pipeline
    from core.errors import ConfigError
    from core.plan.advice import advice
    from core.plan.candidates import several, with_runtime
    from core.plan.plan import make_plan_to_play
    from core.plugin.step_names import MODEL
    from core.run.execute import execute
    from core.store.locate import open_store

    with composed(given) as (cfg, command):
        if several(cfg):
            raise ConfigError(
                "the recipe chooses among several precisions, and only a run can choose",
                "name one: precision=<name> auto=false ladder=[]",
                "or run it, and take its folder: outputs/<recipe>/<time>",
            )
        registry, recipes, store = command.registry, command.recipes, open_store(cfg.store)
        pipeline = make_pipeline(with_runtime(cfg, []), registry, recipe_of_job(), recipes)
        plan, source = make_plan_to_play(pipeline, registry, store)
        with watching(registry, progress):
            artifacts = execute(plan, store, registry.manager.hook).artifacts
        model = artifacts[MODEL]
        told = (
            *model.info.notices,
            *unfit(pipeline, model.info),
            *advice(pipeline),
            *store.notices,
            *(notice for artifact in artifacts.values() for notice in artifact.notices),
        )
        unique = tuple(dict.fromkeys(told))
        return Made(pipeline, artifacts[source], model, store.state_dir, unique)


def unfit(pipeline: Pipeline, info: ModelInfo) -> tuple[Notice, ...]:
    """Return the model's warning about the inputs that its weights are not fit for."""
    from core.plugin.values import Notice

    fit = info.fit_for
    if fit is None or pipeline.dataset.name in fit.datasets:
        return ()
    said = [
        fit.warning,
        f"take others: {' '.join(fit.instead)}" if fit.instead else "",
        fit.offline,
    ]
    text = " ".join(f"{one[0].upper()}{one[1:]}." for one in said if one)
    return (Notice("danger", text),)


@contextmanager
def opened(what: Made, progress: Progress) -> Iterator[Player]:
    """Open it with the dsp around it; needs neither Hydra nor the store any more."""
    from core.inference.context import RunContext
    from core.inference.player import opened as player
    from core.plugin.stages import StageContext

    with tempfile.TemporaryDirectory(prefix="luthier-") as folder:
        work = StageContext(Path(folder), progress, what.state_dir)
        with player(RunContext(what.pipeline), what.played, what.model, work) as found:
            yield found
