"""Files under a digest: JSON that is written with its own SHA-256 and read only if that matches.

    {"sha256":"9f86…","content":{…}}

The digest is over the bytes of `content` as they stand there. Disks flip bits, copies are cut short
and files are edited by hand: a reader of plain JSON notices none of it. Every content also names
what it belongs to, so that two whole files that were swapped are noticed.
"""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from core.machine.whole_file import write_whole
from core.text.shown import plain, shown_below

__all__ = ["DamagedError", "read_plain", "read_sealed", "sealed", "unsealed", "write_sealed"]

T = TypeVar("T")


class DamagedError(ValueError):
    """A sealed file that is not as it was written; says in a few words what is wrong."""


class _Sealed(msgspec.Struct, forbid_unknown_fields=True):
    sha256: str
    content: msgspec.Raw


def sealed(value: Any) -> bytes:
    """Return `value`, anything that msgspec encodes, as one line of JSON under its digest.

    Bytes of a file's name that are no text are spelt out: JSON cannot hold them.
    """
    try:
        content = msgspec.json.encode(value)
    except UnicodeEncodeError:
        content = msgspec.json.encode(shown_below(msgspec.to_builtins(value), _as_text))
    return msgspec.json.encode(_Sealed(hashlib.sha256(content).hexdigest(), msgspec.Raw(content)))


def unsealed(data: bytes, kind: type[T]) -> T:
    """Return the value of type `kind` in `data`; raises DamagedError where it is not as written."""
    try:
        found = msgspec.json.decode(data, type=_Sealed)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedError(f"no sealed file: {error}") from error
    content = bytes(found.content)
    # The digest covers the content alone: everything around it must be exactly as written.
    if data != b'{"sha256":"%s","content":%s}' % (found.sha256.encode(), content):
        raise DamagedError("it does not have the form of a sealed file")
    if hashlib.sha256(content).hexdigest() != found.sha256:
        raise DamagedError("its content does not have the digest that it was written with")
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedError(f"its content is of another kind: {error}") from error


def write_sealed(file: Path, value: Any, *, durable: bool = False) -> None:
    """Write a sealed file so that a reader finds the old one or the new one; raises OSError.

    A `durable` one is on the disk on return: a power cut takes neither it nor its name.
    """
    write_whole(file, sealed(value), durable=durable)


def read_sealed(file: Path, kind: type[T]) -> T:
    """Return the value in a sealed file; raises FileNotFoundError, else DamagedError."""
    return unsealed(read_plain(file), kind)


def read_plain(file: Path) -> bytes:
    """Return what a file holds; raises FileNotFoundError, and DamagedError for what is no file.

    A link leads elsewhere, and opening a pipe waits for ever.
    """
    try:
        if not stat.S_ISREG(file.lstat().st_mode):
            raise DamagedError(f"`{file.name}` is no file")
        return file.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise DamagedError(f"`{file.name}` cannot be read: {reason}") from error


def _as_text(value: str) -> str:
    """Return `plain` text in the place of text that holds surrogates; other text as it is."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return plain(value)
    return value
