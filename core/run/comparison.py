"""What differs between two runs: the recipe, the versions, the machine, and every figure.

A run is read from its folder, its `report.json`, or its lock file, which has no figures. Paths
count by their names alone, and secrets not at all: a report has no others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

import msgspec

from core.config.yaml_file import mapping_in, read_mapping
from core.errors import ConfigError, InputError
from core.measure.contract import verdict
from core.plugin.records import RunRecord
from core.text.shown import HIDDEN, SECRET

__all__ = ["Change", "Comparison", "Figure", "FigureChange", "Run", "compare", "read_run", "run_of"]

REPORT, LOCK, SCHEMA = "report.json", "recipe.lock.yaml", "luthier.report/"
#: The most bytes of a report: one of a thousand items has some 10 MB.
LARGEST = 2**28
#: The head of a lock file: a distribution and its version in each line.
VERSION = re.compile(r"# ([A-Za-z0-9][\w.-]*) (\d\S*)")
WEIGHTS = re.compile(r"# (weights sha256): ([0-9a-f]{64})")
#: Formats of results that go to no device; their sizes say nothing.
INTERNAL = frozenset({"tensors", "facts", "files"})
#: The statistics that are the ends of a spread.
LOW, HIGH = "p5", "p95"
#: Keys of a recipe that no result depends on.
NO_MATTER = frozenset({"reporter", "title"})
#: Run folders that an error names.
NAMED = 5
GIVE = f"give a run folder (outputs/<recipe>/<time>), its {REPORT}, or its {LOCK}"


@dataclass(frozen=True)
class Figure:
    """One measured number of a run: its `name`, what it is `of`, and the device it comes from.

    Of a metric these are the name, and its statistic, label and item. Others are `budget` and
    `size` of a stage.
    """

    name: str
    of: str
    value: float
    unit: str
    better: Literal["higher", "lower", "neither"]
    device: str


@dataclass(frozen=True)
class Run:
    """One run as it is compared: `options` are its resolved recipe, one text per key with dots.

    `contract` says for each limit whether it held. A lock file has no `figures`, no `machine` and
    no `started`.
    """

    place: str
    title: str
    started: str
    machine: str
    versions: Mapping[str, str]
    options: Mapping[str, str]
    contract: Mapping[str, str]
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Change:
    """One thing that differs; None where a run does not have it."""

    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True)
class FigureChange:
    """One figure of both runs, or of one of them, and the devices that it was measured on.

    A time whose value lies within the 5th and the 95th percentile of the other run, both ways, is
    `within spread`: it may differ by chance.
    """

    name: str
    of: str
    unit: str
    old: float | None
    new: float | None
    verdict: Literal["better", "worse", "same", "changed", "within spread", "only old", "only new"]
    devices: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """What differs between two runs, and every figure of either."""

    old: Run
    new: Run
    recipe: tuple[Change, ...]
    versions: tuple[Change, ...]
    machine: tuple[Change, ...]
    contract: tuple[Change, ...]
    figures: tuple[FigureChange, ...]


def read_run(place: str) -> Run:
    """Read a run; raises InputError for what is no run, or cannot be read."""
    path = Path(place).expanduser()
    try:
        if path.is_dir():
            return _in_folder(path, place)
        if not path.exists():
            raise InputError(f"`{place}` does not exist", GIVE)
        if path.suffix == ".json":
            return _report(path, place)
        if path.suffix in (".yaml", ".yml"):
            return _lock(path, place)
    except OSError as error:
        said = error.strerror or str(error)
        raise InputError(f"`{place}` cannot be read: {said}", GIVE) from error
    raise InputError(f"`{place}` is no run", GIVE)


def run_of(record: RunRecord, place: str) -> Run:
    """Return a run from its record; raises ConfigError where its recipe cannot be read."""
    lock = mapping_in(record.config, "the recipe of a report", Path(place))
    return Run(
        place,
        record.title or record.recipe,
        record.started,
        record.machine,
        record.versions,
        _options(lock, record.config),
        {one.name: verdict(one) for one in record.contract},
        tuple(_figures(record)),
    )


def compare(old: Run, new: Run) -> Comparison:
    """Return what differs between two runs."""
    figures = [{(figure.name, figure.of): figure for figure in run.figures} for run in (old, new)]
    machines = [{"machine": run.machine} if run.machine else {} for run in (old, new)]
    return Comparison(
        old,
        new,
        _changes(old.options, new.options),
        _changes(old.versions, new.versions),
        _changes(*machines),
        _changes(old.contract, new.contract),
        tuple(
            _change(
                *key, *(of_run.get(key) for of_run in figures), by_chance=_by_chance(key, *figures)
            )
            for key in dict.fromkeys([*figures[0], *figures[1]])
        ),
    )


def _in_folder(folder: Path, place: str) -> Run:
    if (folder / REPORT).exists():
        return _report(folder / REPORT, place)
    if (folder / LOCK).exists():
        return _lock(folder / LOCK, place)
    if (folder / "sweep.json").exists():
        raise InputError(f"`{place}` is the folder of a sweep", *_within(folder), GIVE)
    raise InputError(
        f"`{place}` is no run folder: it has neither {REPORT} nor {LOCK}", *_within(folder), GIVE
    )


def _within(folder: Path) -> list[str]:
    """Return a line with the newest run folders below a folder."""
    found = sorted((file.parent.name for file in folder.glob(f"*/{LOCK}")), reverse=True)
    return [f"run folders in it: {', '.join(found[:NAMED])}"] if found else []


def _report(file: Path, place: str) -> Run:
    if file.stat().st_size > LARGEST or not file.is_file():
        raise InputError(f"`{place}` is no report: it is too large, or no regular file", GIVE)
    content = file.read_bytes()
    try:
        schema = msgspec.json.decode(content, type=_Headed).schema
        if not schema.startswith(SCHEMA):
            raise InputError(
                f"`{place}` is no report of a run", f"schema: {schema[:80] or 'none'}", GIVE
            )
        record = msgspec.json.decode(content, type=RunRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(
            f"`{place}` is no report of a run, or damaged", f"{file.name}: {error}", GIVE
        ) from error
    try:
        return run_of(record, place)
    except ConfigError as error:
        raise InputError(f"`{place}` has no recipe: {error.what}", *error.lines) from error


class _Headed(msgspec.Struct):
    """The first key of every JSON file that Luthier writes."""

    schema: str = ""


def _lock(file: Path, place: str) -> Run:
    try:
        content = read_mapping(file, f"`{place}`")
    except ConfigError as error:
        raise InputError(error.what, *error.lines) from error
    model = content.get("model")
    # A recipe leaves out every option that has a default: all of them would seem to differ.
    if not isinstance(model, dict) or "plugin" not in model or "measure" not in content:
        raise InputError(f"`{place}` is no lock file", f"a run writes {LOCK} into its folder", GIVE)
    text = file.read_text(encoding="utf-8-sig")
    head = [line for line in text.split("\n") if line.startswith("#")]
    found = (VERSION.fullmatch(line) for line in head)
    versions = {match[1]: match[2] for match in found if match}
    options = _options(content, text)
    return Run(place, str(content.get("title", "")), "", "", versions, options, {}, ())


def _options(lock: Mapping[str, Any], text: str) -> dict[str, str]:
    """Return every option that results depend on, and the hash of the weights."""
    kept = {key: inner for key, inner in lock.items() if key not in NO_MATTER}
    return {**dict(_flat(kept)), **_weights(text)}


def _weights(text: str) -> dict[str, str]:
    found = (WEIGHTS.fullmatch(line) for line in text.split("\n", 3)[:3])
    return {match[1]: match[2] for match in found if match}


def _flat(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every value of nested mappings as text, by its key with dots."""
    if isinstance(node, Mapping) and node:
        for name, inner in node.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(node, str):
        yield key, HIDDEN if node and SECRET.search(key) else _bare(node)
    else:
        yield key, json.dumps(node, ensure_ascii=False)


def _bare(text: str) -> str:
    """Return the name alone of an absolute path."""
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(text)
        if path.is_absolute() and path.name:
            return path.name
    return text


def _changes(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[Change, ...]:
    names = dict.fromkeys([*old, *new])
    return tuple(
        Change(name, old.get(name), new.get(name))
        for name in names
        if old.get(name) != new.get(name)
    )


def _figures(record: RunRecord) -> Iterator[Figure]:
    """Yield every figure: metrics, the rows of the error budget, sizes."""
    # Of a single item its name is left out, so that runs of two songs can be compared.
    several = len({metric.item for metric in record.metrics if metric.item}) > 1
    for metric in record.metrics:
        part = " of ".join(filter(None, (metric.label, metric.item if several else "")))
        of = ", ".join(filter(None, (metric.statistic, part)))
        yield Figure(metric.name, of, metric.value, metric.unit, metric.better, metric.device)
    for line in record.budget:
        for said, db in (("by itself", line.step_db), ("together", line.total_db)):
            if db is not None:
                of = f"{line.stage}, {said}"
                yield Figure("budget", of, db, "dB", "higher", line.device)
    for stage in record.stages:
        if stage.artifact.format not in INTERNAL:
            size = float(stage.artifact.bytes)
            yield Figure("size", stage.name, size, "bytes", "lower", "")


def _by_chance(
    key: tuple[str, str],
    old: Mapping[tuple[str, str], Figure],
    new: Mapping[tuple[str, str], Figure],
) -> bool:
    """Return whether each value of a figure lies within the spread of the other run."""
    name, of = key

    def holds(run: Mapping[tuple[str, str], Figure], value: float) -> bool:
        low, high = run.get((name, LOW)), run.get((name, HIGH))
        return low is not None and high is not None and low.value <= value <= high.value

    if of not in ("", "median") or key not in old or key not in new:
        return False
    return holds(new, old[key].value) and holds(old, new[key].value)


def _change(
    name: str, of: str, old: Figure | None, new: Figure | None, *, by_chance: bool
) -> FigureChange:
    given = [figure for figure in (old, new) if figure is not None]
    devices = tuple(dict.fromkeys(figure.device for figure in given if figure.device))
    if old is None or new is None:
        verdict: Any = "only new" if old is None else "only old"
    elif old.value == new.value:
        verdict = "same"
    elif by_chance:
        verdict = "within spread"
    elif new.better == "neither" or old.unit != new.unit or of in (LOW, HIGH):
        verdict = "changed"
    else:
        verdict = "better" if (new.value > old.value) == (new.better == "higher") else "worse"
    return FigureChange(
        name,
        of,
        given[-1].unit,
        None if old is None else old.value,
        None if new is None else new.value,
        verdict,
        devices,
    )
