"""Reads and writes HTDemucs checkpoints without running anything that they contain.

Three formats are read: ours and that of demucs's hub models (safetensors, with the constructor's
arguments as JSON in the metadata), and demucs's own `.th` (a pickle), which goes through torch's
restricted unpickler: tensors, numbers, `Fraction` and the class name `HTDemucs`, nothing else.
"""

from __future__ import annotations

import inspect
import json
import warnings
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import InputError

if TYPE_CHECKING:
    from demucs.htdemucs import HTDemucs
    from torch import Tensor

__all__ = ["Checkpoint", "build", "read", "write"]

FORMAT = "luthier-htdemucs"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds: the constructor's arguments, the weights, the licence if stated."""

    kwargs: dict[str, Any]
    state: dict[str, Tensor]
    licence: str = ""


def read(path: Path) -> Checkpoint:
    """Read a checkpoint by its ending; raises InputError for what is damaged, foreign or unsafe."""
    if not path.is_file():
        raise InputError(
            f"checkpoint `{path}` does not exist",
            "give a file, or one of: model.weights=pretrained, bundled, random",
        )
    if path.stat().st_size == 0:
        raise InputError(f"checkpoint `{path}` is empty")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_th(path)


def _read_safetensors(path: Path) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # no mapping
    except SafetensorError as error:
        raise InputError(
            f"checkpoint `{path}` is damaged or truncated", str(error), "fetch or copy it again"
        ) from error
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
    kwargs = _decoded(_json(path, metadata["kwargs"]))
    positional = _decoded(_json(path, metadata.get("args", "[]")))
    return Checkpoint(_named(positional, kwargs), state, metadata.get("licence", ""))


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"checkpoint `{path}`: its metadata is not JSON", str(error)) from error


def _decoded(value: Any) -> Any:
    """Undo the JSON encoding of a Fraction, as demucs's hub models write it."""
    if isinstance(value, dict):
        if value.get("_type") == "fraction":
            return Fraction(value["numerator"], value["denominator"])
        return {key: _decoded(item) for key, item in value.items()}
    return [_decoded(item) for item in value] if isinstance(value, list) else value


def _read_th(path: Path) -> Checkpoint:
    """Read demucs's own format: a dict of `klass`, `args`, `kwargs` and `state`."""
    import pickle

    import torch
    from demucs.htdemucs import HTDemucs

    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([HTDemucs, Fraction]):
            # It warns of old pickle protocols, and then reads them or refuses them as it should.
            warnings.simplefilter("ignore", UserWarning)
            package = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = next((line for line in str(error).splitlines() if "GLOBAL" in line), "")
        raise InputError(
            f"checkpoint `{path}` holds more than weights, and was not loaded",
            reason.strip() or "it is damaged, or runs code when it is read",
            "convert it to safetensors where you trust it, or give another file",
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        raise InputError(
            f"checkpoint `{path}` is damaged or truncated",
            str(error).partition("\n")[0],
            "fetch or copy it again",
        ) from error
    if not isinstance(package, dict) or package.get("klass") is not HTDemucs:
        raise InputError(
            f"checkpoint `{path}` is no HTDemucs",
            "demucs's format is a dict of `klass`, `args`, `kwargs` and `state`",
        )
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
    """Write our format: weights as they are, arguments as JSON."""
    from safetensors.torch import save_file

    def encode(value: object) -> object:
        if isinstance(value, Fraction):
            return {
                "_type": "fraction",
                "numerator": value.numerator,
                "denominator": value.denominator,
            }
        raise TypeError(f"an argument of HTDemucs is a {type(value).__name__}")

    save_file(
        {key: tensor.contiguous() for key, tensor in checkpoint.state.items()},
        path,
        {
            "format": FORMAT,
            "class": "HTDemucs",
            "kwargs": json.dumps(checkpoint.kwargs, default=encode),
            "licence": checkpoint.licence,
        },
    )
