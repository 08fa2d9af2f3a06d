"""Reads demucs's own checkpoints, which are pickles, through torch's restricted unpickler."""

from __future__ import annotations

import warnings
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from core import InputError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["load"]


def load(path: Path) -> dict[str, Any]:
    """Return the dict of `klass`, `args`, `kwargs` and `state`; raises InputError for all else."""
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
    except Exception as error:  # what is no pickle fails in any way: KeyError, IndexError, ...
        raise InputError(
            f"checkpoint `{path}` is damaged or truncated, or of another format",
            f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
            "fetch or copy it again; readable: safetensors, and demucs's own `.th`",
        ) from error
    kinds: dict[str, Any] = {"klass": type, "args": (tuple, list), "kwargs": dict, "state": dict}
    if (
        not isinstance(package, dict)
        or not all(isinstance(package.get(key), kind) for key, kind in kinds.items())
        or package["klass"] is not HTDemucs
    ):
        raise InputError(
            f"checkpoint `{path}` is no HTDemucs",
            "demucs's format is a dict of `klass`, `args`, `kwargs` and `state`",
        )
    return package
