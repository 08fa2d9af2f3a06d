"""The data logged of one run: its options, everything measured with its device, its reports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.text.markdown import inline
from plugins.reporter._reading import redacted, redacted_option, took_part, value

if TYPE_CHECKING:
    from core import Metric
    from core.plugin.records import RunRecord
    from plugins.reporter._mlflow.tracker import Tracker

__all__ = ["FILES", "NOTE", "log_run"]

#: MLflow shows this tag as the description of a run.
NOTE = "mlflow.note.content"
FILES = ("report.html", "report.json", "recipe.lock.yaml")


def log_run(
    tracker: Tracker, record: RunRecord, folder: str, *, artifacts: bool, bundle: bool
) -> None:
    """Log one run from its record and its folder."""
    tags, params = _tags(redacted(record)), dict(_options(record.config))
    run = tracker.made(f"{record.recipe} {record.started[:19]}", record.started, tags)
    status = "FAILED"
    try:
        tracker.fill(run, params, dict(_measured(redacted(record))), {})
        names = (FILES if artifacts else ()) + (("bundle",) if bundle else ())
        tracker.attach(run, Path(folder), names)
        status = "FINISHED"
    finally:
        tracker.end(run, record.seconds, status)


def _options(config: str) -> Iterator[tuple[str, str]]:
    """Yield every option of a lock file as `chunker.length` and its text, fit to be sent on."""
    import yaml

    def flat(node: Any, key: str) -> Iterator[tuple[str, str]]:
        if isinstance(node, dict) and node:
            for name, inner in node.items():
                yield from flat(inner, f"{key}.{name}" if key else str(name))
        elif node is not None:
            text = node if isinstance(node, str) else json.dumps(node, ensure_ascii=False)
            yield key, redacted_option(key, text)

    yield from flat(yaml.safe_load(config), "")


def _measured(record: RunRecord) -> Iterator[tuple[str, float]]:
    """Yield the metrics as `sdr/<song>: vocals`, the error budget, the contract's limits, nodes."""
    for metric in record.metrics:
        of = _of(metric).replace("/", "_")
        yield f"{metric.name}/{of}" if of else metric.name, metric.value
    for line in record.budget:
        yield f"budget_snr_db/{line.stage}", line.snr_db
        for name, db in (("step", line.step_db), ("total", line.total_db)):
            if db is not None:
                yield f"budget_{name}_db/{line.stage}", db
    for one in record.contract:
        if one.value is not None:
            yield f"contract/{one.name}", one.value
    for placed in record.placements:
        if placed.placement is not None:
            yield f"accelerator_coverage/{placed.step}", placed.placement.coverage
            for by in placed.placement.placed:
                of = f"{by.device} {by.precision}".strip().replace("/", "_")
                asked = "" if by.asked else " not asked"
                yield f"nodes/{placed.step}/{of}{asked}", by.nodes
    yield "seconds", record.seconds


def _of(metric: Metric) -> str:
    """Return the subject of a metric: `<song>: vocals`, `<song>: mean`, `p5`."""
    return ": ".join(filter(None, (metric.item, metric.label, metric.statistic)))


def _tags(record: RunRecord) -> dict[str, str]:
    """Return the tags of the run, and a description that says where numbers were measured."""
    held = all(one.held for one in record.contract)
    tags = {
        "luthier.recipe": record.recipe,
        "luthier.target": record.target.name,
        "luthier.precision": record.precision,
        "luthier.weights": record.weights,
        "luthier.licence": record.licence,
        "luthier.machine": record.machine,
        "luthier.played_on": record.played_on,
        "luthier.probed_on": record.probed_on,
        "luthier.target_took_part": "yes" if record.target_took_part else "no",
        "luthier.contract": ("held" if held else "missed") if record.contract else "",
        **{f"luthier.version.{name}": version for name, version in record.versions.items()},
        NOTE: _note(record),
    }
    return {key: text for key, text in tags.items() if text}


def _note(record: RunRecord) -> str:
    notices = [f"- **{notice.severity}**: {inline(notice.text)}" for notice in record.notices]
    rows = [
        f"| {inline(metric.name)} | {inline(_of(metric))} | {value(metric)} | "
        f"{inline(metric.device)} |"
        for metric in record.metrics
    ]
    head = ["| measure | of | value | measured on |", "| --- | --- | --- | --- |"]
    return "\n".join(
        [inline(record.title), "", inline(took_part(record)), "", *notices, "", *head, *rows]
    )
