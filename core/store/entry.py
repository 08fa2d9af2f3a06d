"""An entry of a store on a disk: how it is written, and how it is verified when it is read.

<step>/<key>/artifact.json     what it is and which entry it belongs to, under a digest
<step>/<key>/fingerprint.json  what it was made of: the key is `FORMAT` and the digest of this text
<step>/<key>/files/...         the files of the artifact; it has their digest
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.errors import PluginError
from core.plugin.values import Artifact
from core.store.hashing import verified_digest
from core.store.sealed import DamagedError, read_plain, read_sealed, sealed, unsealed

__all__ = [
    "DESCRIPTION",
    "FILES",
    "FINGERPRINT",
    "FORMAT",
    "Description",
    "described",
    "description_of",
    "is_of_this_format",
    "key_of",
    "moved_to",
    "verified",
    "whole",
]

#: The files of an entry.
DESCRIPTION, FINGERPRINT, FILES = "artifact.json", "fingerprint.json", "files"


#: The number of the format of an entry: of its files, and of the records in them. Every key begins
#: with it, so that entries of another format are other entries, which nobody looks for or reads.
FORMAT = 2


def key_of(fingerprint: bytes) -> str:
    """Return the key of the artifact made from `fingerprint`, given as its canonical text."""
    return f"{FORMAT}-{hashlib.sha256(fingerprint).hexdigest()[:32]}"


def is_of_this_format(key: str) -> bool:
    """Return whether this version reads an entry of that key."""
    return key.startswith(f"{FORMAT}-")


@dataclass(frozen=True)
class Description:
    """What `artifact.json` holds: `entry` is `<step>/<key>`, so that swapped files are noticed.

    The artifact's `folder` is empty and its `path` a name in the folder of files, so that a store
    can be moved.
    """

    entry: str
    artifact: Artifact


def whole(root: Path, name: str) -> Artifact | None:
    """Return the artifact of an entry, None where there is none; raises DamagedError."""
    seen = _seen(root, name)
    try:
        return verified(root, name) if seen is not None else None
    except DamagedError:
        if _seen(root, name) == seen:
            raise
    # Another process has put a whole entry in its place meanwhile.
    return verified(root, name) if _seen(root, name) is not None else None


def _seen(root: Path, name: str) -> int | None:
    """Return the inode of an entry's folder, which a later folder has not; None if absent."""
    try:
        return (root / name).lstat().st_ino
    except (FileNotFoundError, NotADirectoryError):
        return None


def verified(root: Path, name: str) -> Artifact:
    """Return the artifact of an entry as it is now; raises DamagedError."""
    artifact, _ = described(root, name)
    files = root / name / FILES
    try:
        if verified_digest(files) != artifact.sha256:
            raise DamagedError("its files are not those that were kept")
    except FileNotFoundError as error:
        raise DamagedError("its files are gone") from error
    except OSError as error:
        where = Path(error.filename or files).name
        reason = error.strerror or str(error)
        raise DamagedError(f"its files cannot be read: {where}: {reason}") from error
    moved = moved_to(files, artifact)
    if artifact.path not in {file.name for file in files.iterdir() if file.is_file()}:
        raise DamagedError("its main file is not among its files")
    return moved


def described(root: Path, name: str) -> tuple[Artifact, dict[str, Any]]:
    """Return the artifact and the fingerprint that an entry holds; raises DamagedError."""
    entry = root / name
    if entry.is_symlink() or not entry.is_dir():
        raise DamagedError("it is no folder")
    try:
        description = read_sealed(entry / DESCRIPTION, Description)
        fingerprint = read_plain(entry / FINGERPRINT)
    except FileNotFoundError as error:
        raise DamagedError(f"its {Path(error.filename).name} is gone") from error
    except DamagedError as error:
        raise DamagedError(f"its description: {error}") from error
    if description.entry != name:
        raise DamagedError(f"its description is that of {description.entry}")
    if key_of(fingerprint) != name.rpartition("/")[2]:
        raise DamagedError("its fingerprint does not give its key")
    return description.artifact, json.loads(fingerprint)


def description_of(description: Description, step: str, fingerprint: dict[str, Any]) -> bytes:
    """Return the text of `artifact.json`; raises PluginError if it could not be read back."""
    by = f"by: {fingerprint.get('plugin', step)}"
    artifact = description.artifact
    for name, value in (*artifact.facts.items(), *artifact.chosen_options.items()):
        if not _is_finite(value):
            # JSON has no such numbers: `null` would be read back.
            raise PluginError(
                f"step `{step}` returned a number that is not finite: {name}={value}",
                by,
                "facts and chosen options are texts, finite numbers, or lists and mappings of them",
            )
    try:
        content = sealed(description)
        unsealed(content, Description)
    except (TypeError, ValueError, OverflowError) as error:
        raise PluginError(
            f"step `{step}` returned a value that cannot be kept: {error}",
            by,
            "facts, notices and chosen options must be plain JSON values",
        ) from error
    return content


def _is_finite(value: object) -> bool:
    """Return whether every number in a JSON value is finite."""
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def moved_to(folder: Path, artifact: Artifact) -> Artifact:
    """Return an artifact whose files lie in `folder` now."""
    return replace(artifact, folder=str(folder), path=str(folder / Path(artifact.path).name))
