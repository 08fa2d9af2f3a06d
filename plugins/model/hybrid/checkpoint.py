"""Reads and writes HTDemucs checkpoints without running anything that they contain.

Three formats are read: ours and that of demucs's hub models (safetensors, with the constructor's
arguments as JSON in the metadata), and demucs's own `.th` (a pickle), which goes through torch's
restricted unpickler: tensors, numbers, `Fraction` and the class name `HTDemucs`, nothing else.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import InputError
from plugins.model.hybrid import pickled

if TYPE_CHECKING:
    from demucs.htdemucs import HTDemucs
    from torch import Tensor

__all__ = ["Checkpoint", "build", "check_file", "read", "write"]

FORMAT = "luthier-htdemucs"
#: The one metadata entry of our format: a JSON object with sorted keys.
ENTRY = "luthier"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds: the constructor's arguments, the weights, the licence if stated."""

    kwargs: dict[str, Any]
    state: dict[str, Tensor]
    licence: str = ""


def check_file(path: Path) -> None:
    """Raise InputError where `path` is no file."""
    if path.is_file():
        return
    what = "does not exist"
    if path.exists():
        what = "is a folder" if path.is_dir() else "is neither a file nor a folder"
    raise InputError(
        f"checkpoint `{path}` {what}",
        "give a file, or one of: model.weights=pretrained, bundled, random",
    )


def read(path: Path) -> Checkpoint:
    """Read a checkpoint by its ending; raises InputError for what is damaged, foreign or unsafe."""
    check_file(path)
    if path.stat().st_size == 0:
        raise InputError(f"checkpoint `{path}` is empty")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_th(path)


def _read_safetensors(path: Path) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"checkpoint `{path}` is damaged or truncated", str(error), "fetch or copy it again"
        ) from error
    # Ours is one entry: safetensors writes several in the order of a hash map, which differs from
    # one process to the next. demucs's hub and the first files of ours have one per value.
    if ENTRY in metadata:
        metadata = _object(path, metadata[ENTRY])
    klass = metadata.get("class", metadata.get("klass", ""))
    if klass.rpartition(".")[2] != "HTDemucs" or "kwargs" not in metadata:
        raise InputError(
            f"checkpoint `{path}` is no HTDemucs: its metadata names `{klass or 'no class'}`",
            "a checkpoint holds `class` and `kwargs` (the constructor's arguments as JSON)",
        )
    if "structure" in metadata:
        raise InputError(
            f"checkpoint `{path}` is packed by DiffQ", "choose one that is not quantised"
        )
    kwargs = _decoded(_object(path, metadata["kwargs"]))
    positional = _decoded(_json(path, metadata.get("args", "[]")))
    return Checkpoint(_named(positional, kwargs), state, metadata.get("licence", ""))


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError) as error:
        raise InputError(f"checkpoint `{path}`: its metadata is not JSON", str(error)) from error


def _object(path: Path, text: str) -> dict[str, Any]:
    value = _json(path, text)
    if not isinstance(value, dict):
        raise InputError(f"checkpoint `{path}`: its metadata is no JSON object", text[:80])
    return value


def _decoded(value: Any) -> Any:
    """Undo the JSON encoding of a Fraction, as demucs's hub models write it."""
    if isinstance(value, dict):
        if value.get("_type") == "fraction":
            return Fraction(value["numerator"], value["denominator"])
        return {key: _decoded(item) for key, item in value.items()}
    return [_decoded(item) for item in value] if isinstance(value, list) else value


def _read_th(path: Path) -> Checkpoint:
    """Read demucs's own format."""
    package = pickled.load(path)
    if package["state"].get("__quantized"):
        raise InputError(
            f"checkpoint `{path}` is packed by DiffQ", "choose one that is not quantised"
        )
    return Checkpoint(_named(list(package["args"]), dict(package["kwargs"])), package["state"])


def _named(args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return every argument by its name, without those that this demucs no longer has."""
    from demucs.htdemucs import HTDemucs

    names = list(inspect.signature(HTDemucs.__init__).parameters)[1:]
    known = {**dict(zip(names, args, strict=False)), **kwargs}
    if isinstance(known.get("segment"), str):
        known["segment"] = Fraction(known["segment"])
    return {name: value for name, value in known.items() if name in names}


def build(checkpoint: Checkpoint, path: Path) -> HTDemucs:
    """Make the network and fill it; raises InputError when the weights belong to another one."""
    from demucs.htdemucs import HTDemucs

    try:
        model: HTDemucs = HTDemucs(**checkpoint.kwargs)
        model.load_state_dict(checkpoint.state)
    except (TypeError, ValueError, AssertionError, RuntimeError, KeyError) as error:
        lines = str(error).splitlines()
        raise InputError(
            f"checkpoint `{path}` belongs to another architecture",
            *(line.strip() for line in lines[:4]),
            "its weights must fit the constructor's arguments that it holds",
        ) from error
    # A chunk keeps its own length, as on the device, instead of being padded to the segment.
    model.use_train_segment = False
    model.eval()
    return model


def write(checkpoint: Checkpoint, path: Path) -> None:
    """Write our format: weights as they are, the rest as JSON; equal checkpoints, equal bytes."""
    from safetensors.torch import save_file

    def encode(value: object) -> object:
        if isinstance(value, Fraction):
            return {
                "_type": "fraction",
                "numerator": value.numerator,
                "denominator": value.denominator,
            }
        raise TypeError(f"an argument of HTDemucs is a {type(value).__name__}")

    entry = {
        "format": FORMAT,
        "class": "HTDemucs",
        "kwargs": json.dumps(checkpoint.kwargs, default=encode, sort_keys=True),
        "licence": checkpoint.licence,
    }
    save_file(
        {key: tensor.contiguous() for key, tensor in checkpoint.state.items()},
        path,
        {ENTRY: json.dumps(entry, sort_keys=True)},
    )
