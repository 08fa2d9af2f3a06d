"""Plans one recipe at several precisions: those of a ladder, or all that a target runs.

    ladder: [int8, mixed, w8a16, fp16]    tried in this order; the first that holds is shipped
    auto: true                            all that the target runs; the best that holds is shipped

Every candidate is the same recipe, composed again with another `precision=`. Steps that they share
run once, because the store keeps the results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from omegaconf import DictConfig

from core.config.compose import composed_again, words_of_job
from core.config.grammar import is_name
from core.config.inputs import is_batch
from core.config.pipeline import make_pipeline
from core.config.recipes import Recipe
from core.config.settings import check_once, group_of, target_of
from core.errors import ConfigError, MisfitError, MissingLibraryError
from core.machine.program import line
from core.plan.plan import Plan, make_plan
from core.plugin.registry import Registry
from core.plugin.step_names import SAVE
from core.store.local import Store

__all__ = ["Candidate", "at_each_precision", "candidates", "several", "with_runtime"]

OBJECTIVES = ("fastest", "smallest")
#: The most precisions that a ladder may have; about a dozen exist.
MOST_PRECISIONS = 100


@dataclass(frozen=True)
class Candidate:
    """One precision with its config and plan, or with the error that stands in its way."""

    precision: str
    cfg: DictConfig
    plan: Plan | None
    misfit: MisfitError | MissingLibraryError | None = None


def several(cfg: DictConfig) -> bool:
    """Return whether the config asks for several precisions, and for one to be chosen."""
    return bool(cfg.ladder) or bool(cfg.auto)


def candidates(
    cfg: DictConfig,
    registry: Registry,
    recipe: str,
    recipes: Mapping[str, Recipe],
    store: Store,
) -> list[Candidate]:
    """Plan the job at every precision that it asks for; a job that names none is planned as it is.

    Raises MisfitError for a precision of a ladder that does not fit, MissingLibraryError for one
    whose library is not installed, and ConfigError for a wrong config. With `auto`, both sorts are
    left out, with a reason, unless none is left.
    """
    if is_batch(cfg):
        raise ConfigError(
            "a batch is played and not measured, so that there is nothing to sweep over",
            "sweep with one item, or a few in a folder: input=/path/to/file",
        )
    if cfg.ladder and cfg.auto:
        raise ConfigError(
            "`ladder` and `auto` both choose the precision", "give one: ladder=[] or auto=false"
        )
    if len(cfg.ladder) > MOST_PRECISIONS:
        raise ConfigError(
            f"`ladder` names {len(cfg.ladder)} precisions",
            f"name each once, {MOST_PRECISIONS} at most",
        )
    check_once("ladder", cfg.ladder)
    target = target_of(cfg)
    if target.objective not in OBJECTIVES:
        raise ConfigError(
            f"target `{target.name}` has the objective `{target.objective}`",
            f"objectives: {', '.join(OBJECTIVES)}",
        )
    if cfg.auto and not target.name:
        raise ConfigError(
            "`auto` chooses among the precisions of the target, but the recipe names no target",
            "give one: target=<name>",
        )
    composed = (
        at_each_precision(cfg, list(cfg.ladder) or target.precisions or ["fp32"])
        if several(cfg)
        else {"": with_runtime(cfg, [])}
    )
    # Of several, only the chosen one is written into a run folder.
    placed = [] if several(cfg) else [SAVE]
    found = [_planned(n, c, registry, recipe, recipes, store, placed) for n, c in composed.items()]
    if cfg.auto:
        found = _measurable(found)
    misfits = [candidate.misfit for candidate in found if candidate.misfit is not None]
    if misfits and (not cfg.auto or len(misfits) == len(found)):
        raise misfits[0]
    return found


def _measurable(found: list[Candidate]) -> list[Candidate]:
    """Leave out what this machine compiles and cannot open, unless that is so for all of it.

    The host would be timed in its place, which is another runtime.
    """
    plans = [candidate.plan for candidate in found if candidate.plan is not None]
    if all(plan.pipeline.never_run for plan in plans):
        return found
    return [_left_out(c, c.plan.pipeline.never_run) if c.plan else c for c in found]


def _left_out(candidate: Candidate, why: str) -> Candidate:
    if not why:
        return candidate
    misfit = MisfitError(f"precision `{candidate.precision}` cannot be measured here: {why}")
    return replace(candidate, plan=None, misfit=misfit)


def at_each_precision(cfg: DictConfig, names: Sequence[str]) -> dict[str, DictConfig]:
    """Compose the job again for every precision: its preset decides on the quantizer.

    A precision on the command line replaces `names`.
    """
    if any(word.startswith("precision=") for word in words_of_job()):
        names = [cfg.precision.get("name", "fp32")]
    return {name: with_runtime(cfg, [f"precision={_named(name)}"]) for name in names}


def _named(name: object) -> str:
    """Return a name for Hydra; raises ConfigError for anything else, above all a path."""
    if isinstance(name, str) and is_name(name):
        return name
    raise ConfigError(
        f"`{name}` is no name of a precision or plugin",
        f"a name is letters, digits and underscores; see them all: {line(['mode=list'])}",
    )


def with_runtime(cfg: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Compose the job again, with the target's runtime and host where the recipe names none."""
    target = target_of(cfg)
    added = [*overrides]
    for slot in ("runtime", "host"):
        name = getattr(target, slot)
        if name and cfg.runtime is None and cfg.get(slot) is None:
            added.append(f"{group_of(slot)}={_named(name)}")
    if not added:
        return cfg
    # Hydra takes no key twice.
    given = {word.partition("=")[0] for word in added}
    task = [w for w in words_of_job() if w.partition("=")[0] not in given]
    return composed_again([*task, *added])


def _planned(
    name: str,
    cfg: DictConfig,
    registry: Registry,
    recipe: str,
    recipes: Mapping[str, Recipe],
    store: Store,
    needed: Sequence[str],
) -> Candidate:
    try:
        pipeline = make_pipeline(cfg, registry, recipe, recipes)
        plan = make_plan(pipeline, registry, store, needed)
    except (MisfitError, MissingLibraryError) as error:
        return Candidate(name, cfg, None, error)
    return Candidate(name or pipeline.precision, cfg, plan)
