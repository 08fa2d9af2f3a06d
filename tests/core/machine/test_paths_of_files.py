"""Every reader of a path out of a file: it stays below its folder, whatever the file says."""

from __future__ import annotations

import contextlib
import runpy
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile

import core
from core import Artifact, Item, SavedFile, Signature, Source, TensorSpec
from core.batch.manifest import Entry, Manifest
from core.batch.standings import standings
from core.errors import LuthierError
from core.steps.play import place_saved
from core.store import sealed
from core.store.entry import Description, key_of
from core.store.hashing import canonical, file_digest, folder_digest
from core.store.local import Store
from core.store.remote_entries import Entries
from core.store.remote_entries import Entry as Record
from core.sweep import folder as sweep
from core.sweep.messages import PointResult
from plugins.dataset.files import Files, FilesOptions
from plugins.dataset.musdb import Musdb, MusdbOptions
from plugins.model._hybrid.pretrained import _only
from plugins.runtime._on_device import __file__ as on_device
from plugins.vendor.qai_hub import ledger, results
from tests.core.machine.test_paths import HOSTILE
from tests.core.store.test_local import FINGERPRINT, put

MARK = "the canary"
CPU = Path(on_device).parent / "any" / "python" / "cpu.py"
OWN = Path(core.__file__).parent / "bundle" / "on_device" / "python"
MEDIUM = Path(core.__file__).parents[1] / "plugins/dataset/_audio/on_device/python/medium.py"

#: How a reader says no. Returning is another way: then it took nothing, or made the thing anew.
Refusals = (LuthierError, sealed.DamagedError, results._DamagedError, SystemExit)
Reader = Callable[[Path, str], object]


def bundle_sums(root: Path, name: str) -> object:
    """Check a bundle whose list of hashes names another file."""
    (root / "metadata.json").write_text("{}")
    digests = dict.fromkeys((name, "metadata.json"), "0" * 64)
    lines = [f"{digest}  {n}" for n, digest in digests.items()]
    (root / "SHA256SUMS").write_text("\n".join(["# bundle x", *lines]), errors="surrogateescape")
    program = runpy.run_path(str(OWN / "manifest.py"))
    with pytest.raises(program["BundleError"]) as refused:
        program["check"](root)
    assert file_digest(root.parents[1] / "canary.wav")[:12] not in str(refused.value)
    return None


def manifest_place(root: Path, name: str) -> object:
    """Return whether a song counts as done whose line names another place."""
    return _standing(root, name, f"items/{name}/y")


def manifest_output(root: Path, name: str) -> object:
    """Return whether a song counts as done whose line names another file."""
    return _standing(root, "a", name)


def _standing(root: Path, place: str, output: str) -> object:
    song = root / "a.wav"
    song.write_text("la")
    entry = Entry("a.wav", "done", file_digest(song), place, {output: _digest_of_canary(root)})
    (root / "manifest.jsonl").write_bytes(sealed.sealed(entry) + b"\n")
    (found,) = standings([Source("a.wav", song)], Manifest(root / "manifest.jsonl"))
    assert found.state != "done"
    assert (root / "items" / found.place).resolve().is_relative_to(root.resolve())
    return found


def store_path(root: Path, name: str) -> object:
    """Return what a store finds whose record names another main file."""
    return _found(root, path=name)


def store_folder(root: Path, name: str) -> object:
    """Return what a store finds whose record names another folder."""
    return _found(root, folder=name)


def _found(root: Path, **changes: str) -> object:
    store = Store(root)
    kept = Path(put(store).folder)
    name = f"graph/{kept.parent.name}"
    artifact = Artifact("", "a.txt", "text", "fp32", folder_digest(kept), 7)
    described = Description(name, replace(artifact, **changes))  # type: ignore[arg-type]  # text
    (kept.parent / "artifact.json").write_bytes(sealed.sealed(described))
    found = Store(root).find("graph", FINGERPRINT)
    if found is not None:
        assert Path(found.path).resolve().is_relative_to(root.resolve())
        return Path(found.path).read_text()
    return None


def remote_file(root: Path, name: str) -> object:
    """Fetch an entry at a URL whose record names other files."""
    return _fetched(root, files=(name,), path=name)


def remote_attempt(root: Path, name: str) -> object:
    """Fetch an entry at a URL whose record names another attempt."""
    return _fetched(root, attempt=name)


class _Remote:
    """A store at a URL that has every object, and gives each the same content."""

    url = "memory://store"

    def __init__(self, record: Record) -> None:
        self.record = sealed.sealed(record)

    def read(self, name: str) -> bytes:
        return (
            self.record
            if name.endswith("artifact.json")
            else sealed.sealed({"layout": 1, "id": "x"})
        )

    def fetch(self, files: dict[str, Path]) -> bool:
        for file in files.values():
            file.write_text("stranger")
        return True


def _fetched(
    root: Path, *, attempt: str = "1", files: tuple[str, ...] = ("a",), path: str = "a"
) -> object:
    fingerprint = canonical(FINGERPRINT)
    name = f"graph/{key_of(fingerprint)}"
    artifact = Artifact("", path, "text", "fp32", "0" * 64, 8)
    record = Record(name, attempt, "2026-01-01", files, artifact, fingerprint.decode())
    entries = Entries(_Remote(record))  # type: ignore[arg-type]  # all that is asked of one
    entry = entries.read(name)
    assert entry is not None
    return entries.fetch(entry, root)


def saved_json(root: Path, name: str) -> object:
    """Place what a run saved, whose list names other files."""
    folder = root / "cached"
    folder.mkdir()
    (folder / "saved.json").write_bytes(msgspec.json.encode([SavedFile(name, "x", "y")]))
    artifact = Artifact(str(folder), str(folder / "saved.json"), "files", "fp32", "", 0)
    return place_saved(artifact, root / "run")


def sweep_record(root: Path, name: str) -> object:
    """Look for a point of a sweep whose record is that of another."""
    (root / "points").mkdir()
    record = sweep._Record(name, PointResult("done", placed=True))
    (root / "points" / "key.json").write_bytes(sealed.sealed(record))
    found = sweep.found(root, "key", "point")
    assert found is None
    return found


def hub_ledger(root: Path, name: str) -> object:
    """Write an entry again whose note has another name."""
    book = ledger.Ledger(root)
    (root / "job.json").write_bytes(sealed.sealed(ledger.Entry(name, "id")))
    entry = book.read("job")
    book.write(entry)
    assert entry == ledger.Entry("job")
    return entry


def hub_archive(root: Path, name: str) -> object:
    """Unpack a model that a service sent, with a file of another name beside it."""
    archive = root / "got.zip"
    with zipfile.ZipFile(archive, "w") as packed, contextlib.suppress(ValueError, IndexError):
        packed.writestr("model.onnx", "x")
        packed.writestr(name, "stranger")
    return results._unpacked(archive, root / "unpacked")


def hub_list(_: Path, name: str) -> object:
    """Read the list of models that comes with pretrained weights; its name becomes a file's."""
    told = _only("htdemucs", {"models": [name]})
    raise AssertionError(f"{told!r} was taken")


def bundle_metadata(root: Path, name: str) -> object:
    """Open the model that `metadata.json` of a bundle names."""
    return runpy.run_path(str(CPU))["inside"](root, name)


def bundle_label(root: Path, name: str) -> object:
    """Write stems on a device whose labels come from the model."""
    spec = {"name": "y", "axes": ["stem", "channel", "time"], "rates": {"time": 8000}}
    outputs = {"signature": {"outputs": [{**spec, "labels": {"stem": [name, "mix", "MIX"]}}]}}
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(OWN)
        write = runpy.run_path(str(MEDIUM))["write"]
    write(root, {"y": np.zeros((3, 1, 4), np.float32)}, outputs)
    assert len(list(root.glob("*.wav"))) == 3
    return None


def stem_label(root: Path, name: str) -> object:
    """Write stems whose labels come from the model, of an item whose name comes from a file."""
    dataset = Files(FilesOptions(str(root)))
    dataset._looked_at = {"one": root / "a", "two": root / "b"}, []
    signature = _signature(name, "mixture", "Mixture")
    item = Item("one", name, {"x": np.zeros((2, 4), np.float32)})
    saved = dataset.save(item, {"y": np.zeros((3, 2, 4), np.float32)}, signature, root)
    assert len({one.path.casefold() for one in saved}) == 4
    assert all((root / one.path).is_file() for one in saved)
    return saved


def musdb_label(root: Path, name: str) -> object:
    """Read true stems whose labels come from the model."""
    song = root / "test" / "song"
    song.mkdir(parents=True)
    soundfile.write(song / "mixture.wav", np.zeros((4, 2), np.float32), 8000)
    (item,) = Musdb(MusdbOptions(str(root))).items("evaluation", _signature(name))
    assert item.references == {}
    return item


def _signature(*labels: str) -> Signature:
    rates = {"time": 8000.0}
    return Signature(
        (TensorSpec("x", ("channel", "time"), (2, "time"), rates=rates),),
        (TensorSpec("y", ("stem", "channel", "time"), (len(labels), 2, "time"), rates=rates,
                    labels={"stem": labels}),),
    )  # fmt: skip


READERS: tuple[Reader, ...] = (
    manifest_place, manifest_output, store_path, store_folder, remote_file, remote_attempt,
    saved_json, sweep_record, hub_ledger, hub_archive, hub_list, bundle_metadata, bundle_label,
    stem_label, musdb_label, bundle_sums,
)  # fmt: skip
#: Where a link is no path of theirs: they take the last part of a name, or make a name of it.
ANY_NAME = (hub_list, remote_attempt)


def _digest_of_canary(root: Path) -> str:
    return file_digest(root.parents[1] / "canary.wav")


def _seen(folder: Path, but: Path) -> dict[str, bytes]:
    """Return all that lies below a folder, apart from another one."""
    return {
        str(path): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
        if but not in path.parents
    }


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_nothing_outside_is_touched(reader: Reader, tmp_path: Path) -> None:
    """Each hostile path ends in an error or reads as absent; no canary is changed."""
    (tmp_path / "canary.wav").write_text(MARK)
    canary = tmp_path / "canary"
    for name in ("canary", "x", "y", "model.onnx", "x.wav"):
        (tmp_path / "canary" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "canary" / name).write_text(MARK)
    links = () if reader in ANY_NAME else ("out/x", "out")
    for number, name in enumerate((*HOSTILE, f"{canary}/x", f"{canary}", *links)):
        root = tmp_path / f"{number}" / "room"
        root.mkdir(parents=True)
        (tmp_path / f"{number}" / "canary").symlink_to(canary)
        if name in links:
            (root / "out").symlink_to(canary)
        before = _seen(tmp_path, root)
        answer: Any = None
        try:
            answer = reader(root, name)
        except Refusals as refused:
            code = getattr(refused, "exit_code", getattr(refused, "code", 1))
            assert code, f"{name!r} ends with exit code 0"
        assert MARK not in repr(answer), f"{name!r} was read"
        assert _seen(tmp_path, root) == before, f"{name!r} touched what is outside"
