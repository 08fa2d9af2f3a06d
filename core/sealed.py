"""Files under a digest: JSON that is written down with its own SHA-256 and read only if it holds.

    {"sha256":"9f86…","content":{…}}

The digest is over the bytes of `content` as they stand there. Disks flip bits, copies are cut short
and files are edited by hand: none of it is noticed by a reader of plain JSON.
"""

from __future__ import annotations

import hashlib
from typing import Any, TypeVar

import msgspec

__all__ = ["DamagedError", "sealed", "unsealed"]

T = TypeVar("T")


class DamagedError(ValueError):
    """A sealed file that is not as it was written; says in a few words what is wrong."""


class _Sealed(msgspec.Struct, forbid_unknown_fields=True):
    sha256: str
    content: msgspec.Raw


def sealed(value: Any) -> bytes:
    """Return `value`, anything that msgspec encodes, as one line of JSON under its digest."""
    content = msgspec.json.encode(value)
    return msgspec.json.encode(_Sealed(hashlib.sha256(content).hexdigest(), msgspec.Raw(content)))


def unsealed(data: bytes, kind: type[T]) -> T:
    """Return the value of type `kind` in `data`; raises DamagedError where it is not as written."""
    try:
        found = msgspec.json.decode(data, type=_Sealed)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedError(f"no sealed file: {error}") from error
    content = bytes(found.content)
    if hashlib.sha256(content).hexdigest() != found.sha256:
        raise DamagedError("its content does not have the digest that it was written with")
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedError(f"its content is of another kind: {error}") from error
