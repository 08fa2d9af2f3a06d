"""Opens a bundle as its own programs do: its graphs in ONNX Runtime, its windows by its numbers."""

from __future__ import annotations

import importlib.util
import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from core.errors import InputError
from core.machine.paths import below
from core.plugin.values import Signature, Tensors
from core.store.hashing import file_digest
from luthier.opened import METADATA, Opened

if TYPE_CHECKING:
    from core.plugin.progress import Progress

__all__ = ["opened_bundle"]

#: The format of `metadata.json` that is read here.
FORMAT = 1
LARGEST = 64 * 2**20


def opened_bundle(folder: Path) -> Opened:
    """Open a bundle on the CPU; raises InputError where a file of it is missing or was changed."""
    about = _metadata(folder)
    _check_files(folder, about)
    signature = msgspec.convert(about["signature"], Signature)
    shipped = [about["model"], about.get("fallback")]
    graph = next((one for one in shipped if one and one["format"] == "onnx"), None)
    compiled = about["runtime"]["plugin"] not in ("onnxruntime", "openvino")
    if compiled and about.get("fallback"):
        graph = about["fallback"]
    if graph is None or not about.get("tensors"):
        raise InputError(
            "the bundle has no graph that ONNX Runtime opens on a CPU",
            f"at: {folder}",
            "open the run that made it: its folder is the one above",
        )
    files = [graph["file"]]
    host = about.get("host_graphs") or {}
    if host:
        files = [host["forward"]["file"], *files, host["inverse"]["file"]]
    sessions = [_session(below(folder, name, str(folder / METADATA))) for name in files]
    join = _program(about["chunking"]["plugin"])
    named, batch = about["tensors"], not host

    def window(inputs: Tensors) -> Tensors:
        values = {named["inputs"][n]: a[None] if batch else a for n, a in inputs.items()}
        for session in sessions:
            feeds = {one.name: values[one.name] for one in session.get_inputs()}
            names = [one.name for one in session.get_outputs()]
            values |= dict(zip(names, session.run(names, feeds), strict=True))
        found = {name: values[tensor] for name, tensor in named["outputs"].items()}
        return {name: array[0] if batch else array for name, array in found.items()}

    def play(inputs: Tensors, _: Progress) -> Tensors:
        made: Tensors = join.play(inputs, about, window)
        return made

    return Opened(signature, "CPU (ONNX Runtime)", play, ExitStack())


def _metadata(folder: Path) -> dict[str, Any]:
    file = folder / METADATA
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError("it is larger than any that Luthier writes")
        about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        number = about["format"]
        _ = about["model"]["file"], about["signature"], about["chunking"]["plugin"], about["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"`{METADATA}` of the bundle cannot be read: {error}",
            f"at: {file}",
            "take the bundle from its run again",
        ) from error
    if number != FORMAT:
        raise InputError(
            f"the bundle has format {number}, and this version reads {FORMAT}",
            f"at: {folder}",
            "make it again with this version: run its recipe",
        )
    return about


def _check_files(folder: Path, about: dict[str, Any]) -> None:
    for name, noted in about["files"].items():
        file = below(folder, name, str(folder / METADATA))
        if not file.is_file():
            wrong = "is missing"
        elif file_digest(file) != noted["sha256"]:
            wrong = "was changed"
        else:
            continue
        raise InputError(
            f"`{name}` of the bundle {wrong}", f"at: {file}", "take the bundle from its run again"
        )


def _session(file: Path) -> Any:
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises classes of its own without a common one
        raise InputError(
            f"ONNX Runtime does not open `{file.name}`: {str(error).splitlines()[0]}",
            f"at: {file}",
        ) from error


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
