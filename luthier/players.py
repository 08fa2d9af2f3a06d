"""Makes what a recipe plays, and opens it: one model for many inputs, nothing measured."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ConfigError
from core.inference.context import RunContext
from core.inference.player import Player
from core.inference.player import opened as player_of
from core.plugin.progress import Progress
from luthier.calls import called, composed
from luthier.watch import ProgressCallback, watching

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omegaconf import DictConfig

    from core.cli.main import Command
    from core.config.pipeline import Pipeline
    from core.plugin.values import Artifact, Notice
    from core.store.local import Store

__all__ = ["Made", "playing"]


@dataclass(frozen=True)
class Made:
    """What a recipe made to be played here: the artifact, the model it came from, and notices."""

    pipeline: Pipeline
    played: Artifact
    model: Artifact
    notices: tuple[Notice, ...]


@contextmanager
def playing(
    given: Sequence[str], progress: ProgressCallback | None, work: Progress, *, show: bool
) -> Iterator[tuple[Made, Player]]:
    """Make what the words of a command play, or take it from the store, and open it.

    Inside the block neither Hydra nor the store is needed any more. Raises ConfigError where the
    words ask for several precisions, of which a run chooses one.
    """
    from core.config.compose import recipe_of_job
    from core.plugin.stages import StageContext
    from core.store.limit import at_work
    from core.store.locate import open_store

    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="luthier-")))
        with called(show=show), composed(given) as (cfg, command):
            store = open_store(cfg.store)
            with at_work(store, "batch", recipe_of_job(), cfg.store_limit_gb):
                what = _made(cfg, command, store, progress)
                context = RunContext(what.pipeline)
                stage = StageContext(folder, work, store.state_dir)
                player = opened.enter_context(player_of(context, what.played, what.model, stage))
        yield what, player


def _made(
    cfg: DictConfig, command: Command, store: Store, progress: ProgressCallback | None
) -> Made:
    from core.config.compose import recipe_of_job
    from core.config.pipeline import make_pipeline
    from core.plan.advice import advice
    from core.plan.candidates import several, with_runtime
    from core.plan.plan import make_plan_to_play
    from core.plugin.step_names import MODEL
    from core.run.execute import execute
    from core.run.fitness import warning

    if several(cfg):
        raise ConfigError(
            "the recipe chooses among several precisions, and only a run can choose",
            "name one: precision=<name> auto=false ladder=[]",
            "or run it, and take its folder: outputs/<recipe>/<time>",
        )
    registry, recipes = command.registry, command.recipes
    pipeline = make_pipeline(with_runtime(cfg, []), registry, recipe_of_job(), recipes)
    plan, source = make_plan_to_play(pipeline, registry, store)
    with watching(registry, progress):
        artifacts = execute(plan, store, registry.manager.hook).artifacts
    model = artifacts[MODEL]
    told = (
        *model.info.notices,
        *warning(pipeline, model.info, " ".join),
        *advice(pipeline),
        *store.notices,
        *(notice for artifact in artifacts.values() for notice in artifact.notices),
    )
    return Made(pipeline, artifacts[source], model, tuple(dict.fromkeys(told)))
