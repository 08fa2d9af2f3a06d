"""Times `luthier separate` of a song of three minutes against playing it alone, in turn.

python -m tools.bench_separate                  a generated song (make bench-separate)
python -m tools.bench_separate song.flac        your own, of any length

The model is made and stored before. Each round starts the whole command in a process of its own
(reading, playing, loudness, four files, the end of the process), and then another process that only
plays: the session is open and the song in memory before its clock starts. Writes
`docs/results/separate.json`: medians, and whether the command keeps to `BOUND` times playing alone
and `REST_S` seconds.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import soundfile

from core.machine.machine_load import Watch, facts_of
from plugins.dataset._generator import make_song
from tools.bench_engines import processor
from tools.results import about

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "separate.json"
COMMAND = "make bench-separate"
SECONDS, ROUNDS = 180.0, 5
#: What separating may take: `BOUND` times the play step, and `REST_S` for everything around it.
BOUND, REST_S = 1.15, 3.0


def words(store: Path) -> list[str]:
    """Return the words that both sides have: the bundled model on the CPU."""
    return ["model=htdemucs_small", f"store={store}"]


def command(song: Path, store: Path, out: Path) -> list[str]:
    """Return the command that a person would type."""
    return [
        sys.executable,
        "-m",
        "luthier",
        "separate",
        str(song),
        *words(store),
        "--out",
        str(out),
    ]


def play_alone(song: str, store: str) -> None:
    """Print the seconds that playing takes: wall time and processor time."""
    from core.inference.items import checked_items
    from core.plugin.progress import silent
    from luthier import players
    from plugins.dataset.files import Files, FilesOptions

    given = ["recipe=auto", "auto=false", "target=cpu", "precision=fp32", f"input={song}"]
    with players.playing([*given, *words(Path(store))], None, silent(), show=False) as (_, player):
        (item,) = checked_items(Files(FilesOptions(song)), "evaluation", player.signature)
        wall, cpu = time.perf_counter(), time.process_time()
        player.play(item, silent())
        print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]))


def timed(arguments: list[str]) -> tuple[float, float]:
    """Run a command; returns its wall time and its processor time in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(arguments, check=True, capture_output=True)  # noqa: S603  # our own
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    return wall, cpu


def main() -> None:
    """Measure both sides, and write the results."""
    if sys.argv[1:2] == ["--play"]:
        play_alone(*sys.argv[2:4])
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        song = Path(sys.argv[1]) if len(sys.argv) > 1 else folder / "song.flac"
        if len(sys.argv) == 1:
            made = make_song(0, SECONDS)
            soundfile.write(song, made.mixture.T, made.samplerate)
        seconds = soundfile.info(song).duration
        store, out = folder / "store", folder / "out"
        subprocess.run(command(song, store, out), check=True, capture_output=True)  # noqa: S603  # converts
        alone = [sys.executable, "-m", "tools.bench_separate", "--play", str(song), str(store)]
        watch, load = Watch(), os.getloadavg()[0]
        rows: list[dict[str, Any]] = []
        for _ in range(ROUNDS):
            wall, cpu = timed(command(song, store, out))
            done = subprocess.run(alone, check=True, capture_output=True, text=True)  # noqa: S603  # our own
            play, play_cpu = json.loads(done.stdout.splitlines()[-1])
            rows.append({"wall_s": wall, "cpu_s": cpu, "play_s": play, "play_cpu_s": play_cpu})
            print(rows[-1], flush=True)
        others = facts_of(watch.load())
    middle = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    results = {
        **about(COMMAND),
        "processor": processor(),
        **others,
        "load_average": round(load, 2),
        "song_s": seconds,
        "median": middle,
        "bound_s": BOUND * middle["play_s"] + REST_S,
        "is_within": middle["wall_s"] <= BOUND * middle["play_s"] + REST_S,
        "rows": rows,
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print({key: results[key] for key in ("median", "bound_s", "is_within")})


if __name__ == "__main__":
    main()
