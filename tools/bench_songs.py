"""Plays 200 short songs in one process and on Ray, kills processes, and compares every file.

python -m tools.bench_songs              everything (make bench-songs)
python -m tools.bench_songs ray          only these parts; other parts stay unchanged

Each part plays the same songs into its own folder: `here` in one process, `here_killed` with that
process killed in the middle and started again, `ray` on one worker per core, `ray_killed` with one
worker killed in the middle. Writes `docs/results/songs.json`. The model is made and stored before,
so that only playing is timed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import soundfile

from core.store.hashing import file_digest
from plugins.dataset._generator import make_song
from tools.results import measure

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "songs.json"
COMMAND = "make bench-songs"
SONGS, SECONDS = 200, (1.0, 2.0)


def write(folder: Path) -> None:
    """Write songs of one to two seconds, in ten folders, half of them FLAC and half of them WAV."""
    for number in range(SONGS):
        seconds = float(np.random.default_rng(number).uniform(*SECONDS))
        song = make_song(number, seconds)
        name = f"song {number:03}.{('flac', 'wav')[number % 2]}"
        file = folder / f"album {number % 10}" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, song.mixture.T, song.samplerate)


def start(songs: Path, output: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start playing a song, or the songs of a folder, into `output`."""
    command = [
        sys.executable, "-m", "core", "recipe=cpu_fp32", "reporter=[]", f"output={output}",
        f"store={output.parent / 'store'}", f"input={songs}", *more,
    ]  # fmt: skip
    return subprocess.Popen(command)  # noqa: S603  # our own


def finished(output: Path) -> int:
    """Return the number of songs with a line in the manifest."""
    return sum(file.read_bytes().count(b"\n") for file in output.rglob("manifest.jsonl"))


def wait(process: subprocess.Popen[bytes], output: Path, count: int) -> float:
    """Wait until `count` songs are finished or the process has ended; returns the time."""
    while process.poll() is None and finished(output) < count:
        time.sleep(0.05)
    return time.perf_counter()


def workers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return the processes of Ray that play songs."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "_Seat" in " ".join(child.cmdline())]


def kill_worker(process: subprocess.Popen[bytes]) -> int:
    """Kill one worker of Ray; returns the number of killed processes."""
    found = workers(process)[:1]
    for one in found:
        one.kill()
    return len(found)


def kill_all(process: subprocess.Popen[bytes]) -> int:
    """Kill the process that plays; returns the number of killed processes."""
    process.kill()
    process.wait()
    return 1


def play(
    folder: Path,
    how: str,
    more: tuple[str, ...] = (),
    kill: Callable[[subprocess.Popen[bytes]], int] | None = None,
) -> Iterator[dict[str, Any]]:
    """Play all songs, kill a process in the middle if `kill` is given, and yield the outcome."""
    output = folder.parent / how
    started, killed = time.perf_counter(), 0
    process = start(folder / "**" / "*", output, *more)
    first = wait(process, output, 1)
    if kill is not None:
        wait(process, output, SONGS // 2)
        killed = kill(process)
        if process.poll() is not None:
            process = start(folder / "**" / "*", output, *more)
    code = process.wait()
    ended = time.perf_counter()
    (manifest,) = output.rglob("manifest.jsonl")
    text = manifest.read_text().splitlines()
    lines = {line["source"]: line for line in (json.loads(one)["content"] for one in text)}
    yield {
        "how": how,
        "songs": SONGS,
        "exit_code": code,
        "done": sum(line["status"] == "done" for line in lines.values()),
        "failed": sum(line["status"] == "failed" for line in lines.values()),
        "lines": len(text),
        "killed": killed,
        "played_again": sum(line["retries"] > 0 for line in lines.values()),
        "processes": len({line["worker"] for line in lines.values()}),
        **compared(digests(folder.parent / "here"), digests(output)),
        "audio_s": sum(line["seconds"] for line in lines.values()),
        "seconds": ended - started,
        "first_song_s": first - started,
        "songs_per_s": (SONGS - 1) / (ended - first),
        "load_average": os.getloadavg()[0],
    }


def digests(output: Path) -> dict[str, str]:
    """Return the hash of every file below the batch's folder `items`."""
    (songs,) = output.glob("*/batch-*/items")
    files = [file for file in songs.rglob("*") if file.is_file()]
    return {file.relative_to(songs).as_posix(): file_digest(file) for file in files}


def compared(expected: Mapping[str, str], found: Mapping[str, str]) -> dict[str, int]:
    """Return the number of files, and how many of them equal those of one undisturbed process."""
    same = sum(found.get(name) == digest for name, digest in expected.items())
    return {"files": len(found), "files_expected": len(expected), "files_identical": same}


def main(wanted: list[str]) -> None:
    """Make the model and the songs, then play the songs in every wanted way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "songs"
        write(folder)
        first = next(iter(sorted(folder.rglob("*.flac"))))
        start(first, Path(name) / "warm", "scale=here").wait()
        ray = ("scale=ray", f"batch.workers={os.cpu_count()}")
        parts = {
            "here": partial(play, folder, "here"),
            "here_killed": partial(play, folder, "here_killed", kill=kill_all),
            "ray": partial(play, folder, "ray", ray),
            "ray_killed": partial(play, folder, "ray_killed", ray, kill_worker),
        }
        # All parts are compared with the files of one process.
        chosen = ["here", *(part for part in wanted or parts if part != "here")]
        measure(RESULTS, COMMAND, parts, chosen)


if __name__ == "__main__":
    main(sys.argv[1:])
