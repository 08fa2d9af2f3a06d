"""A batch of toys: what is played, what is kept, what is left behind, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from filelock import FileLock

from core import Item, Source
from core.batch import on_ray
from core.batch.folder import STAGING
from core.batch.manifest import Manifest
from core.batch.worker import Job, Task, Worker, _key
from core.plugin.progress import silent
from tests import toy
from tests.conftest import Command

SONGS = {"a": "1 2 3", "b": "4 5 6 7 8 9 10 11 12 13", "c/a": "7"}


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """Return a folder with three songs, of one window and of two."""
    for name, numbers in SONGS.items():
        file = tmp_path / "songs" / f"{name}.line"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(numbers)
    return tmp_path / "songs"


@pytest.fixture
def play(command: Command, recipe: Path, songs: Path) -> Command:
    """Return a function that plays the songs, with more arguments."""
    recipe.write_text(recipe.read_text().replace("[json]", "[json, terminal]"))
    return lambda *more: command(f"recipe={recipe}", f"input={songs}/**/*.line", *more)


def batch_folder(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "outputs" / "toy").glob("batch-*")
    return folder


def lines(tmp_path: Path) -> list[dict[str, Any]]:
    text = (batch_folder(tmp_path) / "manifest.jsonl").read_text()
    return [json.loads(line)["content"] for line in text.splitlines()]


def saved() -> list[str]:
    """Return the songs that were saved since the last look."""
    names = [what.removeprefix("save ") for what in toy.RAN if what.startswith("save ")]
    toy.RAN.clear()
    return names


def instead(monkeypatch: pytest.MonkeyPatch, name: str, method: Any) -> None:
    """Replace a method of the dataset, below what checks its answers."""
    monkeypatch.setattr(toy.Lines, name, method)
    monkeypatch.setattr(toy.Lines, "_guarded", {}, raising=False)


def test_every_song_of_a_pattern_goes_through_one_model(play: Command, tmp_path: Path) -> None:
    """Each song gets its own place and a line in the manifest; nothing is measured."""
    done = play()
    assert (done.code, done.err) == (0, "")
    assert "3 items: 3 played, 0 done before, 0 failed" in done.out
    assert [toy.RAN.count(stage) for stage in ("model", "quantizer", "evaluate")] == [1, 1, 0]
    folder = batch_folder(tmp_path)
    assert f"items   {folder}" in done.out
    for name, numbers in SONGS.items():
        line = np.array([float(number) for number in numbers.split()])
        written = np.loadtxt(folder / "items" / name / "y.txt", ndmin=2)
        assert (written == 2 * np.stack([line, -line])).all()
    found = {line["source"]: line for line in lines(tmp_path)}
    assert {source: line["status"] for source, line in found.items()} == {
        "a.line": "done",
        "b.line": "done",
        "c/a.line": "done",
    }
    assert list(found["c/a.line"]["outputs"]) == ["items/c/a/y.txt"]
    assert found["b.line"]["device"] == "a pocket calculator"
    assert not (folder / STAGING).exists()


def test_the_same_command_plays_only_what_is_not_done(
    play: Command, songs: Path, tmp_path: Path
) -> None:
    """A changed song, one whose files are gone, and a new one are played; no other is."""
    play()
    saved()
    assert "0 played, 3 done before" in play().out
    assert saved() == []
    (songs / "a.line").write_text("9 9 9")
    (batch_folder(tmp_path) / "items" / "b" / "y.txt").unlink()
    (songs / "d.line").write_text("1")
    assert "4 items: 3 played, 1 done before, 0 failed" in play().out
    assert saved() == ["a.line", "b.line", "d.line"]
    assert (np.loadtxt(batch_folder(tmp_path) / "items" / "a" / "y.txt")[0] == 18).all()


def test_another_model_is_another_library(play: Command, tmp_path: Path) -> None:
    """Songs of another model, which sound different, lie in a folder of their own."""
    play()
    play("model.gain=3")
    play("chunker.overlap=1")
    assert len(list((tmp_path / "outputs" / "toy").glob("batch-*"))) == 3


def test_a_damaged_song_costs_no_other(play: Command, songs: Path, tmp_path: Path) -> None:
    """A damaged song is reported with its reason, exit code 1; once repaired, only it is played."""
    (songs / "b.line").write_text("one two")
    (songs / "c" / "nan.line").write_text("1 nan")
    done = play()
    assert done.code == 1
    assert "2 of 4 items failed" in done.err
    assert "b.line: `b.line` holds no numbers" in done.err
    assert "`nan.line` holds values that are not numbers" in done.out
    assert "Traceback" not in done.err
    found = {line["source"]: line for line in lines(tmp_path)}
    assert (found["b.line"]["status"], found["b.line"]["outputs"]) == ("failed", {})
    assert not (batch_folder(tmp_path) / "items" / "b").exists()
    saved()
    (songs / "b.line").write_text("1 2")
    (songs / "c" / "nan.line").unlink()
    assert play().code == 0
    assert saved() == ["b.line"]


def test_a_song_is_tried_again_unless_it_is_damaged(
    play: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A song whose disk answered late is tried again; one that is damaged is left out."""
    read, tries = toy.Lines.items, dict[str, int]()

    def unsteady(self: toy.Lines, split: Any, signature: Any) -> Iterator[Item]:
        (source,) = self.sources()
        tries[source.file.stem] = tries.get(source.file.stem, 0) + 1
        if source.file.stem == "b" or (source.file.parent.name == "c" and tries["a"] < 3):
            raise TimeoutError("no answer")
        yield from read(self, split, signature)

    instead(monkeypatch, "items", unsteady)
    assert play("batch.retries=1").code == 1
    found = {line["source"]: line for line in lines(tmp_path)}
    assert [found[name]["retries"] for name in ("a.line", "b.line", "c/a.line")] == [0, 1, 1]
    assert "no answer" in found["b.line"]["reason"]
    assert tries["b"] == 2


def test_an_interrupted_library_goes_on_where_it_was(
    play: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Finished songs count; the song in flight leaves no files."""
    save = toy.Lines.save

    def interrupted(self: toy.Lines, item: Item, *more: Any) -> Any:
        if item.name == "b.line":
            raise KeyboardInterrupt
        return save(self, item, *more)

    with monkeypatch.context() as patched:
        instead(patched, "save", interrupted)
        assert play().code == 130
    assert [p.name for p in (batch_folder(tmp_path) / "items").iterdir()] == ["a"]
    assert not (batch_folder(tmp_path) / STAGING).exists()
    saved()
    assert play().code == 0
    assert saved() == ["b.line", "a.line"]


def test_what_a_killed_run_left_in_flight_is_removed(play: Command, tmp_path: Path) -> None:
    """Files of a song in flight, and an unfinished line, are removed after a kill."""
    play()
    folder = batch_folder(tmp_path)
    (folder / STAGING / "half a song").mkdir(parents=True)
    with (folder / "manifest.jsonl").open("ab") as file:
        file.write(b'{"source":"a.line","status":"fai')
    assert "0 played, 3 done before" in play().out
    assert not (folder / STAGING).exists()


def test_two_runs_over_one_library_are_one_too_many(play: Command, tmp_path: Path) -> None:
    """The second run over one batch is refused, with what to do."""
    play()
    with FileLock(batch_folder(tmp_path) / ".lock"):
        done = play()
    assert done.code == 1
    assert "another run is playing this batch" in done.err
    assert "output=" in done.err


def test_nothing_of_a_song_is_held_when_the_next_begins(
    play: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No song stays in memory, not even a failed one: ten thousand songs need the memory of one."""
    read, given, alive = toy.Lines.items, list[weakref.ref[Any]](), list[int]()

    def watched(self: toy.Lines, split: Any, signature: Any) -> Iterator[Item]:
        alive.append(sum(array() is not None for array in given))
        for item in read(self, split, signature):
            given.append(weakref.ref(item.inputs["x"]))
            yield item

    def failing(*_: Any) -> Any:
        raise OSError("the disk is full")

    instead(monkeypatch, "items", watched)
    play()
    instead(monkeypatch, "save", failing)
    play("model.gain=3")
    assert len(given) == 3 + 3 * 3
    assert set(alive) == {0}


def test_the_plan_says_how_many_are_done(play: Command, tmp_path: Path) -> None:
    """The plan counts the finished songs; it executes nothing and creates nothing."""
    assert "3 items; the finished ones are known after" in play("mode=plan").out
    assert toy.RAN == []
    assert not (tmp_path / "outputs").exists()
    play()
    toy.RAN.clear()
    assert "3 items, 3 done; scale=here" in play("mode=plan").out
    assert toy.RAN == []


def test_a_scale_makes_a_library_of_a_folder(
    command: Command, recipe: Path, songs: Path, tmp_path: Path
) -> None:
    """A recipe with a scale makes a library of a folder; without it, the folder is measured."""
    assert command(f"recipe={recipe}", f"input={songs}", "scale=here").code == 0
    assert [line["source"] for line in lines(tmp_path)] == ["a.line", "b.line", "c/a.line"]


def test_the_lock_goes_on_with_the_same_library(
    play: Command, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock file works from any folder if the songs are named again; none is played twice."""
    play("batch.retries=0")
    lock = batch_folder(tmp_path) / "recipe.lock.yaml"
    assert yaml.safe_load(lock.read_text())["scale"] == "here"
    toy.RAN.clear()
    copy = tmp_path / "toy.yaml"
    copy.write_text(lock.read_text())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    given = [f"output={tmp_path / 'outputs'}", f"input={tmp_path / 'songs'}/**/*.line"]
    assert command(f"recipe={copy}", *given).code == 0
    assert toy.RAN == []


def test_a_contract_is_not_judged_and_that_is_said(play: Command) -> None:
    """A batch is played, not measured, so its contract is not judged, and a message says so."""
    done = play("contract.max_largest=0.5")
    assert done.code == 0
    assert "the contract was not judged" in done.out


def test_a_song_that_kills_its_process_is_given_up(tmp_path: Path) -> None:
    """Three deaths are counted in a file; the fourth process does not even open the model."""
    task = Task(Source("a.line", tmp_path / "a.line"), "a")
    (tmp_path / STAGING).mkdir()
    (tmp_path / STAGING / f"{_key(task)}.attempts").write_bytes(b"...")
    job = Job(None, None, None, tmp_path, 2, tmp_path)  # type: ignore[arg-type]  # none is opened
    entry = Worker(job).play(task, silent())
    assert (entry.status, entry.retries) == ("failed", 2)
    assert "its process died each time" in entry.reason


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["scale=here"], ["dataset `ramp` does not list its items", "datasets that do: ", "lines"]),
        (["scale=her"], ["`scale` cannot be `her`", "did you mean `here`", "ray"]),
        (["scale=here", "batch.workers=0"], ["`workers` cannot be 0"]),
        (["scale=here", "ladder=[fp32]"], ["a batch is played at one precision"]),
        (["input=songs/*.txt"], ["no dataset opens `.txt` files"]),
        (["-m", "scale=here", "chunker.length=4,8"], ["a batch is played and not measured"]),
    ],
)
def test_what_cannot_be_is_refused(
    command: Command, recipe: Path, arguments: list[str], said: list[str]
) -> None:
    """Impossible options are refused before anything runs, with the possible ones."""
    command(f"recipe={recipe}", *arguments).refused(said)


def test_a_pattern_without_a_song_is_found_before_anything_runs(
    command: Command, recipe: Path, songs: Path
) -> None:
    """A pattern without a song is refused at once, not after an hour of compiling."""
    done = command(f"recipe={recipe}", f"input={songs}/none/*.line")
    assert done.code == 1
    assert "has nothing to play" in done.err
    assert toy.RAN == []


def test_ray_that_is_not_installed_is_named_with_its_command(
    play: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan already names the install command of Ray where it is missing."""
    monkeypatch.setattr(on_ray, "find_spec", lambda _: None)
    done = play("scale=ray", "mode=plan")
    assert done.code == 2
    assert "pip install 'luthier[ray]'" in done.err


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its content, and every folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b"folder"
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """Return a folder outside of all libraries, with something in it that nobody may touch."""
    folder = tmp_path / "canary"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "y.txt").write_text("mine")
    (folder / "recipe.lock.yaml").write_text("mine, too")
    (folder / "manifest.jsonl").write_text("and this")
    return folder


def rewritten(tmp_path: Path, places: Iterable[str]) -> None:
    """Give the songs in the manifest other places, each line under its right digest."""
    file = batch_folder(tmp_path) / "manifest.jsonl"
    entries = Manifest(file).entries.values()
    file.unlink()
    with Manifest(file) as manifest:
        for entry, place in zip(entries, places, strict=True):
            manifest.add(replace(entry, place=place, outputs={}))


def test_a_place_outside_is_not_touched(play: Command, canary: Path, tmp_path: Path) -> None:
    """Lines that lead outside are skipped with one message; the songs get places of their own."""
    play()
    before = contents(canary)
    rewritten(tmp_path, ["../../../../canary", str(canary), "a/../../../../../canary"])
    saved()
    assert "3 items, 0 done; scale=here" in play("mode=plan").out
    done = play()
    assert done.code == 0
    assert "3 lines of the manifest are ignored" in " ".join(done.out.split())
    assert len(saved()) == 3
    assert contents(canary) == before
    assert "manifest are ignored" not in play("mode=plan").out


def test_songs_that_say_they_have_one_place_get_their_own(play: Command, tmp_path: Path) -> None:
    """Two songs never share a folder, whatever a manifest says."""
    play()
    rewritten(tmp_path, "aaa")
    assert play().code == 0
    assert len({line["place"] for line in lines(tmp_path)[-3:]}) == 3
    assert "0 played, 3 done before" in play().out


def test_a_part_of_a_library_that_is_a_link_is_refused(
    play: Command, canary: Path, tmp_path: Path
) -> None:
    """The target of a link is neither written, nor replaced, nor removed."""
    play()
    folder, before = batch_folder(tmp_path), contents(canary)
    for part in ("items", ".staging", "manifest.jsonl", "recipe.lock.yaml", ".lock", ""):
        own, moved, target = folder / part, tmp_path / "moved", canary / part
        own.rename(moved) if own.exists() else None
        own.symlink_to(target if target.exists() else canary)
        for mode in ("mode=run", "mode=plan") if part == "items" else ("mode=run",):
            done = play(mode)
            assert done.code == 1
            assert "is a link" in done.err
            assert "output=" in done.err
            assert contents(canary) == before
        own.unlink()
        moved.rename(own) if moved.exists() else None


def test_a_place_that_is_a_link_or_a_file_is_refused(
    play: Command, canary: Path, tmp_path: Path
) -> None:
    """Songs whose place is a link or a file fail, the others are played; the target stays."""
    play()
    songs, before = batch_folder(tmp_path) / "items", contents(canary)
    for name in ("a", "b", "c"):
        shutil.rmtree(songs / name)
    (songs / "a").write_text("a note of mine")
    (songs / "b").symlink_to(canary)
    (songs / "c").symlink_to(canary)
    done = play()
    assert done.code == 1
    assert "3 of 3 items failed" in done.err
    assert "a.line: a file is in the place of an item's folder" in done.err
    assert done.err.count("leads through a link") == 2
    assert contents(canary) == before
    assert (songs / "a").read_text() == "a note of mine"


def test_a_dataset_that_saves_elsewhere_is_refused(
    play: Command, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The song of a dataset that saves elsewhere fails, and its target is not touched."""
    before = contents(canary)
    save = toy.Lines.save

    def outside(self: toy.Lines, *more: Any) -> Any:
        return [replace(one, path=str(canary / "a" / "y.txt")) for one in save(self, *more)]

    instead(monkeypatch, "save", outside)
    done = play()
    assert done.code == 1
    assert "3 of 3 items failed" in done.err
    assert contents(canary) == before


def test_a_damaged_song_is_played_again_and_that_is_said(play: Command, tmp_path: Path) -> None:
    """The plan counts a damaged song, whatever its size and time stamps say."""
    play()
    cut, flipped, gone = (
        batch_folder(tmp_path) / "items" / name / "y.txt" for name in ("a", "b", "c/a")
    )
    whole = {file: file.read_bytes() for file in (cut, flipped, gone)}
    cut.write_bytes(whole[cut][:-1])
    gone.unlink()
    stat = flipped.stat()
    flipped.write_bytes(whole[flipped][:9] + b"7" + whole[flipped][10:])
    os.utime(flipped, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert "3 items, 0 done, 3 damaged; scale=here" in play("mode=plan").out
    saved()
    said = " ".join(play().out.split())
    assert "3 played, 0 done before" in said
    assert "their files were damaged or gone: a.line, b.line, c/a.line" in said
    assert {file: file.read_bytes() for file in whole} == whole
    assert "3 items, 3 done; scale=here" in play("mode=plan").out


def test_a_line_with_a_flipped_bit_is_said_and_its_song_played(
    play: Command, tmp_path: Path
) -> None:
    """A line with a flipped bit is reported and its song played; the other songs are kept."""
    play()
    file = batch_folder(tmp_path) / "manifest.jsonl"
    file.write_bytes(file.read_bytes().replace(b"items/b/y", b"items/b/x", 1))
    plan = " ".join(play("mode=plan").out.split())
    assert "3 items, 2 done; scale=here" in plan
    assert "1 lines of the manifest are ignored" in plan
    saved()
    assert "1 played, 2 done before" in play().out
    assert saved() == ["b.line"]


def test_a_name_that_is_no_text_plays(play: Command, songs: Path, tmp_path: Path) -> None:
    """The manifest spells a name that is no text so that no other name has the same spelling."""
    names = ["caf\udce9.line", r"caf\xe9.line", "café.line"]
    for number, name in enumerate(names):
        (songs / name).write_text(str(number))
    done = play()
    assert (done.code, done.err) == (0, "")
    assert "6 items: 6 played" in done.out
    sources = {line["source"] for line in lines(tmp_path)}
    assert sources >= {r"caf\xe9.line", r"caf\\xe9.line", "café.line"}
    saved()
    assert "0 played, 6 done before" in play().out
    (songs / names[0]).write_text("no number")
    done = play()
    assert done.code == 1
    assert r"caf\xe9.line: `caf\xe9.line` holds no numbers" in done.err
    assert yaml.safe_load((batch_folder(tmp_path) / "recipe.lock.yaml").read_text())


def test_a_library_below_a_folder_that_is_no_text_plays(
    command: Command, recipe: Path, songs: Path, tmp_path: Path
) -> None:
    """A batch below a folder that is no text plays by pattern, as a folder, and by lock file."""
    odd = songs.rename(songs.with_name("caf\udce9"))
    for more in ([f"input={odd}/**/*.line"], [f"input={odd}", "scale=here"]):
        assert command(f"recipe={recipe}", *more, "output=outputs").err == ""
        lock = batch_folder(tmp_path) / "recipe.lock.yaml"
        assert str(yaml.safe_load(lock.read_text())["dataset"]["path"]).startswith(str(odd))
        saved()
        done = command(f"recipe={recipe}", *more, "output=outputs")
        assert (done.err, saved()) == ("", [])
        shutil.rmtree(tmp_path / "outputs")


def test_a_run_with_a_name_that_is_no_text_plays(
    command: Command, recipe: Path, songs: Path, tmp_path: Path
) -> None:
    """Report and lock file of such a run are text, and the lock file plays it again."""
    song = songs / "caf\udce9.line"
    song.write_text("1 2 3")
    done = command(f"recipe={recipe}", f"input={song}")
    assert (done.code, done.err) == (0, "")
    (folder,) = (tmp_path / "outputs" / "toy").iterdir()
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert [one["item"] for one in report["saved"]] == [r"caf\xe9.line"]
    lock = shutil.copy(folder / "recipe.lock.yaml", tmp_path / "again.yaml")
    toy.RAN.clear()
    done = command(f"recipe={lock}", f"input={song}")
    assert (done.code, done.err, toy.RAN) == (0, "", [])
