"""The recipes as a person runs them, with real audio, the real model and the S24's compiler."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from plugins.runtime._htp.library import available
from tests.conftest import Command

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.usefixtures("unconnected_processes")
S24 = pytest.mark.skipif(available() is not None, reason=str(available()))
#: Short enough for a test, long enough for several windows.
SHORT = ["dataset.seconds=4", "quantizer.windows=8", "measure.probe_windows=1"]


def newest(output: Path) -> dict[str, Any]:
    (file, *_) = sorted(output.rglob("report.json"), reverse=True)
    report: dict[str, Any] = json.loads(file.read_text())
    return report


def stage(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(s for s in report["stages"] if s["name"] == name)


def core(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "core", *arguments], capture_output=True, text=True, cwd=ROOT,
        check=False, timeout=280,
    )  # fmt: skip


@pytest.mark.long
@S24
def test_s24_int8_separates_a_song_with_the_model_that_the_phone_will_run(
    store: Path, tmp_path: Path
) -> None:
    """`s24_int8` compiles to one NPU partition, agrees with its emulator and gives good stems."""
    arguments = ["recipe=s24_int8", f"store={store}", f"output={tmp_path}", *SHORT]
    done = core(*arguments)
    assert done.returncode == 0, done.stderr
    assert "took no part in this run" in done.stdout
    report = newest(tmp_path)
    facts = stage(report, "runtime")["artifact"]["facts"]
    assert (facts["partitions"], facts["nodes_on_cpu"]) == (1, 0)
    assert facts["nodes_on_npu"] == facts["nodes_total"] > 100
    budget = {line["stage"]: line for line in report["budget"]}
    assert budget["probe"]["step_db"] >= 30
    assert "emulator" in budget["probe"]["device"]
    assert report["target_took_part"] is False
    sdr = [m for m in report["metrics"] if m["name"] == "sdr"]
    assert next(m["value"] for m in sdr if m["statistic"] == "mean") >= 6
    (folder,) = tmp_path.glob("s24_int8/*")
    stems = {p.stem for p in folder.glob("stems/*.wav")}
    assert {"drums", "bass", "other", "vocals"} <= stems
    assert (folder / "bundle" / "model.onnx").is_file()
    assert (folder / "report.html").stat().st_size > 100_000

    again = core(*arguments)
    assert again.returncode == 0
    assert {s["status"] for s in newest(tmp_path)["stages"]} == {"cached"}

    other = core(*arguments, "chunker.overlap=0.5")
    assert other.returncode == 0
    ran = {s["name"] for s in newest(tmp_path)["stages"] if s["status"] == "ran"}
    assert ran <= {"reference", "ideal", "play", "budget", "evaluate", "save"}
    assert "play" in ran


@S24
@pytest.mark.long
def test_a_chunk_that_the_compiler_may_not_have_memory_for_says_so(
    store: Path, tmp_path: Path
) -> None:
    """The compiler is stopped at its memory limit, and one message names the limit and a remedy."""
    done = core(
        "recipe=s24_int8", f"store={store}", f"output={tmp_path}", *SHORT,
        "runtime.memory_limit_mb=50",
    )  # fmt: skip
    assert done.returncode == 1
    assert "raise the memory limit" in done.stderr
    assert "find the longest that fits: python -m core recipe=s24_int8" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.rglob("report.json")) == []


def test_ctrl_c_in_the_middle_leaves_nothing_half_written(tmp_path: Path) -> None:
    """Ctrl-C ends a run with code 130 and no half-written file; finished steps stay usable."""
    arguments = ["recipe=cpu_fp32", f"store={tmp_path / 's'}", f"output={tmp_path / 'o'}"]
    with subprocess.Popen(
        [sys.executable, "-m", "core", *arguments], cwd=ROOT, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 120
        while not list((tmp_path / "s").glob("exporter/*/artifact.json")):
            assert time.monotonic() < deadline, "the exporter never finished"
            assert process.poll() is None, process.stderr.read()  # type: ignore[union-attr]  # a pipe
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert list((tmp_path / "s" / "staging").iterdir()) == []
    assert list(tmp_path.glob("o/*/*")) == []
    plan = core(*arguments, "mode=plan").stdout
    assert "cached" in plan


def tone(seconds: float, rate: int, channels: int = 2) -> np.ndarray[Any, np.dtype[np.float32]]:
    time_s = np.arange(max(1, int(seconds * rate))) / rate
    wave = 0.3 * np.sin(2 * np.pi * 220 * time_s) + 0.1 * np.sin(2 * np.pi * 1760 * time_s)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


@pytest.fixture
def separate(command: Command, store: Path, tmp_path: Path) -> Any:
    """Return a function that runs `cpu_fp32` on one file, with the shared store."""

    def run(file: Path) -> Any:
        output = tmp_path / "out"
        quick = ["measure.budget_windows=1", "reporter=[json]"]
        return command(
            "recipe=cpu_fp32", f"input={file}", f"store={store}", f"output={output}", *quick
        ), output

    return run


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
def test_songs_in_every_common_format_are_separated(
    separate: Any, tmp_path: Path, ending: str
) -> None:
    """Songs as WAV, FLAC, Ogg and MP3 give stems of the same length as the song."""
    file = tmp_path / f"a song (live) = 1.{ending}"
    soundfile.write(file, tone(1.7, 44100), 44100)
    done, output = separate(file)
    assert (done.code, done.err) == (0, "")
    (stem,) = output.rglob("stems/vocals.wav")
    frames = soundfile.info(stem).frames
    assert abs(frames - soundfile.info(file).frames) == 0


@pytest.mark.parametrize(
    ("name", "audio", "rate"),
    [
        ("mono.wav", tone(1.2, 44100, 1), 44100),
        ("slow.wav", tone(1.2, 8000), 8000),
        ("fast.wav", tone(0.6, 192000), 192000),
        ("one-sample.wav", tone(0, 44100), 44100),
        ("silent.wav", np.zeros((60000, 2), np.float32), 44100),
    ],
)
def test_unusual_songs_simply_work(
    separate: Any, tmp_path: Path, name: str, audio: Any, rate: int
) -> None:
    """Mono, other sample rates, one sample and silence give finite stems without a message."""
    file = tmp_path / name
    soundfile.write(file, audio, rate, subtype="FLOAT")
    done, output = separate(file)
    assert (done.code, done.err) == (0, "")
    (stem,) = output.rglob("stems/drums.wav")
    assert np.isfinite(soundfile.read(stem)[0]).all()


def test_what_is_there_of_a_cut_song_is_separated_and_told(separate: Any, tmp_path: Path) -> None:
    """A truncated song gives stems of its readable part, and a notice states the missing part."""
    file = tmp_path / "song.wav"
    soundfile.write(file, tone(2, 44100), 44100)
    file.write_bytes(file.read_bytes()[: 44 + 44100 * 4])
    done, output = separate(file)
    assert done.code == 0
    told = "is cut short or damaged: 1.0 s of 2.0 s can be decoded and are played"
    assert any(told in notice["text"] for notice in newest(output)["notices"])
    (stem,) = output.rglob("stems/vocals.wav")
    assert soundfile.info(stem).frames == 44100


def test_one_bad_file_of_a_folder_costs_no_other(separate: Any, tmp_path: Path) -> None:
    """A bad file in a folder is reported by each run until it is removed; all songs are played."""
    songs = tmp_path / "songs"
    songs.mkdir()
    soundfile.write(songs / "song.wav", tone(1, 44100), 44100)
    bad = songs / "letter.wav"
    no_audio(bad)
    told = "left out: `letter.wav` cannot be read as audio: it is text"
    for _ in range(2):
        done, output = separate(songs)
        assert done.code == 0
        assert told in [notice["text"] for notice in newest(output)["notices"]]
        assert list(output.rglob("stems/vocals.wav"))
    bad.unlink()
    done, output = separate(songs)
    assert done.code == 0
    assert told not in [notice["text"] for notice in newest(output)["notices"]]


def empty(path: Path) -> None:
    path.touch()


def no_audio(path: Path) -> None:
    path.write_text("a letter, not a song\n" * 50)


def six_channels(path: Path) -> None:
    soundfile.write(path, tone(0.5, 44100, 6), 44100)


def not_numbers(path: Path) -> None:
    audio = tone(0.5, 44100)
    audio[100:110] = np.nan
    soundfile.write(path, audio, 44100, subtype="FLOAT")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (empty, "empty"),
        (no_audio, "audio"),
        (six_channels, "6 channels"),
        (not_numbers, "values that are not samples"),
    ],
)
def test_a_file_that_is_no_song_ends_in_one_message(
    separate: Any, tmp_path: Path, make: Any, said: str
) -> None:
    """A file that is no song gives one message with the file and its fault, and no stem."""
    file = tmp_path / "song.wav"
    make(file)
    done, output = separate(file)
    assert done.code == 1
    assert said in done.err
    assert "song.wav" in done.err
    assert "Traceback" not in done.err
    assert list(output.rglob("*.wav")) == []
