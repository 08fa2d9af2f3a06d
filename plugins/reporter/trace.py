"""Writes `trace.json`: the steps of a run over time, for https://ui.perfetto.dev or chrome://tracing.

The format is Chrome's Trace Event Format, in JSON: complete events (`X`), counters (`C`) and names
(`M`); times are in microseconds since the run began.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import NoOptions, Reporter, hookimpl
from core.machine.whole_file import write_whole

if TYPE_CHECKING:
    from core.plugin.records import PlanRecord, RunRecord, StageRecord

__all__ = ["FILE", "Trace"]

FILE = "trace.json"
#: Progress of a stage is noted at most this often (s).
EVERY_S = 0.05
PROCESS = 1


class Trace(Reporter[NoOptions]):
    """Writes the steps of a run over time, one row per precision that was tried, for Perfetto."""

    name = "trace"

    def __init__(self, options: NoOptions) -> None:
        super().__init__(options)
        self._began: float | None = None
        self._rows: list[str] = []
        self._events: list[dict[str, Any]] = []
        self._noted: dict[str, float] = {}

    @hookimpl
    def luthier_run_started(self, plan: PlanRecord) -> None:
        """Begin a row: a run that tries several precisions has one for each."""
        if self._began is None:
            self._began = time.perf_counter()
        self._rows.append(f"{plan.recipe}, {plan.precision}")

    @hookimpl
    def luthier_stage_progress(self, stage: str, done: float, total: float) -> None:
        """Note how far a stage is, where its end is known."""
        now = self._now()
        if total <= 0 or (done < total and now - self._noted.get(stage, 0.0) < EVERY_S):
            return
        self._noted[stage] = now
        self._add("C", f"progress of {stage}", now, args={"per cent": 100 * done / total})

    @hookimpl
    def luthier_stage_finished(self, record: StageRecord) -> None:
        """Note a stage that ended, with the time that this run spent on it."""
        now = self._now()
        start = max(0.0, now - record.seconds)
        artifact = record.artifact
        about: dict[str, Any] = {
            "title": record.title,
            "by": record.plugin,
            "status": record.status,
            "precision": artifact.precision,
            "bytes": artifact.bytes,
        }
        if record.status == "cached":
            about["seconds when made"] = artifact.made_in_s
        if artifact.peak_memory_mb:
            about["peak memory, MB"] = artifact.peak_memory_mb
            if record.status != "cached":
                # As high as the peak and as long as the stage: how memory rose is not known.
                for at, peak in ((start, artifact.peak_memory_mb), (now, 0.0)):
                    self._add("C", "peak memory of the stage", at, args={"MB": peak})
        self._add("X", record.name, start, dur=_micro(now - start), cat=record.status, args=about)

    @hookimpl
    def luthier_run_finished(self, record: RunRecord, folder: str) -> None:
        """Write `trace.json` into the run folder."""
        import msgspec

        from plugins.reporter._reading import redacted

        clean = redacted(record)
        rows = [_named("thread_name", row, name) for row, name in enumerate(self._rows, 1)]
        content = {
            "displayTimeUnit": "ms",
            "traceEvents": [
                # On a row that has events: viewers make a row of its own for any other number.
                _named("process_name", 1, f"luthier {clean.recipe}"),
                *rows,
                *sorted(self._events, key=lambda event: float(event["ts"])),
            ],
            "otherData": {
                "recipe": clean.recipe,
                "started": clean.started,
                "machine": clean.machine,
                **clean.versions,
            },
        }
        write_whole(Path(folder, FILE), msgspec.json.encode(content))

    def _now(self) -> float:
        """Return the seconds since the run began."""
        return time.perf_counter() - self._began if self._began is not None else 0.0

    def _add(self, phase: str, name: str, at: float, **fields: Any) -> None:
        row = max(1, len(self._rows))
        self._events.append(
            {"ph": phase, "name": name, "ts": _micro(at), "pid": PROCESS, "tid": row, **fields}
        )


def _named(kind: str, row: int, name: str) -> dict[str, Any]:
    """Return the event that names a process or one of its rows."""
    return {"ph": "M", "name": kind, "pid": PROCESS, "tid": row, "args": {"name": name}}


def _micro(seconds: float) -> float:
    return round(1e6 * seconds, 1)


@hookimpl
def luthier_plugins() -> list[type[Trace]]:
    """Return the reporter plugin of this file."""
    return [Trace]
