"""Hostile songs, read and fitted by dataset `files`; some by whole commands."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from core import Signature, TensorSpec
from tests.hostile import songs
from tests.torture.foreign import read_all
from tests.torture.forks import command, each, left_of, warm
from tests.torture.scene import Scene, digests, leftovers, tracebacks
from tests.torture.tally import Tally

__all__ = ["torture"]

#: The most minutes of a song: a reader must refuse a longer song before it is decoded.
MINUTES = 10
#: The number of songs that whole commands play, and the number of songs in one command.
WHOLE, AT_ONCE = 20, 10
LIMIT_S = 120


def torture(count: int, seed: int) -> Tally:
    """Read `count` songs, and play some of them as a batch."""
    warm("numpy", "soundfile", "scipy.signal", "plugins.dataset.files", "onnxruntime", "torch")
    tally = Tally("songs")
    # For formats that libsndfile does not read, FFmpeg's libraries run in their own process.
    read_all(tally, songs(count, seed), _read, programs=True)
    some = list(islice(songs(count, seed + 1), 0, count, max(1, count // WHOLE)))[:WHOLE]
    batches = [some[start : start + AT_ONCE] for start in range(0, len(some), AT_ONCE)]
    for batch, faults in each(_played, batches, limit_s=LIMIT_S * 2):
        tally.count(**{"by whole commands": len(batch)})
        tally.more(f"a batch of {[name for name, _ in batch]}", faults)
    return tally


def _read(file: Path) -> None:
    """Do everything with a song that a run does before a model plays it."""
    from plugins.dataset.files import Files, FilesOptions

    stereo = TensorSpec("mix", ("channel", "time"), (2, "time"), rates={"time": 44100.0})
    dataset = Files(FilesOptions(str(file), max_minutes=MINUTES))
    dataset.identity("evaluation")
    for item in dataset.items("evaluation", Signature((stereo,), ())):
        assert item.inputs["mix"].shape[0] == 2


def _played(batch: list[tuple[str, bytes]]) -> list[tuple[str, str]]:
    """Play a batch of hostile songs and one valid song by a whole command."""
    with tempfile.TemporaryDirectory(prefix="luthier-torture-") as folder:
        scene = Scene(Path(folder)).prepare()
        songs = scene.folder / "batch"
        songs.mkdir()
        for name, data in batch:
            (songs / name).write_bytes(data)
        _silence(songs / "true.wav")
        return [*_faults(scene, songs)]


def _silence(file: Path) -> None:
    import numpy as np
    import soundfile

    soundfile.write(file, np.zeros((44100, 2), np.float32), 44100)


def _faults(scene: Scene, batch: Path) -> Iterator[tuple[str, str]]:
    arguments = [
        "recipe=cpu_fp32", "dataset=files", f"dataset.path={batch}/*", "scale=here",
        f"dataset.max_minutes={MINUTES / 100}", "batch.retries=0", "store=store", "output=outputs",
    ]  # fmt: skip
    before: dict[str, Any] = {**scene.outside(), **digests(batch)}
    ended = command(arguments, scene.work, scene.environment(), limit_s=LIMIT_S)
    yield from (("tracebacks", seen) for seen in tracebacks(ended.said))
    if ended.code is None:
        yield "hanging", "the command"
    if not [*(scene.work / "outputs").rglob("true*/**/*.wav")]:
        yield "lost", f"the true song among them; ended with {ended.code}: {ended.said[-300:]}"
    yield from (("hanging", f"left running: {name}") for name in left_of(scene.work))
    left = leftovers(scene.work / "store", scene.work / "outputs")
    yield from (("doubled", f"left behind: {path}") for path in left)
    if {**scene.outside(), **digests(batch)} != before:
        yield "outside", "files that are none of its business changed"
