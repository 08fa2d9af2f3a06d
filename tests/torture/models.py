"""Hostile checkpoints, opened by model `htdemucs` as a person's file; some by commands."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from core import StageContext
from core.plugin.progress import silent
from tests.hostile import TRACE, checkpoints
from tests.torture.foreign import read_all
from tests.torture.forks import command, each, left_of, warm
from tests.torture.scene import Scene, leftovers, tracebacks
from tests.torture.tally import Tally

__all__ = ["torture"]

#: The number of checkpoints that whole commands open.
WHOLE = 10
#: Seconds for a checkpoint: a stranger's file is opened in a new Python, which loads torch.
LIMIT_S = 60


def torture(count: int, seed: int) -> Tally:
    """Open `count` checkpoints, and name some of them on the command line."""
    warm("torch", "demucs.htdemucs", "plugins.model.htdemucs", "safetensors.torch")
    tally = Tally("models")
    read_all(tally, checkpoints(count, seed), _opened, programs=True, limit_s=LIMIT_S)
    some = list(islice(checkpoints(count, seed + 1), 0, count, max(1, count // WHOLE)))[:WHOLE]
    for (name, _), faults in each(_named, some, limit_s=LIMIT_S * 2):
        tally.count(**{"by whole commands": 1})
        tally.more(f"{name} on the command line", faults)
    return tally


def _opened(file: Path) -> None:
    """Do the work of the first stage of a run with a checkpoint."""
    from plugins.model.htdemucs import HTDemucs, HTDemucsOptions

    model = HTDemucs(HTDemucsOptions(weights=str(file)))
    model.identity()
    folder = file.parent / "stage"
    folder.mkdir()
    model.fetch(StageContext(folder, silent()))


def _named(case: tuple[str, bytes]) -> list[tuple[str, str]]:
    """Run with a checkpoint on the command line, up to the step that needs its weights."""
    name, data = case
    with tempfile.TemporaryDirectory(prefix="luthier-torture-") as folder:
        scene = Scene(Path(folder)).prepare()
        file = scene.folder / name
        file.write_bytes(data)
        return [*_faults(scene, file)]


def _faults(scene: Scene, file: Path) -> Iterator[tuple[str, str]]:
    arguments = [
        "recipe=cpu_fp32", "model=htdemucs", f"model.weights={file}", "store=store",
        "output=outputs", "dataset.seconds=1",
    ]  # fmt: skip
    before, data = scene.outside(), file.read_bytes()
    ended = command(arguments, scene.work, scene.environment(), limit_s=LIMIT_S)
    yield from (("tracebacks", seen) for seen in tracebacks(ended.said))
    if ended.code is None:
        yield "hanging", "the command"
    elif ended.code < 0:
        yield "tracebacks", f"ended with {ended.code}"
    yield from (("hanging", f"left running: {name}") for name in left_of(scene.work))
    left = leftovers(scene.work / "store", scene.work / "outputs")
    yield from (("doubled", f"left behind: {path}") for path in left)
    if any(scene.folder.rglob(TRACE)):
        yield "outside", "its code ran"
    if scene.outside() != before or file.read_bytes() != data:
        yield "outside", "files that are none of its business changed"
