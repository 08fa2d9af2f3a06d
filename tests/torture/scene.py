"""A folder in which commands with the toy plugins run, and what can be seen there afterwards.

work/              where commands run: their store, outputs and temporary files
toys/              installs the toys, for every Python that has it on its path
elsewhere/         files that are none of a command's business
songs/             a batch of lines
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import RECIPE

__all__ = ["COMMANDS", "Scene", "digests", "entries", "leftovers", "results", "tracebacks"]

SONGS = {"a": "1 2 3", "b": "4 5 6 7 8 9 10 11 12 13", "c/a": "7", "c/d": "1 1", "e f": "9 8 7"}
ELSEWHERE = {"important.txt": "a year of work\n", "x/y/z.bin": "\x00\x01", "outputs/toy/a": "b"}
#: Arguments of the commands that are disturbed, but for where they write.
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "run": ("recipe=../toy.yaml",),
    "batch": ("recipe=../toy.yaml", "input=../songs/**/*.line"),
    "sweep": ("-m", "recipe=../toy.yaml", "quantizer.loss=0,0.1"),
}
#: Units of metrics that no two runs have the same.
MEASURED = frozenset({"ms", "s", "MB", "×"})
#: Names of folders that hold when they were made, or where the songs lie.
TIMES = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(\.\d+)?")
PLACES = re.compile(r"batch-[0-9a-f]+")
#: Folders of a store that are no steps.
OTHERS = frozenset({"staging", "locks", "state", "known"})
#: Names that nothing may have that a command left.
STRAY = re.compile(r"\.of\.|\.partial$|^\.staging$|^tmp[a-z0-9_]{8}$|\.tmp$|^luthier-")
TRACEBACK = re.compile(
    r"Traceback \(most recent call last\)|something unexpected|Fatal Python error|Segmentation "
    "fault"
)


@dataclass(frozen=True)
class Scene:
    """The folder of one case."""

    folder: Path

    @property
    def work(self) -> Path:
        """Return the folder that commands run in."""
        return self.folder / "work"

    def prepare(self) -> Scene:
        """Make it all."""
        about = self.folder / "toys" / "toys-1.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1\n")
        (about / "entry_points.txt").write_text("[luthier]\ntoys = tests.toy\n")
        (self.folder / "toy.yaml").write_text(RECIPE)
        for top, files in (("elsewhere", ELSEWHERE), ("songs", _lines())):
            for name, content in files.items():
                file = self.folder / top / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(content)
        self.work.mkdir()
        (self.folder / "said").mkdir()
        (self.work / "tmp").mkdir()
        return self

    def environment(self, **more: str) -> dict[str, str]:
        """Return the variables of a command: it finds nothing of the person who runs the suite."""
        return {
            "HOME": str(self.work / "home"),
            "XDG_CACHE_HOME": str(self.work / "cache"),
            "TMPDIR": str(self.work / "tmp"),
            "PYTHONPATH": str(self.folder / "toys"),
            "QAIHUB_CLIENT_INI": str(self.folder / "no account"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            **more,
        }

    def outside(self) -> dict[str, str]:
        """Return the files that no command may touch, by their hashes."""
        tops = ("elsewhere", "songs", "toys", "toy.yaml")
        return {top: json.dumps(digests(self.folder / top), sort_keys=True) for top in tops}


def _lines() -> dict[str, str]:
    return {f"{name}.line": numbers for name, numbers in SONGS.items()}


def digests(top: Path) -> dict[str, str]:
    """Return the hash of every file below `top`, or of `top` itself; links by what they say."""
    files = [top] if top.is_file() else sorted(top.rglob("*"))
    return {
        file.relative_to(top.parent).as_posix(): _digest(file)
        for file in files
        if file.is_symlink() or not file.is_dir()
    }


def _digest(file: Path) -> str:
    if file.is_symlink():
        return f"-> {file.readlink()}"
    return hashlib.sha256(file.read_bytes()).hexdigest()


def entries(store: Path) -> dict[str, tuple[str, dict[str, str]]]:
    """Return the entries of a store: `<step>/<key>`, with two things that tell one from another.

    The hash of what it says of its making, which holds when that was, and those of its files.
    """
    found = {}
    for entry in sorted(store.glob("*/*")):
        if entry.parent.name in OTHERS or not entry.is_dir():
            continue
        files = digests(entry / "files") if (entry / "files").is_dir() else {}
        whole = all((entry / name).is_file() for name in ("artifact.json", "fingerprint.json"))
        name = f"{entry.parent.name}/{entry.name}"
        made = _digest(entry / "artifact.json") if whole else ""
        found[name] = (made, files if whole else {"not whole": ""})
    return found


def leftovers(*tops: Path) -> list[str]:
    """Return what looks like the remains of a command that was killed."""
    found = [p for top in tops for p in top.rglob("*") if STRAY.search(p.name)]
    staged = [p for top in tops for p in top.glob("staging/*")]
    return sorted({str(path) for path in (*found, *staged)})


def results(outputs: Path) -> list[tuple[str, dict[str, str]]]:
    """Return what every finished run, batch and point of a sweep gave, by the kind of folder.

    Of a report, only what was measured counts: times differ, and what was kept and what ran.
    """
    return sorted(_results(outputs), key=str)


def _results(outputs: Path) -> Iterator[tuple[str, dict[str, str]]]:
    for recipe in sorted({*outputs.rglob("recipe.lock.yaml")}):
        folder = recipe.parent
        kind = PLACES.sub("batch", TIMES.sub("run", folder.name))
        files = {
            name: digest
            for name, digest in digests(folder).items()
            if Path(name).suffix in (".txt", ".wav", ".flac") or "/items/" in name
        }
        files = {name.partition("/")[2]: digest for name, digest in files.items()}
        report = folder / "report.json"
        if report.is_file():
            files["metrics"] = json.dumps(_metrics(json.loads(report.read_text())), sort_keys=True)
        manifest = folder / "manifest.jsonl"
        if manifest.is_file():
            files["manifest"] = json.dumps(_songs(manifest.read_text()), sort_keys=True)
        yield kind, files


def _metrics(report: dict[str, Any]) -> list[Any]:
    return [[m["name"], m["value"]] for m in report["metrics"] if m["unit"] not in MEASURED]


def _songs(manifest: str) -> dict[str, Any]:
    """Return the last line of every song, without times."""
    songs = {}
    for line in manifest.splitlines():
        entry = json.loads(line)
        entry = entry.get("content", entry)
        songs[entry["source"]] = [entry["status"], entry["place"], entry["outputs"]]
    return songs


def tracebacks(said: str) -> list[str]:
    """Return the traces that a command printed, each by its last line."""
    first = TRACEBACK.search(said)
    if first is None:
        return []
    return [f"{said[first.start() :][:200]} … {said[-300:]}"]
