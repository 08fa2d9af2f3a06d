"""A folder in which commands with the toy plugins run, and the files that they leave there.

work/              where commands run: their store, outputs and temporary files
toys/              installs the toys, for every Python with this folder on its path
elsewhere/         files that no command may touch
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
#: Arguments of the disturbed commands, without the places where they write.
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "run": ("recipe=../toy.yaml",),
    "batch": ("recipe=../toy.yaml", "input=../songs/**/*.line"),
    "sweep": ("-m", "recipe=../toy.yaml", "quantizer.loss=0,0.1"),
}
#: Units of metrics that differ between any two runs.
MEASURED = frozenset({"ms", "s", "MB", "×"})
#: Names of folders that contain a time, or a hash of the place of the songs.
TIMES = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(\.\d+)?")
PLACES = re.compile(r"batch-[0-9a-f]+")
#: Folders of a store that hold no steps.
OTHERS = frozenset({"staging", "locks", "state", "known"})
#: Names of files that no command may leave.
STRAY = re.compile(r"\.of\.|\.partial$|^\.staging$|^tmp[a-z0-9_]{8}$|\.tmp$|^luthier-")
TRACEBACK = re.compile(
    r"Traceback \(most recent call last\)|unexpected error: |Fatal Python error|Segmentation "
    "fault"
)


@dataclass(frozen=True)
class Scene:
    """The folder of one case."""

    folder: Path

    @property
    def work(self) -> Path:
        """Return the working folder of the commands."""
        return self.folder / "work"

    def prepare(self) -> Scene:
        """Make all folders and files."""
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
        """Return the variables of a command: it finds no file of the person who runs the suite."""
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
        """Return the hashes of the files that no command may touch."""
        tops = ("elsewhere", "songs", "toys", "toy.yaml")
        return {top: json.dumps(digests(self.folder / top), sort_keys=True) for top in tops}


def _lines() -> dict[str, str]:
    return {f"{name}.line": numbers for name, numbers in SONGS.items()}


def digests(top: Path) -> dict[str, str]:
    """Return the hash of every file below `top`, or of `top` itself; for a link, its target."""
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
    """Return the entries of a store as `<step>/<key>`, each with two values for comparison.

    These are the hash of its description, which contains the time of making, and its files' hashes.
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
    """Return files that look like the remains of a killed command."""
    found = [p for top in tops for p in top.rglob("*") if STRAY.search(p.name)]
    staged = [p for top in tops for p in top.glob("staging/*")]
    return sorted({str(path) for path in (*found, *staged)})


def results(outputs: Path) -> list[tuple[str, dict[str, str]]]:
    """Return the results of every finished run, batch and point of a sweep, by kind of folder.

    Of a report, only measured figures count: times differ, and so do cached and finished steps.
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
    """Return the first trace that a command printed, with the end of its output; or nothing."""
    first = TRACEBACK.search(said)
    if first is None:
        return []
    return [f"{said[first.start() :][:200]} … {said[-300:]}"]
