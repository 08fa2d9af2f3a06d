"""The trace has every step of a run with its time, in Chrome's Trace Event Format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.conftest import Command

#: The fields that every event has, and those of each phase.
FIELDS = {"ph", "name", "pid", "tid"}
OF_PHASE = {"M": {"args"}, "C": {"ts", "args"}, "X": {"ts", "dur", "args", "cat"}}


def traced(command: Command, recipe: Path, output: Path, *words: str) -> tuple[Any, Any]:
    """Return the trace and the report of a run."""
    done = command(f"recipe={recipe}", "reporter=[json,trace]", f"output={output}", *words)
    assert done.code == 0
    (folder,) = (output / "toy").glob("*")
    return (json.loads((folder / name).read_text()) for name in ("trace.json", "report.json"))


def test_every_step_is_an_event_with_its_time(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """The steps stand in order, do not overlap, and last as long as the report says."""
    trace, report = traced(command, recipe, tmp_path / "out")
    events = trace["traceEvents"]
    assert all(event.keys() == FIELDS | OF_PHASE[event["ph"]] for event in events)
    steps = [event for event in events if event["ph"] == "X"]
    assert [step["name"] for step in steps] == [stage["name"] for stage in report["stages"]]
    for step, stage in zip(steps, report["stages"], strict=True):
        assert step["dur"] <= 1e6 * stage["seconds"] + 1
        assert step["args"]["status"] == step["cat"] == stage["status"]
    ends = [step["ts"] + step["dur"] for step in steps]
    assert all(end <= after["ts"] + 1 for end, after in zip(ends, steps[1:], strict=False))
    names = [event["args"]["name"] for event in events if event["ph"] == "M"]
    assert names == ["luthier toy", f"toy, {report['precision']}"]
    assert trace["otherData"]["machine"] == report["machine"]


def test_progress_is_a_counter_up_to_a_hundred(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """A step that says how far it is has a counter that ends at 100 %."""
    trace, _ = traced(command, recipe, tmp_path / "out", "model.gain=7.0")
    counted = [event for event in trace["traceEvents"] if event["ph"] == "C"]
    played = [one["args"]["per cent"] for one in counted if one["name"] == "progress of play"]
    assert played[-1] == 100
    assert played == sorted(played)


def test_a_stage_that_ran_shows_its_peak_memory(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """A counter has the peak of each stage that ran, from its start to its end."""
    trace, report = traced(command, recipe, tmp_path / "out")
    counted = [e for e in trace["traceEvents"] if e["name"] == "peak memory of the stage"]
    ran = [one for one in report["stages"] if one["status"] == "ran"]
    peaks = [one["artifact"]["peak_memory_mb"] for one in ran if one["artifact"]["peak_memory_mb"]]
    assert sorted(e["args"]["MB"] for e in counted if e["args"]["MB"]) == sorted(peaks) != []
    assert sum(e["args"]["MB"] == 0 for e in counted) == len(peaks)
    trace, _ = traced(command, recipe, tmp_path / "again")
    assert not [e for e in trace["traceEvents"] if e["name"] == "peak memory of the stage"]


def test_stored_steps_say_how_long_they_took(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """A step from the store has the time of the run that made it."""
    traced(command, recipe, tmp_path / "first")
    trace, _ = traced(command, recipe, tmp_path / "second")
    steps = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert {step["cat"] for step in steps} == {"cached"}
    assert all(step["args"]["seconds when made"] > 0 for step in steps)
