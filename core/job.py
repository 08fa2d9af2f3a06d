"""One job: a composed config becomes a plan, a run, a run folder and a report."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pluggy
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from core import folder, verdict
from core.arguments import command
from core.assembly import assemble
from core.bundle import write_bundle
from core.config import Mode
from core.doctor import machine, versions
from core.errors import DoesNotFitError, PluginError
from core.exchange import Saved
from core.plan import Plan, make_plan
from core.recipes import Recipe
from core.record import BudgetLine, RunRecord
from core.registry import Registry
from core.run import Outcome, execute
from core.store import Store, open_store
from core.values import Artifact, Notice
from core.whole import place_saved, read_metrics

__all__ = ["run"]


def run(cfg: DictConfig, registry: Registry, recipe: str, recipes: Mapping[str, Recipe]) -> None:
    """Plan the job and, unless `mode=plan`, execute it."""
    assembly = assemble(cfg, registry, recipe, list(recipes))
    store = open_store(cfg.store)
    plan = make_plan(assembly, registry, store)
    if cfg.mode is Mode.plan:
        from core.show_plan import show

        show(plan)
        return
    for reporter in assembly.reporter:
        registry.manager.register(reporter, name=f"reporter:{reporter.name}")
    try:
        _run(cfg, registry, plan, store)
    except DoesNotFitError as error:
        verdict.keep(store, assembly, verdict.refused(assembly, error))
        given = HydraConfig.get().overrides.task
        others = [word for word in given if not word.startswith(("mode=", "chunker."))]
        search = command([*others, "mode=fit"], recipes)
        raise verdict.advised(error, assembly, store, search) from error
    finally:
        registry.manager.hook.luthier_run_ended()
        for reporter in assembly.reporter:
            registry.manager.unregister(reporter)


def _run(cfg: DictConfig, registry: Registry, plan: Plan, store: Store) -> None:
    hook, assembly = registry.manager.hook, plan.assembly
    started, clock = datetime.now(UTC), time.perf_counter()
    hook.luthier_run_started(plan=plan)
    config = cast("dict[str, Any]", OmegaConf.to_container(cfg, resolve=True, enum_to_str=True))
    # Made before the first step, so that a place that cannot be written is found out at once.
    with folder.new_folder(Path(cfg.output), assembly.recipe) as place:
        outcome = execute(plan, store, hook)
        if "runtime" in outcome.artifacts:
            compiled = verdict.compiled(assembly, outcome.artifacts["runtime"])
            verdict.keep(store, assembly, compiled)
        partial = place.partial
        saved = place_saved(outcome.artifacts["save"], partial)
        text = folder.lock(config, outcome.artifacts, versions())
        (partial / "recipe.lock.yaml").write_text(text, encoding="utf-8")
        write_bundle(partial / "bundle", assembly, *_shipped(plan, outcome))
        record = _record(plan, outcome, saved, text, started, time.perf_counter() - clock)
        problem = _report(hook, record, partial)
    hook.luthier_run_placed(folder=str(place.final))
    if problem is not None:
        raise PluginError(
            f"a reporter failed: {type(problem).__name__}: {problem}",
            f"what it did not write is missing from {place.final}; the rest is there",
            "see the whole trace: hydra.verbose=true",
        ) from problem


def _report(hook: pluggy.HookRelay, record: RunRecord, partial: Path) -> Exception | None:
    """Let the reporters write; returns what one raised, for a report must not cost the result."""
    try:
        hook.luthier_run_finished(record=record, folder=str(partial))
    except Exception as error:
        return error
    return None


def _shipped(plan: Plan, outcome: Outcome) -> tuple[Artifact, Artifact | None]:
    """Return the artifact that goes to the device, and the one that it was compiled from."""
    artifacts = outcome.artifacts
    if "runtime" not in artifacts:
        return artifacts[str(artifacts["play"].facts["source"])], None
    (before, *_) = next(p.step.inputs for p in plan.steps if p.step.name == "runtime")
    return artifacts["runtime"], artifacts[before] if before != "model" else None


def _record(
    plan: Plan,
    outcome: Outcome,
    saved: tuple[Saved, ...],
    config: str,
    started: datetime,
    seconds: float,
) -> RunRecord:
    assembly, artifacts = plan.assembly, outcome.artifacts
    info, played, probe = artifacts["model"].info, artifacts["play"], artifacts.get("probe")
    on_target = [a.facts.get("on_target") for a in (played, probe) if a is not None]
    return RunRecord(
        recipe=assembly.recipe,
        title=assembly.title,
        started=started.isoformat(timespec="seconds"),
        seconds=seconds,
        target=assembly.target,
        precision=assembly.precision,
        signature=info.signature,
        weights=info.weights,
        parameters=info.parameters,
        licence=info.licence,
        notices=_notices(info.notices, artifacts),
        stages=tuple(outcome.records),
        budget=tuple(_budget(artifacts)),
        metrics=tuple(read_metrics(artifacts["evaluate"])),
        saved=saved,
        played_on=str(played.facts["device"]),
        probed_on=str(probe.facts["device"]) if probe else "",
        target_took_part=any(on_target),
        config=config,
        versions=versions(),
        machine=machine(),
    )


def _notices(of_model: tuple[Notice, ...], artifacts: dict[str, Artifact]) -> tuple[Notice, ...]:
    """Return every notice once: the model's first, then those of the stages in order."""
    every = [*of_model, *(n for artifact in artifacts.values() for n in artifact.notices)]
    return tuple(dict.fromkeys(every))


def _budget(artifacts: dict[str, Artifact]) -> list[BudgetLine]:
    """Return the error budget: a line per stage, then the device, then the chunking."""
    lines = [
        _line(name.removeprefix("budget."), artifact)
        for name, artifact in artifacts.items()
        if name.startswith("budget.")
    ]
    if "probe" in artifacts:
        lines.append(_line("probe", artifacts["probe"]))
    window = artifacts["reference"].facts.get("train_window")
    lines.append(
        BudgetLine(
            "chunk",
            artifacts["evaluate"].number("chunk_snr_db"),
            "CPU (PyTorch)",
            note=f"the recipe's windows against those of the training ({window}), whole input",
        )
    )
    return lines


def _line(stage: str, artifact: Artifact) -> BudgetLine:
    facts, seconds = artifact.facts, artifact.numbers("seconds")
    labels = facts["labels"]
    agreement = facts.get("agreement_db")
    return BudgetLine(
        stage=stage,
        snr_db=artifact.number("snr_db"),
        device=str(facts["device"]),
        windows=int(artifact.number("windows")),
        labels=tuple(map(str, labels)) if isinstance(labels, list) else (),
        label_snr_db=tuple(artifact.numbers("label_snr_db")),
        seconds_per_window=sum(seconds) / len(seconds) if seconds else None,
        agreement_db=float(agreement) if isinstance(agreement, float) else None,
    )
