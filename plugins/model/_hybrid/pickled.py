"""Reads demucs's own checkpoints, which are pickles, through torch's restricted unpickler."""

from __future__ import annotations

import warnings
import zipfile
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NoReturn

from core import InputError
from core.formats.torch_archive import check_stored
from plugins.model._hybrid.arguments import fraction

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["load"]

#: Entries of an archive, one for every tensor and a few more; and bytes of the pickle in it, which
#: holds names and shapes.
_MOST_ENTRIES = 20_000
_LONGEST_PICKLE = 64 * 2**20


def _klass(*_arguments: Any) -> NoReturn:
    """Stand in for the class `HTDemucs`, which a checkpoint names, and which no pickle may call.

    torch 2.13 calls every name that it is told is safe: with the class itself, a file could build a
    network of any size while it is read.
    """
    raise ValueError("it builds a network while it is read")


def _fraction(*arguments: Any) -> Fraction:
    """Stand in for `fractions.Fraction`, and refuse numbers that would take hours."""
    return fraction(*arguments)


def load(path: Path) -> dict[str, Any]:
    """Return the dict of `klass`, `args`, `kwargs` and `state`; raises InputError for any other."""
    import pickle

    import torch

    safe: list[Any] = [(_klass, "demucs.htdemucs.HTDemucs"), (_fraction, "fractions.Fraction")]
    try:
        _check_archive(path)
        with warnings.catch_warnings(), torch.serialization.safe_globals(safe):
            # torch warns of old pickle protocols, and then reads them or refuses them as it should.
            warnings.simplefilter("ignore", UserWarning)
            package = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = next((line for line in str(error).splitlines() if "GLOBAL" in line), "")
        raise InputError(
            f"checkpoint `{path}` holds more than weights, and was not loaded",
            reason.strip()[:200] or "it is damaged, or runs code when it is read",
            "convert it to safetensors where you trust it, or give another file",
        ) from error
    except Exception as error:  # a broken pickle fails in any way: KeyError, IndexError, ...
        raise InputError(
            f"checkpoint `{path}` is damaged or truncated, or of another format",
            f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}",
            "fetch or copy it again; readable: safetensors, and demucs's own `.th`",
        ) from error
    kinds: dict[str, Any] = {"args": (tuple, list), "kwargs": dict, "state": dict}
    if (
        not isinstance(package, dict)
        or not all(isinstance(package.get(key), kind) for key, kind in kinds.items())
        or package.get("klass") is not _klass
    ):
        raise InputError(
            f"checkpoint `{path}` is not an HTDemucs",
            "demucs's format is a dict of `klass`, `args`, `kwargs` and `state`",
        )
    return package


def _check_archive(path: Path) -> None:
    """Raise ValueError for an archive that torch did not write; old files are no archives."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        check_stored(archive, path, _MOST_ENTRIES)
        for entry in archive.infolist():
            if entry.filename.endswith("data.pkl") and entry.file_size > _LONGEST_PICKLE:
                raise ValueError(f"its description takes {entry.file_size:,} bytes")
