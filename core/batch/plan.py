"""The plan of a batch: the steps that make the artifact to play, and the folder of its items."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from omegaconf import DictConfig

from core.batch import on_ray
from core.config.pipeline import Pipeline, make_pipeline
from core.config.recipes import Recipe
from core.config.settings import Batch, Scale, checked, literal
from core.errors import ConfigError, InputError
from core.inference.dsp_graphs import with_dsp_graphs
from core.inference.player import that_plays
from core.plan.advice import advice
from core.plan.candidates import several, with_runtime
from core.plan.plan import Plan, make_plan_to_play
from core.plugin.kinds import Dataset
from core.plugin.listable import ListableDataset
from core.plugin.registry import Registry
from core.plugin.step_names import MODEL
from core.plugin.values import Artifact, Notice
from core.store import fingerprint, hashing, source_code
from core.store.local import Store

__all__ = ["BatchPlan", "make_plan"]


@dataclass(frozen=True)
class BatchPlan:
    """What a run over a batch will do; `source` names the step whose artifact plays the items."""

    cfg: DictConfig
    steps: Plan
    source: str
    scale: Scale
    settings: Batch

    @property
    def dataset(self) -> ListableDataset:
        """Return the dataset, which can name its items."""
        dataset = self.steps.pipeline.dataset
        assert isinstance(dataset, ListableDataset), "the plan refuses any other"
        return dataset

    @property
    def notices(self) -> tuple[Notice, ...]:
        """Return the advice of the stages, and warnings about the contract and the host."""
        found = [self.host_plays] if self.host_plays else []
        if self.steps.pipeline.contract:
            found.append("the contract was not judged: a batch is played and not measured")
        return (*advice(self.steps.pipeline), *(Notice("warning", text) for text in found))

    @property
    def host_plays(self) -> str:
        """Return why the host plays, where this machine cannot open what the runtime compiles."""
        pipeline = self.steps.pipeline
        if not pipeline.never_run:
            return ""
        return (
            f"`{that_plays(pipeline).name}` plays, and nothing is compiled: this machine cannot "
            f"open what runtime `{pipeline.runtime.name}` makes: {pipeline.never_run}"
        )

    def folder(self, artifacts: Mapping[str, Artifact]) -> Path:
        """Return the folder of the items, named by a hash of all that decides the results."""
        pipeline, context = self.steps.pipeline, self.steps.context
        decides = {
            "model": artifacts[MODEL].sha256,
            "played": artifacts[self.source].sha256,
            "runtime": context.depends_on_runtime(that_plays(pipeline)),
            "dsp": context.depends_on_windows["dsp"],
            "chunker": fingerprint.of_plugin(pipeline.chunker),
            "dsp_graphs": source_code.of_functions(with_dsp_graphs),
            "dataset": fingerprint.of_plugin(pipeline.dataset),
        }
        name = f"batch-{hashing.digest(decides)[:12]}"
        return Path(self.cfg.output).expanduser().resolve() / pipeline.recipe / name


def make_plan(
    cfg: DictConfig, registry: Registry, recipe: str, recipes: Mapping[str, Recipe], store: Store
) -> BatchPlan:
    """Prove that the stages fit and that the items can be listed; look the steps up in the store.

    A batch is not measured, so no step of the plan plays its items or a reference.
    """
    if several(cfg):
        raise ConfigError(
            "a batch is played at one precision, and `ladder` or `auto` chooses among several",
            "choose with one item first: input=/path/to/file",
            "then play the batch with its lock file: recipe=outputs/.../recipe.lock.yaml",
        )
    scale = cfg.scale or Scale.here
    if scale is Scale.ray:
        on_ray.check()
    settings = cast("Batch", checked(cfg, "batch"))
    cfg = with_runtime(cfg, [])
    pipeline = _rooted(make_pipeline(cfg, registry, recipe, recipes))
    _check_listed(pipeline, registry)
    # A lock file may be read from any folder, too.
    if "path" in (cfg.dataset or {}):
        cfg.dataset.path = literal(pipeline.dataset.options.path)
    plan, source = make_plan_to_play(pipeline, registry, store)
    return BatchPlan(cfg, plan, source, scale, settings)


def _rooted(pipeline: Pipeline) -> Pipeline:
    """Return the pipeline with an absolute path to its items: a worker may be elsewhere."""
    dataset, options = pipeline.dataset, pipeline.dataset.options
    if not type(dataset).opens:
        return pipeline
    path = Path(options.path).expanduser().absolute()
    there = type(dataset)(dataclasses.replace(options, path=str(path)))
    return dataclasses.replace(pipeline, dataset=there)


def _check_listed(pipeline: Pipeline, registry: Registry) -> None:
    if isinstance(pipeline.dataset, ListableDataset):
        if next(iter(pipeline.dataset.sources()), None) is None:
            raise InputError(
                f"dataset `{pipeline.dataset.name}` has nothing to play", "give it items: input=..."
            )
        return
    datasets = registry.classes(Dataset).items()
    able = [name for name, cls in datasets if issubclass(cls, ListableDataset)]
    raise ConfigError(
        f"dataset `{pipeline.dataset.name}` does not list its items, which a batch needs",
        f"datasets that do: {', '.join(sorted(able)) or 'none'}",
        "give it items: input='folder/**/*.flac'",
    )
