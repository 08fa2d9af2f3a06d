"""No bit that flips in what is kept reaches a result or a report: it is told, and made again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.conftest import Command
from tests.flips import Told, unnoticed

#: Units of what is measured anew when something is made again.
TIMED = ("ms", "s", "MB", "×")


def figures(report: dict[str, Any]) -> dict[str, Any]:
    """Return what a report says but for times, memory, and what was found damaged."""
    kept = {k: report[k] for k in ("title", "signature", "weights", "saved", "played_on")}
    kept["budget"] = [{**row, "seconds_per_window": 0} for row in report["budget"]]
    kept["metrics"] = [m for m in report["metrics"] if m["unit"] not in TIMED]
    kept["shas"] = {
        s["name"]: (s["artifact"]["sha256"], s["artifact"]["precision"], s["artifact"]["model"])
        for s in report["stages"]
        if s["name"] in ("model", "graph.copied", "quantizer", "runtime", "sample", "save")
    }
    return kept


def test_every_flip_below_a_store_is_noticed(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """A flip in entries, verdicts or kept inputs changes no result, and the report names it."""
    outputs = tmp_path / "outputs"

    def run() -> Told:
        shutil.rmtree(outputs, ignore_errors=True)
        done = command(f"recipe={recipe}")
        (folder,) = (outputs / "toy").iterdir()
        report = json.loads((folder / "report.json").read_text())
        warnings = [line for line in done.err.splitlines() if line.startswith("warning: ")]
        assert warnings == [f"warning: {notice['text']}" for notice in report["notices"]]
        saved = (folder / "y.txt").read_bytes(), (folder / "bundle" / "gain.txt").read_bytes()
        return Told(done.code, done.err, (figures(report), saved))

    assert unnoticed([tmp_path / "store"], run, run(), 60, at_once=12) == []


def test_every_flip_below_a_librarys_store_is_noticed(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """A damaged model of a batch is made again before a song is played with it."""
    songs, outputs = tmp_path / "songs", tmp_path / "outputs"
    songs.mkdir()
    for name in "ab":
        (songs / f"{name}.line").write_text("1 2 3")

    def run() -> Told:
        shutil.rmtree(outputs, ignore_errors=True)
        done = command(f"recipe={recipe}", "dataset=lines", f"dataset.path={songs}/*.line")
        played = {file.name: file.read_bytes() for file in outputs.rglob("y.txt")}
        return Told(done.code, done.err, played)

    assert unnoticed([tmp_path / "store"], run, run(), 4, at_once=4) == []


def test_every_flip_of_a_sweep_is_noticed(command: Command, recipe: Path, tmp_path: Path) -> None:
    """A point whose record or result is flipped runs again from the store."""
    arguments = ("-m", f"recipe={recipe}", "chunker.length=4")

    def run() -> Told:
        done = command(*arguments)
        (file,) = tmp_path.glob("outputs/toy/*/sweep.json")
        record = json.loads(file.read_text())
        points = record["points"]
        # The processes of points are timed as they are, on a busy machine under load.
        told = [line for line in record["notices"] if "measured under load" not in line]
        assert {f"warning: {line}" for line in told} <= set(done.err.splitlines())
        values = [(p["values"], p["status"], p["figures"]["snr"], p["front"]) for p in points]
        return Told(done.code, done.err, values)

    first = run()
    (place,) = tmp_path.glob("outputs/toy/*/points")
    assert unnoticed([tmp_path / "store", place], run, first, 16, at_once=16) == []


def test_a_plan_says_what_is_damaged_and_changes_nothing(
    command: Command, recipe: Path, tmp_path: Path
) -> None:
    """A plan gives the damage as the reason of a step, with a line, as does the next run."""
    command(f"recipe={recipe}")
    (file,) = (tmp_path / "store" / "quantizer").glob("*/files/gain.txt")
    file.write_bytes(b"2.1")
    before = {p: p.stat().st_ino for p in (tmp_path / "store").rglob("*")}
    for mode in ("plan", "plan", "run"):
        done = command(f"recipe={recipe}", f"mode={mode}")
        assert done.code == 0
        assert done.err.count("the kept result of `quantizer` is damaged") == 1
        if mode == "plan":
            assert "damaged:" in done.out, "why the step would run"
            assert {p: p.stat().st_ino for p in (tmp_path / "store").rglob("*")} == before
    assert file.read_bytes() == b"2.0"
    assert command(f"recipe={recipe}").err == ""
