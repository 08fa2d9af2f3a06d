"""Reads and writes HTDemucs checkpoints without running anything that they contain.

Three formats are read: ours and that of demucs's hub models (safetensors, with the constructor's
arguments as JSON in the metadata), and demucs's own `.th` (a pickle), which goes through torch's
restricted unpickler: tensors, numbers, `Fraction` and the class name `HTDemucs`, nothing else.

Every size in a file is checked against a range before memory is taken for it. A stranger's file is
still read in a process of its own (`foreign.py`), because third-party code reads it.
"""

from __future__ import annotations

import inspect
import json
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import InputError
from core.text.shown import plain
from plugins.model._hybrid import pickled
from plugins.model._hybrid.arguments import checked, fraction

if TYPE_CHECKING:
    from demucs.htdemucs import HTDemucs
    from torch import Tensor

__all__ = ["Checkpoint", "build", "check_file", "read", "write"]

FORMAT = "luthier-htdemucs"
#: The one metadata entry of our format: a JSON object with sorted keys.
ENTRY = "luthier"
#: Most bytes of a checkpoint: the released network takes 170 MB, one a hundred times larger fits.
LARGEST = 16 * 2**30
#: Bytes of a safetensors header, which names every tensor and holds the metadata; its own bound is
#: 100 MB. Tensors of a network within the declared ranges.
_LONGEST_HEADER = 8 * 2**20
_MOST_TENSORS = 20_000
#: Characters of the arguments as JSON, and of a licence.
_LONGEST_TEXT, _LONGEST_LICENCE = 100_000, 2_000


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds: the constructor's arguments, the weights, the licence if stated."""

    kwargs: dict[str, Any]
    state: dict[str, Tensor]
    licence: str = ""


def check_file(path: Path) -> None:
    """Raise InputError where `path` is no file, or a larger one than any network's."""
    if path.is_file():
        if (size := path.stat().st_size) > LARGEST:
            raise InputError(
                f"checkpoint `{path}` has {size / 1e9:,.0f} GB",
                f"possible: up to {LARGEST / 1e9:,.0f} GB",
                "give the file of one network",
            )
        return
    what = "does not exist"
    if path.exists():
        what = "is a folder" if path.is_dir() else "is neither a file nor a folder"
    raise InputError(
        f"checkpoint `{path}` {what}",
        "give a file, or one of: model.weights=pretrained, bundled, random",
    )


def read(path: Path) -> Checkpoint:
    """Read a checkpoint by its extension; raises InputError if it is damaged, foreign or unsafe."""
    check_file(path)
    if path.stat().st_size == 0:
        raise InputError(f"checkpoint `{path}` is empty")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_th(path)


def _read_safetensors(path: Path) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    try:
        _check_header(path)
        with safe_open(str(path), framework="pt") as file:
            metadata: dict[str, Any] = dict(file.metadata() or {})
            kwargs, licence = _described(path, metadata)
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError, ValueError, MemoryError) as error:
        raise InputError(
            f"checkpoint `{path}` is damaged or truncated",
            str(error)[:200],
            "fetch or copy it again",
        ) from error
    _check_tensors(path, state)
    return Checkpoint(kwargs, state, licence)


def _check_header(path: Path) -> None:
    """Raise ValueError for a header that is longer than the file, or than any network's."""
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0  # noqa: PLR2004  # bytes
        if not 2 <= length <= min(_LONGEST_HEADER, path.stat().st_size - 8):  # noqa: PLR2004  # {}
            raise ValueError(f"its header says that it is {length:,} bytes long")
        tensors = file.read(length).count(b"data_offsets")
    if tensors > _MOST_TENSORS:
        raise ValueError(f"it holds {tensors:,} tensors; possible: {_MOST_TENSORS:,}")


def _described(path: Path, metadata: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the constructor's arguments, each within its range, and the licence."""
    # Ours is one entry: safetensors writes several in the order of a hash map, which differs from
    # one process to the next. demucs's hub and the first files of ours have one per value.
    if ENTRY in metadata:
        metadata = _object(path, metadata[ENTRY])
    klass = metadata.get("class", metadata.get("klass", ""))
    if not isinstance(klass, str) or klass.rpartition(".")[2] != "HTDemucs":
        raise InputError(
            f"checkpoint `{path}` is not an HTDemucs: "
            f"its metadata names `{str(klass)[:80] or 'no class'}`",
            "a checkpoint holds `class` and `kwargs` (the constructor's arguments as JSON)",
        )
    if "kwargs" not in metadata:
        raise InputError(
            f"checkpoint `{path}` is not an HTDemucs: its metadata holds no arguments",
            "a checkpoint holds `class` and `kwargs` (the constructor's arguments as JSON)",
        )
    if "structure" in metadata:
        raise InputError(
            f"checkpoint `{path}` is packed by DiffQ", "choose one that is not quantised"
        )
    kwargs = _object(path, metadata["kwargs"])
    positional = _json(path, metadata.get("args", "[]"))
    if not isinstance(positional, list):
        raise InputError(f"checkpoint `{path}`: its `args` are not a list", _again())
    licence = metadata.get("licence", "")
    told = plain(licence[:_LONGEST_LICENCE]) if isinstance(licence, str) else ""
    return _named(path, positional, kwargs), told


def _again() -> str:
    return "fetch or copy it again, or write it again with `safetensors`"


def _json(path: Path, text: Any) -> Any:
    """Return the value of a JSON text, its Fractions as such, as demucs's hub models write them."""
    try:
        if len(text) > _LONGEST_TEXT:
            raise ValueError(f"it is {len(text):,} characters long")  # noqa: TRY301  # one message
        return json.loads(text, object_hook=_decoded)
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"checkpoint `{path}`: its metadata is not JSON of a network's arguments",
            str(error)[:200],
            _again(),
        ) from error


def _object(path: Path, text: Any) -> dict[str, Any]:
    value = _json(path, text)
    if not isinstance(value, dict):
        raise InputError(f"checkpoint `{path}`: its metadata is not a JSON object", text[:80])
    return value


def _decoded(value: dict[str, Any]) -> Any:
    if value.get("_type") == "fraction":
        return fraction(value.get("numerator"), value.get("denominator"))
    return value


def _read_th(path: Path) -> Checkpoint:
    """Read demucs's own format."""
    package = pickled.load(path)
    state = package["state"]
    if state.get("__quantized"):
        raise InputError(
            f"checkpoint `{path}` is packed by DiffQ", "choose one that is not quantised"
        )
    _check_tensors(path, state)
    return Checkpoint(_named(path, list(package["args"]), package["kwargs"]), state)


def _check_tensors(path: Path, state: dict[Any, Any]) -> None:
    """Raise InputError for weights that are no plain tensors, or that claim more than there is.

    In a pickle a tensor is a view, so that one number can claim to be a trillion.
    """
    import torch

    for name, tensor in state.items():
        wrong = ""
        if not isinstance(name, str) or type(tensor) not in (torch.Tensor, torch.nn.Parameter):
            wrong = f"it is a {type(tensor).__name__}"
        elif tensor.layout is not torch.strided or tensor.device.type != "cpu":
            wrong = f"its layout is {tensor.layout}, on {tensor.device.type}"
        elif not tensor.dtype.is_floating_point:
            wrong = f"it is of {tensor.dtype}"
        elif tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            wrong = f"its shape needs {tensor.numel():,} numbers, but it has fewer"
        if wrong:
            raise InputError(
                f"checkpoint `{path}`: `{str(name)[:80]}` is not a tensor of weights",
                wrong,
                _again(),
            )


def _named(path: Path, args: list[Any], kwargs: dict[Any, Any]) -> dict[str, Any]:
    """Return every argument by its name, without those that this demucs no longer has.

    Raises InputError for an argument that is out of its range.
    """
    from demucs.htdemucs import HTDemucs

    names = list(inspect.signature(HTDemucs.__init__).parameters)[1:]
    known = {**dict(zip(names, args, strict=False)), **kwargs}
    try:
        return checked({name: value for name, value in known.items() if name in names})
    except ValueError as error:
        raise InputError(
            f"checkpoint `{path}` describes a network that cannot exist",
            str(error)[:400],
            "its description is damaged or malicious: fetch it again, or give another file",
        ) from error


def build(checkpoint: Checkpoint, path: Path) -> HTDemucs:
    """Make the network and fill it; raises InputError when the weights belong to another one.

    The network is described first, without memory for its weights, and then takes those of the
    checkpoint as they are: a description of more than the file holds costs nothing.
    """
    import torch
    from demucs.htdemucs import HTDemucs

    try:
        with torch.device("meta"):
            model: HTDemucs = HTDemucs(**checkpoint.kwargs)
        model.load_state_dict(checkpoint.state, assign=True)
        model.float()
    except Exception as error:  # demucs asserts, divides and allocates as its arguments say
        lines = str(error).splitlines() or [type(error).__name__]
        raise InputError(
            f"checkpoint `{path}` belongs to another architecture",
            *(line.strip()[:200] for line in lines[:4]),
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
