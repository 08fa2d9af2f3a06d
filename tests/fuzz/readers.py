"""Every reader of a file that a stranger may have made, with a valid file to begin from.

    for reader in READERS:
        true = reader.true(folder)          # the bytes of a valid file, made once
        reader.read(file, content)          # reads a file; may raise

A reader may succeed, or raise one of `reader.allowed`: a message for a person.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from core.errors import LuthierError

__all__ = ["READERS", "Reader", "judged"]

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Reader:
    """One reader: its subject, the name of its file, a valid file, and the reading function.

    `words` are the words for damage to this kind of file, beside the words for all kinds.
    """

    name: str
    file: str
    true: Callable[[Path], bytes]
    read: Callable[[Path, bytes], None]
    allowed: tuple[type[Exception], ...] = (LuthierError,)
    words: tuple[bytes, ...] = ()


def judged(reader: Reader, folder: Path, content: bytes) -> str:
    """Read `content` in `folder`; returns the fault of the reading, or an empty text."""
    file = folder / reader.file
    before = {path.name for path in folder.parent.iterdir()}
    try:
        reader.read(file, content)
    except reader.allowed as error:
        if "Traceback" in str(error):
            return f"a traceback in a message: {error}"[:300]
    except BaseException as error:
        return f"{type(error).__name__}: {error}"[:300]
    if (folder / "RAN").exists() or {path.name for path in folder.parent.iterdir()} != before:
        return "something was written that was to be read only"
    return ""


def _recipe(_: Path) -> bytes:
    text = (ROOT / "recipes" / "s24_int8.yaml").read_bytes()
    return text + b"contract: {max_sdr_drop_db: 0.1}\nladder: [int8, fp16]\nmeasure: {}\n"


def _read_recipe(file: Path, content: bytes) -> None:
    from core.config.recipes import read_recipes

    file.write_bytes(content)
    read_recipes([], [str(file)])


def _lock(_: Path) -> bytes:
    return b"""\
# Reproduces this run: python -m core recipe=recipe.lock.yaml
# weights sha256: 302d66dada8b7b08444638210c819a97cc76055eb4754691031978fd855fa5d5
title: a toy
model: {plugin: htdemucs, weights: bundled, name: htdemucs, fallback: bundled, layout: plain}
dataset: {plugin: synthetic, seed: 0, count: 1, seconds: 24.0}
exporter: {plugin: onnx}
graph:
  onnxsim: {}
dsp: {plugin: stft}
chunker: {plugin: overlap_add, length: 44100, overlap: 0.25}
runtime: {plugin: onnxruntime}
evaluator:
  separation: {}
measure:
  budget_windows: 3
  probe_windows: 2
"""


def _manifest(folder: Path) -> bytes:
    from core.batch.manifest import Entry, Manifest

    file = folder / "true.jsonl"
    with Manifest(file) as manifest:
        for name in ("a.line", "b/c.line"):
            place = name.partition(".")[0]
            manifest.add(Entry(name, "done", "0" * 64, place, {f"items/{place}/y.txt": "1" * 64}))
    content = file.read_bytes()
    file.unlink()
    return content


def _read_manifest(file: Path, content: bytes) -> None:
    from core.batch.manifest import Manifest

    file.write_bytes(content)
    for entry in Manifest(file).entries.values():
        # A line that the manifest accepts is one of the two written lines.
        assert entry.place in ("a", "b/c"), entry


def _song(ending: str) -> Callable[[Path], bytes]:
    def true(_: Path) -> bytes:
        import numpy as np
        import soundfile

        file = io.BytesIO()
        tone = 0.1 * np.sin(np.arange(2000) / 20)
        soundfile.write(file, np.stack([tone, tone], 1), 44100, format=ending)
        return file.getvalue()

    return true


def _read_song(file: Path, content: bytes) -> None:
    from plugins.dataset._audio import libav
    from plugins.dataset._audio.reading import check, read

    file.write_bytes(content)
    # FFmpeg's libraries would take a process for each file; the hostile songs are for them.
    with mock.patch.object(libav, "installed", return_value=False):
        check(file, 1.0)
        read(file, 1.0)


def _checkpoint(folder: Path) -> bytes:
    import torch

    from plugins.model._hybrid.checkpoint import Checkpoint, write

    file = folder / "true.safetensors"
    write(Checkpoint({"sources": ["a"], "depth": 2}, {"w": torch.zeros(4)}), file)
    content = file.read_bytes()
    file.unlink()
    return content


def _read_checkpoint(file: Path, content: bytes) -> None:
    from plugins.model._hybrid import checkpoint

    file.write_bytes(content)
    checkpoint.read(file)


def _graph(_: Path) -> bytes:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = helper.make_model(helper.make_graph([node], "g", [x], [y], [weight]))
    return onnx.ModelProto.SerializeToString(model)


def _read_graph(file: Path, content: bytes) -> None:
    from core.formats.onnx_bounds import checked

    file.write_bytes(content)
    checked(file)


def _entry(folder: Path) -> bytes:
    """Return the bytes of the description of a store's entry."""
    from core.store.entry import DESCRIPTION

    (file,) = _kept(folder).rglob(DESCRIPTION)
    return file.read_bytes()


def _kept(folder: Path) -> Path:
    """Return a store with one entry, which is made once in a folder."""
    from core import Artifact
    from core.store.hashing import folder_digest
    from core.store.local import Store

    root = folder / "store"
    if not root.is_dir():
        store = Store(root)
        with store.staging() as staged:
            (staged / "a.txt").write_text("content")
            whole = folder_digest(staged)
            artifact = Artifact(str(staged), str(staged / "a.txt"), "text", "fp32", whole, 7)
            store.keep("graph", FINGERPRINT, artifact)
    return root


FINGERPRINT = {"plugin": "graph `x`"}


def _read_entry(file: Path, content: bytes) -> None:
    from core.store.entry import DESCRIPTION
    from core.store.local import Store

    root = _kept(file.parent)
    (described,) = root.rglob(DESCRIPTION)
    whole = described.read_bytes()
    try:
        described.write_bytes(content)
        found = Store(root).find("graph", FINGERPRINT)
        # An entry that the store accepts is the entry that was kept.
        assert found is None or content.strip() == whole.strip() or found.sha256 in whole.decode()
    finally:
        described.write_bytes(whole)


READERS = (
    Reader(
        "recipes", "toy.yaml", _recipe, _read_recipe,
        words=(b"plugin: ", b"defaults: [", b"!!python/object/apply:os.system [x]", b"hydra: {}",
               b"store: /tmp/x", b"@hydra.run", b"/../..", b"\xef\xbc\x9a", b"? [a]\n: b\n"),
    ),
    Reader("lock files", "recipe.lock.yaml", _lock, _read_recipe, words=(b"${a.b}", b"plugin: {")),
    Reader("manifests", "manifest.jsonl", _manifest, _read_manifest, words=(b'"place":"../x"',)),
    Reader("songs in WAV", "a.wav", _song("WAV"), _read_song, words=(b"fmt ", b"data", b"LIST")),
    Reader("songs in FLAC", "a.flac", _song("FLAC"), _read_song, words=(b"fLaC", b"\xff\xf8")),
    Reader("songs in OGG", "a.ogg", _song("OGG"), _read_song, words=(b"OggS", b"vorbis")),
    Reader("songs in MP3", "a.mp3", _song("MP3"), _read_song, words=(b"ID3", b"\xff\xfb", b"Xing")),
    Reader(
        "checkpoints", "a.safetensors", _checkpoint, _read_checkpoint,
        words=(b'"shape":[99999999999,9]', b'"depth": 1000000', b'"data_offsets":[0,9]', b'"BF16"'),
    ),
    Reader("ONNX files", "a.onnx", _graph, _read_graph, words=(b"location", b"\x0a", b"\x70\x01")),
    Reader("store entries", "entry", _entry, _read_entry, words=(b'"path":"../x"', b'"sha256":""')),
)  # fmt: skip
