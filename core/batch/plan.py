"""The plan of a library: the steps that make what plays, and the folder that its songs are in."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from omegaconf import DictConfig

from core.batch import on_ray
from core.config.pipeline import Assembly, assemble
from core.config.recipes import Recipe
from core.config.settings import Scale, Songs, checked, literal
from core.errors import ConfigError, InputError
from core.inference.context import Bench
from core.inference.dsp_graphs import hosted
from core.inference.player import that_plays
from core.plan.candidates import several, with_runtime
from core.plan.check import check
from core.plan.plan import Plan, looked_up
from core.plugin.kinds import Listed
from core.plugin.registry import Registry
from core.plugin.values import Artifact, Notice
from core.steps import convert
from core.store import fingerprint, hashing, source_code
from core.store.local import Store

__all__ = ["LibraryPlan", "make_plan"]


@dataclass(frozen=True)
class LibraryPlan:
    """What a run over a library is going to do; `source` names the step whose artifact plays."""

    cfg: DictConfig
    steps: Plan
    source: str
    scale: Scale
    songs: Songs

    @property
    def dataset(self) -> Listed:
        """Return the dataset, which can name its songs."""
        dataset = self.steps.assembly.dataset
        assert isinstance(dataset, Listed), "the plan refuses any other"
        return dataset

    @property
    def notices(self) -> tuple[Notice, ...]:
        """Return what a person must know who expects of a library what a measured run does."""
        if not self.steps.assembly.contract:
            return ()
        text = "the contract was not judged: a library is played and not measured"
        return (Notice("warning", text),)

    def folder(self, artifacts: Mapping[str, Artifact]) -> Path:
        """Return where the songs go, named after all that decides what they sound like."""
        assembly, bench = self.steps.assembly, self.steps.bench
        decides = {
            "model": artifacts["model"].sha256,
            "played": artifacts[self.source].sha256,
            "runtime": bench.depends_on_runtime(that_plays(assembly)),
            "dsp": bench.depends_on_windows["dsp"],
            "chunker": fingerprint.of_plugin(assembly.chunker),
            "hosted": source_code.of_functions(hosted),
            "dataset": fingerprint.of_plugin(assembly.dataset),
        }
        name = f"library-{hashing.digest(decides)[:12]}"
        return Path(self.cfg.output).expanduser().resolve() / assembly.recipe / name


def make_plan(
    cfg: DictConfig, registry: Registry, recipe: str, recipes: Mapping[str, Recipe], store: Store
) -> LibraryPlan:
    """Prove that the stages fit and that the songs can be listed; look the steps up in the store.

    Nothing is measured over a library, so that neither its songs nor a reference are played here.
    """
    if several(cfg):
        raise ConfigError(
            "a library is played at one precision, and `ladder` or `auto` chooses among several",
            "choose with one song first: input=song.flac",
            "then play the library with what was chosen: recipe=outputs/.../recipe.lock.yaml",
        )
    scale = cfg.scale or Scale.here
    if scale is Scale.ray:
        on_ray.check()
    songs = cast("Songs", checked(cfg, "songs"))
    cfg = with_runtime(cfg, [])
    assembly = _rooted(assemble(cfg, registry, recipe, recipes))
    _check_listed(assembly, registry)
    # The lock file is read anywhere, too.
    if "path" in (cfg.dataset or {}):
        cfg.dataset.path = literal(assembly.dataset.options.path)
    check(assembly, registry, measured=False)
    bench = Bench(assembly)
    steps = convert.conversion(bench)
    source = convert.source(bench, steps)
    # What is compiled for a device that plays nothing here has no part in this.
    needed = steps[: [step.name for step in steps].index(source) + 1]
    return LibraryPlan(cfg, looked_up(bench, needed, store), source, scale, songs)


def _rooted(assembly: Assembly) -> Assembly:
    """Return the assembly with an absolute path to its songs: a worker may be elsewhere."""
    dataset, options = assembly.dataset, assembly.dataset.options
    if not type(dataset).opens:
        return assembly
    path = Path(options.path).expanduser().absolute()
    there = type(dataset)(dataclasses.replace(options, path=str(path)))
    return dataclasses.replace(assembly, dataset=there)


def _check_listed(assembly: Assembly, registry: Registry) -> None:
    if isinstance(assembly.dataset, Listed):
        if next(iter(assembly.dataset.sources()), None) is None:
            raise InputError(
                f"dataset `{assembly.dataset.name}` has nothing to play", "give it songs: input=..."
            )
        return
    able = [n for n, e in registry.entries["dataset"].items() if issubclass(e.cls, Listed)]
    raise ConfigError(
        f"dataset `{assembly.dataset.name}` does not list its items, which a library needs",
        f"datasets that do: {', '.join(sorted(able)) or 'none'}",
        "give it songs: input='songs/**/*.flac'",
    )
