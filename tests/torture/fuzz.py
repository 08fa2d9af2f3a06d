"""Fuzzes all readers of texts and files that a stranger may have written, with thousands of cases.

Hostile recipes and hostile words go through whole commands. Damaged files of every kind go through
their readers, in processes with little time and memory. hypothesis draws the damage; a fault quotes
the first bytes of its file.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.configuration import set_hypothesis_home_dir

from tests.fuzz.damage import damaged
from tests.fuzz.hydra_syntax import Hostile, hostile
from tests.fuzz.readers import READERS, Reader, judged
from tests.torture.forks import command, each, left_of, warm
from tests.torture.scene import Scene, digests, tracebacks
from tests.torture.tally import Tally
from tests.torture.trespass import listen

__all__ = ["torture"]

CANARY = "a-value-that-nobody-may-see"
#: Seconds for a case: a refused recipe or a command line, and all damaged files of one kind.
RECIPE_S, READER_S = 60, 400
MEMORY = 2 * 2**30
#: Recipes and command lines for whole commands, for each damaged file of each kind.
RECIPES, LINES = 0.3, 0.06
#: The folder for hypothesis's own files.
OWN: list[str] = []
#: Words of hostile command lines.
KEYS = ("recipe", "input", "store", "output", "model", "graph", "chunker", "hydra.run.dir", "title")
VALUES = (
    "${oc.env:LUTHIER_CANARY}", "range(0,1e9)", "[" * 30 + "]" * 30, "{a:b", "'", "null", "", "~",
    "../../../../etc/passwd", "s3://user:secret@host/x", "\\", "\x1b[31m", "\udce9.wav",
    "x" * 30_000, "@hydra.run", "http://169.254.169.254/latest", "_target_", "choice(a,b)",
    "!!python/object/apply:os.system [x]",
)  # fmt: skip
FLAGS = ("-m", "--cfg=all", "--config-dir=/", "--experimental-rerun=x", "-cn=x", "--shell")


def torture(count: int, seed_: int) -> Tally:
    """Fuzz with `count` damaged files of each kind, and some recipes and command lines."""
    warm("soundfile", "numpy", "torch", "onnx", "safetensors.torch", "core.batch.manifest",
         "plugins.dataset.files", "plugins.model._hybrid.checkpoint", "hypothesis")  # fmt: skip
    tally = Tally("fuzz")
    for recipe, faults in each(
        _refused, hostile(max(1, int(count * RECIPES)), seed_), limit_s=RECIPE_S
    ):
        tally.case(f"recipe, {recipe.construct}: {recipe.why[:120]!r}", faults)
        tally.count(recipes=1)
    lines = list(_lines(max(1, int(count * LINES)), seed_))
    for line, faults in each(_typed, lines, limit_s=RECIPE_S):
        tally.case(f"command line {line!r}"[:300], faults)
        tally.count(**{"command lines": 1})
    with tempfile.TemporaryDirectory(prefix="luthier-torture-") as own:
        set_hypothesis_home_dir(own)
        OWN[:] = [own]
        kinds = [(reader, count, seed_) for reader in READERS]
        for (reader, times, _), faults in each(_damaged, kinds, limit_s=READER_S, memory=MEMORY):
            tally.more(reader.name, faults)
            tally.cases += times
            tally.count(**{reader.name: times})
    return tally


def _refused(recipe: Hostile) -> list[tuple[str, str]]:
    """Plan with a hostile recipe: it must be refused, and may change no file."""
    with tempfile.TemporaryDirectory(prefix="luthier-torture-") as folder:
        scene = Scene(Path(folder)).prepare()
        file = scene.folder / "hostile.yaml"
        file.write_bytes(recipe.data)
        return [*_faults(scene, [f"recipe={file}", "mode=plan"], must_fail=True)]


def _typed(line: tuple[str, ...]) -> list[tuple[str, str]]:
    """Plan with a hostile command line."""
    with tempfile.TemporaryDirectory(prefix="luthier-torture-") as folder:
        return [*_faults(Scene(Path(folder)).prepare(), [*line, "mode=plan"], must_fail=False)]


def _faults(scene: Scene, arguments: list[str], *, must_fail: bool) -> Iterator[tuple[str, str]]:
    before = scene.outside()
    ended = command(
        arguments, scene.work, scene.environment(LUTHIER_CANARY=CANARY), limit_s=RECIPE_S / 2
    )
    yield from (("tracebacks", seen) for seen in tracebacks(ended.said))
    if ended.code is None:
        yield "hanging", "no end"
    elif ended.code < 0:
        yield "tracebacks", f"ended with {ended.code}"
    elif must_fail and ended.code == 0:
        yield "unnoticed", "it was accepted"
    elif ended.code and "error: " not in ended.said:
        yield "tracebacks", f"no message: {ended.said[-200:]}"
    if CANARY in ended.said:
        yield "outside", "the environment was read"
    made = {path.name for path in scene.work.iterdir() if not path.name.startswith("said-")}
    if scene.outside() != before or made - {"tmp", "outputs", "cache", "home"}:
        yield "outside", f"files were made: {sorted(made)}"
    yield from (("hanging", f"left running: {name}") for name in left_of(scene.work, wait_s=5))


def _lines(count: int, seed_: int) -> Iterator[tuple[str, ...]]:
    draw = random.Random(seed_)  # noqa: S311  # chooses cases, guards nothing
    for _ in range(count):
        words = [f"{draw.choice(KEYS)}={draw.choice(VALUES)}" for _ in range(draw.randrange(1, 3))]
        yield tuple(words + ([draw.choice(FLAGS)] if draw.random() < 0.3 else []))


def _damaged(case: tuple[Reader, int, int]) -> list[tuple[str, str]]:
    """Read damaged files of one kind, and return the faults."""
    reader, times, seed_ = case
    with tempfile.TemporaryDirectory(prefix="luthier-torture-") as top:
        folder = Path(top) / "work"
        folder.mkdir()
        os.chdir(folder)
        true = reader.true(folder)
        wrong: list[str] = []
        _silent()

        @seed(seed_)
        @settings(
            max_examples=times, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(damaged(true, reader.words))
        def read(content: bytes) -> None:
            seen = judged(reader, folder, content)
            if seen:
                wrong.append(f"{seen}, of {content[:40]!r}… ({len(content)} bytes)")

        outside, heard = digests(folder), listen(Path(top), programs=False)
        read()
        (folder / reader.file).unlink(missing_ok=True)
        faults: list[tuple[str, str]] = [("tracebacks", seen) for seen in wrong]
        # hypothesis's own files do not come from a reader.
        own = OWN[0]
        faults += [("outside", what) for what in dict.fromkeys(heard) if own not in what]
        if digests(folder) != outside:
            faults.append(("outside", "files that were to be read only changed"))
        return faults


def _silent() -> None:
    """Discard the messages of C libraries."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
