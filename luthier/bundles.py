"""Opens a bundle as its own programs do: its graphs in ONNX Runtime, its windows by its numbers."""

from __future__ import annotations

import importlib.util
import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from core.errors import InputError
from core.formats.onnx_session import session_options
from core.machine.paths import below
from core.plugin.values import Array, Signature, Tensors
from core.store.hashing import file_digest
from luthier.opened import Opened

if TYPE_CHECKING:
    from core.plugin.progress import Progress

__all__ = ["METADATA", "opened_bundle"]

METADATA = "metadata.json"
#: The format of `metadata.json` that is read here.
FORMAT = 1
#: Characters of a `metadata.json`: far more than Luthier writes.
LARGEST = 64 * 2**20


class _File(msgspec.Struct):
    """A graph, as the metadata describes it."""

    file: str
    format: str = "onnx"


class _Hashed(msgspec.Struct):
    sha256: str


class _Plugin(msgspec.Struct):
    plugin: str


class _Tensors(msgspec.Struct):
    """The names of the graphs' tensors, by those of the signature."""

    inputs: dict[str, str]
    outputs: dict[str, str]


class _About(msgspec.Struct):
    """What is read of `metadata.json`; docs/bundle.md describes it."""

    format: int
    model: _File
    runtime: _Plugin
    signature: Signature
    chunking: _Plugin
    files: dict[str, _Hashed]
    fallback: _File | None = None
    host_graphs: dict[str, _File] | None = None
    tensors: _Tensors | None = None


def opened_bundle(folder: Path) -> Opened:
    """Open a bundle on the CPU; raises InputError where a file of it is missing or was changed."""
    about, whole = _metadata(folder)
    _check_files(folder, about)
    native = about.runtime.plugin == "onnxruntime" and about.model.format == "onnx"
    graph = about.model if native else about.fallback
    if graph is None or graph.format != "onnx" or about.tensors is None:
        raise InputError(
            "the bundle has no graph that ONNX Runtime opens on a CPU",
            f"at: {folder}",
            "open the run that made it: its folder is the one above",
        )
    files, host = [graph], about.host_graphs or {}
    if host:
        files = [host["forward"], graph, host["inverse"]]
    sessions = [_session(below(folder, one.file, str(folder / METADATA))) for one in files]
    join = _program(about.chunking.plugin)
    named, batch = about.tensors, not host

    def window(inputs: Tensors) -> Tensors:
        values = {named.inputs[n]: a[None] if batch else a for n, a in inputs.items()}
        for session in sessions:
            feeds = {one.name: values[one.name] for one in session.get_inputs()}
            names = [one.name for one in session.get_outputs()]
            values |= dict(zip(names, _run(session, names, feeds), strict=True))
        found = {name: values[tensor] for name, tensor in named.outputs.items()}
        return {name: array[0] if batch else array for name, array in found.items()}

    def play(inputs: Tensors, _: Progress) -> Tensors:
        try:
            made: Tensors = join.play(inputs, whole, window)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InputError(
                f"the numbers in `{METADATA}` do not fit its graphs: {error!r}", f"at: {folder}"
            ) from error
        return made

    return Opened(about.signature, "CPU (ONNX Runtime)", play, ExitStack())


def _metadata(folder: Path) -> tuple[_About, dict[str, Any]]:
    file = folder / METADATA
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read(LARGEST)
        whole: dict[str, Any] = json.loads(text)
        number = whole["format"]
        about = msgspec.convert(whole, _About) if number == FORMAT else None
        if about is not None and about.host_graphs:
            _ = about.host_graphs["forward"], about.host_graphs["inverse"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"`{METADATA}` of the bundle cannot be read: {error}",
            f"at: {file}",
            "take the bundle from its run again",
        ) from error
    if about is None:
        raise InputError(
            f"the bundle has format {number}, and this version reads {FORMAT}",
            f"at: {folder}",
            "make it again with this version: run its recipe",
        )
    return about, whole


def _check_files(folder: Path, about: _About) -> None:
    for name, noted in about.files.items():
        file = below(folder, name, str(folder / METADATA))
        if not file.is_file():
            wrong = "is missing"
        elif file_digest(file) != noted.sha256:
            wrong = "was changed"
        else:
            continue
        raise InputError(
            f"`{name}` of the bundle {wrong}", f"at: {file}", "take the bundle from its run again"
        )


def _session(file: Path) -> Any:
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(
            str(file), session_options(), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime raises classes of its own without a common one
        raise InputError(
            f"ONNX Runtime does not open `{file.name}`: {str(error).splitlines()[0]}",
            f"at: {file}",
        ) from error


def _run(session: Any, names: list[str], feeds: Tensors) -> list[Array]:
    try:
        made: list[Array] = session.run(names, feeds)
    except Exception as error:  # ONNX Runtime raises classes of its own without a common one
        given = ", ".join(f"{name} {array.shape}" for name, array in feeds.items())
        raise InputError(
            f"ONNX Runtime cannot run the graph on these inputs: {str(error).splitlines()[0]}",
            f"given: {given}, the batch included",
        ) from error
    return made


def _program(chunker: str) -> Any:
    """Return the module that cuts and joins, from this installation: a bundle's code is not run."""
    from plugins.chunker._on_device import sources

    try:
        file = sources(chunker)["python/join.py"]
    except (OSError, KeyError) as error:
        raise InputError(
            f"nothing here joins the windows of chunker `{chunker}`",
            "open the run that made the bundle: its folder is the one above",
        ) from error
    spec = importlib.util.spec_from_file_location(f"_luthier_join_{chunker}", file)
    assert spec is not None, "a file of this installation"
    assert spec.loader is not None, "a file of this installation"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
