"""`mode=diff` says what differs between two runs, and refuses what is no run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.run.comparison import LARGEST
from tests.conftest import Command, Done

#: What differs between the two runs: the gain is the model's only weight.
CHANGED = ["model.gain", "weights sha256"]


@pytest.fixture
def runs(command: Command, recipe: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Return the run folders of two runs: the second multiplies by another gain."""
    for name, gain in (("first", 2.0), ("second", 3.0)):
        done = command(f"recipe={recipe}", f"output={tmp_path / name}", f"model.gain={gain}")
        assert done.code == 0
    first, second = (next((tmp_path / name / "toy").glob("*")) for name in ("first", "second"))
    return first, second


def compared(command: Command, old: Path, new: Path, *words: str) -> Done:
    """Return the output of a comparison."""
    return command("mode=diff", f"diff.old={old}", f"diff.new={new}", *words)


def as_json(command: Command, old: Path, new: Path) -> Any:
    """Return a comparison as plain data."""
    done = compared(command, old, new, "diff.form=json")
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)


def test_two_runs_differ_in_an_option_and_its_figures(
    command: Command, runs: tuple[Path, Path]
) -> None:
    """The key of the recipe that differs is named with both values, and so is every figure."""
    done = compared(command, *runs)
    assert (done.code, done.err) == (0, "")
    (changed,) = [line for line in done.out.splitlines() if "model.gain" in line]
    assert changed.split() == ["model.gain", "2.0", "→", "3.0"]
    assert "Versions: the same" in done.out
    assert "Machine: the same" in done.out
    (line,) = [line for line in done.out.splitlines() if line.strip().startswith("largest")]
    assert "+50.0 %" in line


def test_the_comparison_as_json_has_every_figure(command: Command, runs: tuple[Path, Path]) -> None:
    """As JSON it has the changes, and all figures with both values, those that are the same too."""
    found = as_json(command, *runs)
    assert found["schema"] == "luthier.diff/1"
    assert found["old"]["place"] == str(runs[0])
    assert found["recipe"][0] == {"name": "model.gain", "old": "2.0", "new": "3.0"}
    assert [one["name"] for one in found["recipe"]] == CHANGED
    assert found["versions"] == found["machine"] == found["contract"] == []
    figures = {(figure["name"], figure["of"]): figure for figure in found["figures"]}
    largest = figures["largest", ""]
    assert largest["new"] == pytest.approx(1.5 * largest["old"])
    report = json.loads((runs[0] / "report.json").read_text())
    assert {metric["name"] for metric in report["metrics"]} <= {name for name, _ in figures}
    budget = {line["stage"] for line in report["budget"] if line["step_db"] is not None}
    assert {("budget", f"{stage}, by itself") for stage in budget} <= {*figures}


def test_a_report_and_a_lock_file_name_the_same_run(
    command: Command, runs: tuple[Path, Path]
) -> None:
    """The report, the lock file and the folder of a run have the same recipe and versions."""
    files = (runs[0], runs[0] / "report.json", runs[0] / "recipe.lock.yaml")
    for old in files:
        found = as_json(command, old, runs[0])
        assert (found["recipe"], found["versions"]) == ([], [])
    assert "a lock file has none" in compared(command, files[2], runs[0]).out
    (runs[1] / "report.json").unlink()
    found = as_json(command, *runs)
    assert found["recipe"][0] == {"name": "model.gain", "old": "2.0", "new": "3.0"}
    assert [one["name"] for one in found["recipe"]] == CHANGED
    assert {figure["verdict"] for figure in found["figures"]} == {"only old"}


def test_versions_and_verdicts_that_differ_are_named(
    command: Command, runs: tuple[Path, Path]
) -> None:
    """A library of another version, another machine, and a figure that got worse are named."""
    file = runs[1] / "report.json"
    report = json.loads(file.read_text())
    report["versions"]["numpy"] = "1.0"
    report["machine"] = "an abacus"
    snr = next(metric for metric in report["metrics"] if metric["name"] == "parity_snr")
    snr["value"] = 20.0
    file.write_text(json.dumps(report))
    found = as_json(command, *runs)
    assert [(one["name"], one["new"]) for one in found["versions"]] == [("numpy", "1.0")]
    assert [one["new"] for one in found["machine"]] == ["an abacus"]
    figures = {(figure["name"], figure["of"]): figure for figure in found["figures"]}
    assert figures["parity_snr", snr["label"]]["verdict"] == "worse"
    assert "worse" in compared(command, *runs).out


def test_times_within_the_spread_of_each_other_are_no_change(
    command: Command, runs: tuple[Path, Path]
) -> None:
    """A time that lies in the other run's spread, both ways, is neither better nor worse."""
    reports = [json.loads((run / "report.json").read_text()) for run in runs]
    verdicts = {}
    for median in (11.0, 13.5):
        for report, (low, middle, high) in zip(
            reports, ((9.0, 10.0, 13.0), (9.5, median, 14.0)), strict=True
        ):
            for metric in report["metrics"]:
                if metric["name"] == "latency":
                    given = {"p5": low, "median": middle, "p95": high}
                    metric["value"] = given[metric["statistic"]]
        for run, report in zip(runs, reports, strict=True):
            (run / "report.json").write_text(json.dumps(report))
        figures = as_json(command, *runs)["figures"]
        verdicts[median] = {f["of"]: f["verdict"] for f in figures if f["name"] == "latency"}
    ends = {"p5": "changed", "p95": "changed"}
    assert verdicts[11.0] == {"median": "within spread", **ends}
    assert verdicts[13.5] == {"median": "worse", **ends}


def test_secrets_and_folders_are_not_compared(command: Command, runs: tuple[Path, Path]) -> None:
    """A secret of a lock file is not shown, and a path counts by its name."""
    for run, place, token in zip(runs, ("/a/song", "/b/song"), ("abc", "xyz"), strict=True):
        lock = run / "recipe.lock.yaml"
        text = lock.read_text().replace(
            "dataset:", f"dataset:\n  path: {place}\n  api_token: {token}"
        )
        lock.write_text(text)
    locks = [run / "recipe.lock.yaml" for run in runs]
    assert [one["name"] for one in as_json(command, *locks)["recipe"]] == CHANGED


def test_one_run_is_not_enough(command: Command, tmp_path: Path) -> None:
    """Without both runs, the message says how to name them."""
    done = command("mode=diff", f"diff.old={tmp_path}")
    assert done.code == 2
    assert "diff.old=FOLDER diff.new=FOLDER" in done.err


BAD = {
    "absent": ("", "does not exist"),
    "empty/": ("", "is no run folder"),
    "notes.txt": ("hello", "is no run"),
    "other.json": ('{"a": 1}', "is no report of a run"),
    "sweep.json": ('{"schema": "luthier.sweep/2"}', "schema: luthier.sweep/2"),
    "broken.json": ('{"schema": "luthier.report/2", "recipe": 3}', "or damaged"),
    "cut.json": ('{"schema": "luthier.rep', "or damaged"),
    "recipe.yaml": ("model: gain\n", "is no lock file"),
    "broken.yaml": ("model: [", "cannot be read"),
    "bytes.yaml": ("\udcff", "cannot be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_run_is_refused(command: Command, tmp_path: Path, name: str) -> None:
    """What is no run is refused with its name and what can be given, and without a traceback."""
    text, said = BAD[name]
    file = tmp_path / name
    if name.endswith("/"):
        file.mkdir()
    elif text:
        file.write_text(text, encoding="utf-8", errors="surrogateescape")
    done = compared(command, file, file)
    assert done.code == 1
    assert said in done.err
    assert "Traceback" not in done.err
    assert file.name in done.err


def test_a_folder_of_runs_names_those_in_it(command: Command, tmp_path: Path) -> None:
    """For the folder above runs, the message lists the run folders in it, the newest first."""
    for name in ("2026-01-01", "2026-01-02"):
        (tmp_path / "toy" / name).mkdir(parents=True)
        (tmp_path / "toy" / name / "recipe.lock.yaml").write_text("")
    done = compared(command, tmp_path / "toy", tmp_path)
    assert done.code == 1
    assert "run folders in it: 2026-01-02, 2026-01-01" in done.err


def test_a_report_of_any_size_is_not_read(command: Command, tmp_path: Path) -> None:
    """A report above the limit is refused before it is read."""
    file = tmp_path / "large.json"
    with file.open("wb") as opened:
        opened.truncate(LARGEST + 1)
    assert "too large" in compared(command, file, file).err


def test_a_recipe_names_no_run_to_read(command: Command, tmp_path: Path) -> None:
    """Which files are compared is set on the command line alone."""
    file = tmp_path / "mine.yaml"
    file.write_text("mode: diff\ndiff: {old: /etc, new: /etc}\n")
    done = command(f"recipe={file}")
    assert done.code == 2
    assert "sets `diff`, which only the command line may set" in done.err
