"""A batch of songs with the real model: the same files in one process, on Ray and after kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from core.store.hashing import file_digest

ROOT = Path(__file__).parent.parent
COUNT = 10


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of short songs, in two folders and two formats, and one bad file."""
    folder = tmp_path_factory.mktemp("songs")
    for number in range(COUNT):
        file = folder / "ab"[number % 2] / f"song {number // 2}.{('wav', 'flac')[number % 2]}"
        file.parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(number).normal(0, 0.1, (44100 + 4410 * number, 2))
        soundfile.write(file, noise, 44100)
    (folder / "a" / "damaged.mp3").write_bytes(b"no song at all")
    return folder


@pytest.fixture(scope="module")
def run(store: Path, songs: Path) -> Callable[..., subprocess.Popen[str]]:
    """Return a function that starts a process to play the songs."""

    def start(*more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "core", "recipe=cpu_fp32", f"store={store}"]
        return subprocess.Popen(
            [*command, f"input={songs}/**/*", *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    return start


@pytest.fixture(scope="module")
def here(run: Callable[..., subprocess.Popen[str]], tmp_path_factory: Any) -> Path:
    """Return the folder of a batch that one undisturbed process played."""
    output: Path = tmp_path_factory.mktemp("here")
    process = run(f"output={output}")
    _, said = process.communicate(timeout=250)
    assert process.returncode == 1, said
    assert "1 of 11 items failed" in said
    return batch_folder(output)


def batch_folder(output: Path) -> Path:
    (folder,) = output.glob("*/batch-*")
    return folder


def lines(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the last manifest line of every song."""
    text = (folder / "manifest.jsonl").read_text()
    found = (json.loads(line)["content"] for line in text.splitlines())
    return {line["source"]: line for line in found}


def digests(folder: Path) -> dict[str, str]:
    """Return the hash of every file that belongs to a song's result."""
    files = [file for file in (folder / "items").rglob("*") if file.is_file()]
    return {file.relative_to(folder).as_posix(): file_digest(file) for file in files}


def after(process: subprocess.Popen[str], output: Path, count: int) -> None:
    """Wait until the manifest has `count` lines, or the process has ended."""
    while process.poll() is None:
        if any(m.read_bytes().count(b"\n") >= count for m in output.rglob("manifest.jsonl")):
            return
        time.sleep(0.02)


def test_the_manifest_names_every_file(here: Path) -> None:
    """The manifest has the hash of every file, five files per song, and a reason for a bad song."""
    found = lines(here)
    assert len(found) == COUNT + 1
    named = {path: digest for line in found.values() for path, digest in line["outputs"].items()}
    assert named == digests(here)
    assert len(named) == 5 * COUNT
    assert "items/b/song 0/vocals.wav" in named
    assert "cannot be read as audio" in found["a/damaged.mp3"]["reason"]
    assert found["a/song 0.wav"]["seconds"] == 1.0


def test_the_stems_are_those_of_a_measured_run(
    here: Path, songs: Path, store: Path, tmp_path: Path
) -> None:
    """A batch gives the same stems of a song as a measured run of this song, bit for bit."""
    command = ["recipe=cpu_fp32", f"store={store}", f"input={songs / 'b' / 'song 1.flac'}"]
    subprocess.run(
        [sys.executable, "-m", "core", *command, f"output={tmp_path}"],
        check=True,
        capture_output=True,
        cwd=ROOT,
    )
    (stems,) = tmp_path.glob("*/*/stems")
    measured = {file.name: file_digest(file) for file in stems.iterdir()}
    played = {file.name: file_digest(file) for file in (here / "items/b/song 1").iterdir()}
    assert played == measured


def test_a_run_that_is_killed_loses_at_most_the_song_in_flight(
    run: Callable[..., subprocess.Popen[str]], here: Path, tmp_path: Path
) -> None:
    """After a kill, the same command keeps the finished songs and gives the same files."""
    process = run(f"output={tmp_path}")
    after(process, tmp_path, 3)
    process.kill()
    process.communicate()
    kept = lines(batch_folder(tmp_path))
    assert 3 <= len(kept) < COUNT
    again = run(f"output={tmp_path}")
    out, _ = again.communicate(timeout=250)
    done = sum(line["status"] == "done" for line in kept.values())
    assert f"{COUNT - done} played, {done} done before, 1 failed" in out
    assert digests(batch_folder(tmp_path)) == digests(here)
    assert [p.name for p in batch_folder(tmp_path).glob(".staging")] == []


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="Ray's workers are named by their command line")
def test_ray_gives_the_same_files_though_a_worker_is_killed(
    run: Callable[..., subprocess.Popen[str]], here: Path, tmp_path: Path
) -> None:
    """After the kill of a Ray worker, every song has its files and exactly one manifest line."""
    pytest.importorskip("ray.data", reason="pip install 'luthier[ray]'")
    process = run(f"output={tmp_path}", "scale=ray", "batch.workers=2")
    after(process, tmp_path, 2)
    killed = kill_a_worker(process.pid)
    out, said = process.communicate(timeout=250)
    assert process.returncode == 1, said
    assert "1 of 11 items failed" in said
    assert f"{COUNT} played, 0 done before, 1 failed" in out
    text = (batch_folder(tmp_path) / "manifest.jsonl").read_text()
    assert len(text.splitlines()) == COUNT + 1
    assert killed
    assert digests(batch_folder(tmp_path)) == digests(here)
    found = lines(batch_folder(tmp_path))
    assert len({line["worker"] for line in found.values() if line["worker"]}) > 1


def kill_a_worker(pid: int) -> bool:
    """Kill a process that Ray started for songs; returns False if there is none."""
    for child in psutil.Process(pid).children(recursive=True):
        if "_Seat" in " ".join(child.cmdline()):
            child.send_signal(signal.SIGKILL)
            return True
    return False
