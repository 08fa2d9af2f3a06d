"""The record of a run, as every reporter gets it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from core.machine.environment import machine, versions
from core.machine.machine_load import load_in
from core.measure.contract import story
from core.measure.placement import placement_in
from core.plugin.records import Judged, PlacementRecord, RunRecord
from core.plugin.stages import EvaluatedItem, SavedFile
from core.plugin.step_names import EVALUATE, MODEL, PLAY, PROBE
from core.plugin.values import Artifact, Notice
from core.run.choose import Choice, Tried
from core.steps.evaluate import read_items

__all__ = ["against_in", "record_of"]


def record_of(
    tried: Tried,
    choice: Choice,
    saved: tuple[SavedFile, ...],
    config: str,
    started: datetime,
    seconds: float,
    sweep: str,
    told: tuple[Notice, ...],
) -> RunRecord:
    """Return what reporters show of a run: its choice, stages, metrics, notices and versions."""
    pipeline, artifacts = tried.plan.pipeline, tried.outcome.artifacts
    info, played, probe = artifacts[MODEL].info, artifacts[PLAY], artifacts.get(PROBE)
    on_target = [
        played.facts.get("on_target") and pipeline.plays_itself,
        probe is not None and probe.facts.get("on_target"),
    ]
    return RunRecord(
        recipe=pipeline.recipe,
        title=pipeline.title,
        started=started.isoformat(timespec="seconds"),
        seconds=seconds,
        target=pipeline.target,
        precision=pipeline.precision,
        signature=info.signature,
        weights=info.weights,
        parameters=info.parameters,
        licence=info.licence,
        notices=_notices((*info.notices, *told, *_waived(tried.judged)), artifacts),
        stages=tuple(tried.outcome.records),
        budget=tried.budget,
        metrics=tried.metrics,
        saved=saved,
        played_on=str(played.facts["device"]),
        probed_on=str(probe.facts["device"]) if probe else "",
        target_took_part=any(on_target),
        config=config,
        versions=versions(),
        machine=machine(),
        contract=tried.judged,
        candidates=choice.candidates,
        chosen=choice.why,
        sweep=sweep,
        load=load_in(played.facts),
        placements=tuple(
            PlacementRecord(
                one.name,
                one.plugin,
                str(one.artifact.facts.get("device", "")),
                placement_in(one.artifact.facts),
            )
            for one in tried.outcome.records
            if one.name in (PLAY, PROBE)
        ),
        against=against_in(artifacts),
        never_run=pipeline.never_run,
        items=read_items(artifacts[EVALUATE]),
    )


def _waived(judged: Sequence[Judged]) -> Iterator[Notice]:
    """Yield a warning for every limit that does not count, and how to insist on it."""
    for one in judged:
        if one.waived:
            insist = f"contract.{one.name}={one.bound:.12g}"
            text = f"{story(one)}; the other limits decide, unless you insist: {insist}"
            yield Notice("warning", text)


def against_in(artifacts: Mapping[str, Artifact]) -> str:
    """Return in words the windows of FP32 PyTorch that quality was compared with."""
    return str(artifacts[EVALUATE].facts.get("against", EvaluatedItem.against))


def _notices(of_model: tuple[Notice, ...], artifacts: dict[str, Artifact]) -> tuple[Notice, ...]:
    """Return every notice once: the model's first, then those of the stages in order."""
    every = [*of_model, *(n for artifact in artifacts.values() for n in artifact.notices)]
    return tuple(dict.fromkeys(every))
