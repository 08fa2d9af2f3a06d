"""`runtime=qai_hub` as a person runs it: whole songs in few jobs, and kills at every point.

The runs are processes of their own with the unmodified client; the service is the stand-in.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file

from core.cli import main
from core.config import discovery
from tests.hub import song_model
from tests.hub.account import account
from tests.hub.cloud import TOKEN

ROOT = Path(__file__).parent.parent
#: A short song in two windows, so that a run takes seconds.
SHORT = ["dataset.seconds=2", "measure.budget_windows=1", "evaluator=[]", "runtime.poll_s=0.05"]
#: The steps that depend on the service; the test keeps all other steps of its first run.
CLOUDY = ("runtime", "budget.runtime", "play", "evaluate", "save", "state")


def start(store: Path, output: Path, *more: str) -> subprocess.Popen[str]:
    arguments = ["recipe=s24_hub", f"store={store}", f"output={output}", *SHORT, *more]
    return subprocess.Popen(
        [sys.executable, "-m", "core", *arguments], cwd=ROOT, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert TOKEN not in out + err
    return out, err


def kill_when(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    """Kill a run and its children, with no chance to clean up, as soon as `happened` is true."""
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        if process.poll() is not None:
            pytest.fail(f"the run ended before: {process.communicate()}")
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def outputs(store: Path) -> dict[str, Any]:
    (file,) = store.glob("play/*/files/outputs.safetensors")
    arrays: dict[str, Any] = load_file(file)
    return arrays


@pytest.mark.long
def test_a_run_killed_at_any_point_pays_once_and_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed at upload, submission, polling and download pays each job only once."""
    whole = tmp_path / "whole"
    with account(tmp_path / "first cloud", monkeypatch) as cloud:
        out, _ = finish(start(whole, tmp_path / "out"))
        assert len(cloud.jobs) == 3
        assert "took no part in this run" in out, "a stand-in is no phone"
        expected = outputs(whole)
    store = tmp_path / "killed"
    shutil.copytree(whole, store)
    for step in CLOUDY:
        shutil.rmtree(store / step, ignore_errors=True)

    with account(tmp_path / "second cloud", monkeypatch) as cloud:
        run = lambda: start(store, tmp_path / "out")  # noqa: E731  # five times the same
        faults = cloud.faults
        kill_when(run(), lambda: any("multipart_upload" in line for line in cloud.log))

        faults.held_submits = 1
        kill_when(run(), lambda: "a job without an answer" in cloud.log)
        assert cloud.names("compile") == cloud.names()

        faults.held_downloads = 1
        kill_when(run(), lambda: "half a download" in cloud.log)

        faults.resume.set()
        faults.resume.clear()
        faults.held_state = 80
        kill_when(run(), lambda: sum("GET jobs/" in line for line in cloud.log[-9:]) > 3)
        faults.held_state = None
        faults.resume.set()

        finish(run())
        assert len(cloud.names()) == len(set(cloud.names())) == 3, cloud.names()
        assert len(cloud.uploads("models")) == 1
        assert sorted(cloud.uploads("datasets")) == sorted(set(cloud.uploads("datasets")))
    again = outputs(store)
    assert again.keys() == expected.keys()
    assert all(np.array_equal(again[name], expected[name]) for name in expected)
    assert list((store / "staging").iterdir()) == [], "the next run swept up"
    for folder in (store, whole, tmp_path / "out"):
        files = [file for file in folder.rglob("*") if file.is_file()]
        assert not [file for file in files if TOKEN.encode() in file.read_bytes()]
    (report, *_) = (tmp_path / "out").rglob("report.json")
    stages = {s["name"]: s["artifact"] for s in json.loads(report.read_text())["stages"]}
    assert stages["play"]["facts"]["profile_units"][0]["unit"] == "CPU"
    assert "Layer by layer" in report.with_name("report.html").read_text()


@pytest.mark.long
def test_a_song_of_three_minutes_takes_three_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A song of 240 windows takes three jobs: one to compile, one to compare and one to play."""
    monkeypatch.setattr(main, "discover", lambda: discovery.discover({"song": song_model}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    song = np.random.default_rng(0).standard_normal((180 * 44100, 2)).astype(np.float32) * 0.1
    soundfile.write("song.wav", song, 44100, subtype="FLOAT")
    Path("song.yaml").write_text(
        "target: s24\nprecision: fp16\nmodel: swapped\ndataset: files\nexporter: onnx\n"
        "quantizer: none\ndsp: none\n"
        "chunker: {plugin: overlap_add, length: 44100, overlap: 0.25}\n"
        "runtime: {plugin: qai_hub, poll_s: 0.05}\nreporter: [json]\n"
    )
    with account(tmp_path / "cloud", monkeypatch) as cloud:
        main.main(["recipe=song.yaml", "input=song.wav", "store=store"])
        kinds = [name.split("-")[1] for name in cloud.names()]
    assert kinds == ["compile", "inference", "inference"], capsys.readouterr().err
    (report,) = Path("outputs").rglob("report.json")
    facts = {s["name"]: s["artifact"]["facts"] for s in json.loads(report.read_text())["stages"]}
    assert len(facts["play"]["seconds"]) == 240
    stem, rate = soundfile.read(next(Path("outputs").rglob("*swapped*.wav")), dtype="float32")
    assert rate == 44100
    assert np.abs(stem[:, ::-1] - song).max() < 1e-4
