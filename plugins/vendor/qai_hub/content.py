"""Names that follow from content, so that nothing is uploaded or computed twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from core import Array
from core.store.hashing import digest, file_digest

__all__ = ["content_of", "job_name", "of_entries", "parts_of"]

#: Hexadecimal digits of a SHA-256 in a job's name: 96 bits, short enough to read on a page.
DIGITS = 24


def parts_of(path: Path) -> tuple[Path, ...]:
    """Return the files of a model: the graph, and its weights where they lie beside it."""
    beside = sorted(p for p in path.parent.iterdir() if p.suffix in (".data", ".bin") and p != path)
    return (path, *beside) if path.suffix == ".onnx" else (path,)


def content_of(path: Path) -> str:
    """Return the SHA-256 of a model's content, whatever its folder."""
    parts = parts_of(path)
    if len(parts) == 1:
        return file_digest(path)
    return digest([[part.name, file_digest(part)] for part in parts])


def of_entries(entries: Mapping[str, Sequence[Array]]) -> str:
    """Return the SHA-256 over names, shapes, types and values of a dataset, in order."""
    sha = hashlib.sha256()
    for name, arrays in entries.items():
        for array in arrays:
            head = [name, len(arrays), str(array.dtype), list(array.shape)]
            sha.update(json.dumps(head).encode())
            sha.update(array.tobytes())
    return sha.hexdigest()


def job_name(kind: str, content: Sequence[str]) -> str:
    """Return the name of the job that computes this: equal content, equal name."""
    return f"luthier-{kind}-{digest(list(content))[:DIGITS]}"
