"""Hydra's launchers as Luthier sets them: Ray's, Slurm's, and what is said where one is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from core.config.launchers import EXTRAS, PRESETS
from core.sweep.point_task import Task
from tests import slurm
from tests.conftest import Command

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.mark.parametrize(("launcher", "extra"), EXTRAS.items())
def test_a_launcher_that_is_not_installed_comes_with_the_command(
    command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch, launcher: str, extra: str
) -> None:
    """A missing launcher is reported with its install command, before anything is planned."""
    Plugins.instance()  # finds those that are installed
    launchers = ConfigStore.instance().repo["hydra"]["launcher"]
    monkeypatch.delitem(launchers, f"{launcher}.yaml", raising=False)
    done = command("-m", f"recipe={recipe}", "chunker.length=4,8", f"hydra/launcher={launcher}")
    assert done.code == 2
    assert f"launcher `{launcher}` is not installed" in done.err
    assert f"pip install 'luthier[{extra}]'" in done.err


def test_every_extra_that_is_named_exists() -> None:
    """Every extra that a message names is one that pip knows."""
    text = (ROOT / "pyproject.toml").read_text()
    for extra in EXTRAS.values():
        assert f"\n{extra} = [" in text


@pytest.mark.parametrize("launcher", PRESETS)
def test_a_preset_is_what_hydra_composes(command: Command, recipe: Path, launcher: str) -> None:
    """Hydra composes the launcher's preset, and the command line can still change it."""
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher")
    key, value = next((k, v) for k, v in PRESETS[launcher].items() if isinstance(v, int))
    line = f"{key.rpartition('.')[2]}: "
    job = (f"recipe={recipe}", f"hydra/launcher={launcher}")
    shown = ("--cfg", "hydra", "--package", "hydra.launcher")
    assert f"{line}{str(value).lower()}\n" in command(*job, *shown).out
    assert f"{line}0\n" in command(*job, f"hydra.launcher.{key}=0", *shown).out


def test_without_slurm_the_launcher_says_so(
    command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without Slurm the launcher fails before a folder is made."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    monkeypatch.setenv("PATH", str(tmp_path))
    done = command("-m", f"recipe={recipe}", "chunker.length=4,8", "hydra/launcher=submitit_slurm")
    assert done.code == 2
    assert "`srun` is not found" in done.err
    assert not (tmp_path / "outputs").exists()


def test_points_are_jobs_of_one_array_of_slurm(recipe: Path, toys: Path, tmp_path: Path) -> None:
    """A Slurm array gets the resources of preset and command line; scripts lie with the sweep."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    path = f"{slurm.install(tmp_path / 'slurm')}{os.pathsep}{os.environ['PATH']}"
    command = [
        sys.executable, "-m", "core", "-m", f"recipe={recipe}", "chunker.length=4,8",
        f"store={tmp_path / 'store'}", "hydra/launcher=submitit_slurm",
        "hydra.launcher.partition=cpu", "+hydra.launcher.additional_parameters.exclusive=true",
    ]  # fmt: skip
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{toys}", "PATH": path},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (file,) = tmp_path.glob("outputs/toy/sweep-*/sweep.json")
    assert [point["status"] for point in json.loads(file.read_text())["points"]] == ["done"] * 2
    script, *_ = file.parent.glob("slurm/**/*.sh")
    asked = {line.partition(" --")[2] for line in script.read_text().splitlines()}
    assert {"array=0-1%2", "cpus-per-task=4", "mem=16GB", "time=240"} <= asked
    assert {"partition=cpu", "exclusive", "job-name=luthier"} <= asked


@pytest.mark.long
def test_a_ray_of_this_machine_alone(
    command: Command, recipe: Path, toys: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A local Ray is started without output, used and stopped."""
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    # Its workers take over no path of this process.
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{toys}")
    done = command("-m", f"recipe={recipe}", "chunker.length=4,8", "hydra/launcher=ray")
    assert (done.code, done.err) == (0, "")
    (file,) = tmp_path.glob("outputs/toy/sweep-*/sweep.json")
    assert [point["status"] for point in json.loads(file.read_text())["points"]] == ["done"] * 2
    assert not sys.modules["ray"].is_initialized()


def test_a_ray_that_does_not_answer_is_named(
    command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Ray cluster that does not answer is named with its address."""
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    done = command("-m", f"recipe={recipe}", "chunker.length=4,8", "hydra/launcher=ray")
    assert done.code == 1
    assert "error: Ray cannot be reached\n  at: 127.0.0.1:1\n" in done.err
    assert "Traceback" not in done.err


@pytest.mark.long
def test_a_job_that_is_killed_is_handed_in_again(recipe: Path, toys: Path, tmp_path: Path) -> None:
    """A killed submitit job is resubmitted, without Slurm; its files lie in the sweep's folder."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    command = [
        sys.executable, "-m", "core", "-m", f"recipe={recipe}", "quantizer.loss=0.0,0.1",
        "quantizer.seconds=2", f"store={tmp_path / 'store'}", "hydra/launcher=submitit_local",
    ]  # fmt: skip
    sweep = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{toys}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not list(tmp_path.glob("store/quantizer")) and sweep.poll() is None:
        time.sleep(0.05)
    jobs = [
        process
        for process in psutil.Process(sweep.pid).children(recursive=True)
        if "submitit.core._submit" in " ".join(process.cmdline())
    ]
    assert jobs
    for process in [p for job in jobs for p in (job, *job.children(recursive=True))]:
        process.kill()
    said, _ = sweep.communicate()
    assert sweep.returncode == 0, said
    assert said.count("jobs submitted") == 2
    (file,) = tmp_path.glob("outputs/toy/sweep-*/sweep.json")
    assert [point["status"] for point in json.loads(file.read_text())["points"]] == ["done"] * 2
    assert list(file.parent.glob(".submitit/*"))


def test_a_point_that_ran_elsewhere_is_made_here_from_the_store(
    command: Command, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run folder of a point that ran elsewhere is made from the store; no step runs again."""
    sees = iter([False, False, True, True])
    monkeypatch.setattr(Task, "_is_here", lambda _: next(sees))
    swept = ("-m", f"recipe={recipe}", "quantizer.loss=0.0,0.1")
    done = command(*swept)
    assert (done.code, done.err) == (0, "")
    assert done.out.count("ran on another machine") == 2
    (file,) = tmp_path.glob("outputs/toy/sweep-*/sweep.json")
    points = json.loads(file.read_text())["points"]
    assert all((file.parent / point["folder"] / "report.json").is_file() for point in points)
    assert [point["ran"].count("quantizer") for point in points] == [1, 1]
    again = command(*swept)
    assert (again.code, "..." in again.out) == (0, False)
    assert [p["ran"] for p in json.loads(file.read_text())["points"]] == [p["ran"] for p in points]
