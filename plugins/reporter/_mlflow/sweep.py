"""The data logged of a sweep: a run for it, and one child per point.

A sweep that is started again finds these runs by their tags, so that nothing is logged twice.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from core.measure.metrics import HIGH, LOW
from core.text.markdown import inline
from plugins.reporter._mlflow.run import FILES, NOTE
from plugins.reporter._reading import figure_text, outcome, presentable, winner_of

if TYPE_CHECKING:
    from mlflow.entities import Run

    from core.plugin.records import Point, SweepRecord
    from plugins.reporter._mlflow.tracker import Tracker

__all__ = ["log_sweep"]

PARENT = "mlflow.parentRunId"
PAGES = ("sweep.html", "sweep.json", "sweep.csv")
#: MLflow has no status for refused or left out points: none finished, and none failed.
STATUS = {"done": "FINISHED", "missed": "FINISHED", "failed": "FAILED"}


def log_sweep(
    tracker: Tracker, record: SweepRecord, folder: str, *, artifacts: bool, bundle: bool
) -> None:
    """Log a sweep and its points, or update what an earlier start of the sweep logged."""
    keys, record, place = [_key(p) for p in record.points], presentable(record), Path(folder)
    sweep = re.sub(r"[^\w.-]", "_", place.name)
    tags = {"luthier.sweep": sweep, "luthier.role": "sweep"}
    condition = " and ".join(f"tags.`{key}` = '{text}'" for key, text in tags.items())
    parent = next(tracker.found(condition), None)
    if parent is None:
        tags["luthier.recipe"] = record.recipe
        parent = tracker.made(f"{record.recipe} {sweep}", record.started, tags)
    children = {
        run.data.tags.get("luthier.point", ""): run
        for run in tracker.found(f"tags.`{PARENT}` = '{parent.info.run_id}'")
    }
    ended = "FAILED"
    try:
        for key, point in zip(keys, record.points, strict=True):
            run = children.get(key)
            if run is None:
                about = {
                    "luthier.sweep": sweep,
                    "luthier.role": "point",
                    "luthier.point": key,
                    "luthier.recipe": record.recipe,
                    PARENT: parent.info.run_id,
                }
                run = tracker.made(point.label or f"point {point.number}", record.started, about)
            tracker.fill(run, point.values, _metrics(point), _tags(record, point))
            if point.folder:
                names = (FILES if artifacts else ()) + (("bundle",) if bundle else ())
                tracker.attach(run, place / point.folder, names)
            tracker.end(run, point.seconds, STATUS.get(point.status, "KILLED"))
        _fill_parent(tracker, record, parent)
        if artifacts:
            tracker.attach(parent, place, PAGES)
        ended = "FINISHED"
    finally:
        tracker.end(parent, record.seconds, ended)


def _fill_parent(tracker: Tracker, record: SweepRecord, parent: Run) -> None:
    best = winner_of(record)
    said = f"point {best.number} is taken: {best.label}; " if best else ""
    counts = {f"points/{point.status}": 0.0 for point in record.points}
    for point in record.points:
        counts[f"points/{point.status}"] += 1
    tracker.fill(
        parent,
        {axis.key: ",".join(axis.values) for axis in record.axes}
        | {f"contract.{name}": f"{bound:g}" for name, bound in record.contract.items()},
        {"seconds": record.seconds, **counts},
        {
            "luthier.winner": best.label if best else "",
            "luthier.command": record.command,
            "luthier.machine": record.machine,
            NOTE: f"{inline(record.title)}\n\n{outcome(record)}\n\n{inline(said + record.why)}",
        },
    )


def _key(point: Point) -> str:
    """Return the key that tells a point from the others, in whatever order a sweep runs them.

    It is taken before paths become names, because two paths may have the same name.
    """
    return hashlib.sha256(json.dumps(point.values, sort_keys=True).encode()).hexdigest()[:16]


def _metrics(point: Point) -> dict[str, float]:
    ends = {
        f"{name}/{end}": value
        for name, values in point.spreads.items()
        for end, value in zip((LOW, HIGH), values, strict=True)
    }
    load = {} if point.load is None else {"others_cores": point.load.others}
    return {**point.figures, **ends, **load, "seconds": point.seconds}


def _tags(record: SweepRecord, point: Point) -> dict[str, str]:
    rows = [
        f"- {inline(figure.title)}: {figure_text(figure, point.figures[figure.name])}"
        f"{', on ' if (device := point.devices.get(figure.name, '')) else ''}{inline(device)}"
        for figure in record.figures
        if figure.name in point.figures
    ]
    return {
        "luthier.status": point.status,
        "luthier.why": point.why,
        "luthier.front": "yes" if point.front else "no",
        "luthier.winner": "yes" if point.number == record.winner else "no",
        "luthier.command": point.command,
        NOTE: "\n".join([inline(point.why), "", *rows] if point.why else rows),
    }
