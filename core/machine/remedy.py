"""What a person can do where the system refuses to write: advice for every kind of refusal."""

from __future__ import annotations

import errno
import re

__all__ = ["FULL", "NO_LOCKS", "is_full", "is_of_the_place", "remedy"]

#: Errors of a full disk, or of a user's full share of it.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: Errors of a file system that lacks locks, or another feature.
NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP})
_ADVICE = {
    "free some room": FULL,
    "get the right to write there": {errno.EACCES, errno.EPERM},
    "mount it for writing": {errno.EROFS},
    "find the program that removes it, and start again": {errno.ENOENT, errno.ESTALE},
    "move away the file or folder there": {
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.ENOTEMPTY,
        errno.ELOOP,
    },
    "give it a shorter name": {errno.ENAMETOOLONG},
    "give it a name without special characters": {errno.EILSEQ, errno.EINVAL},
    "close some files, or raise the limit (ulimit -n)": {errno.EMFILE, errno.ENFILE},
    "end the program that uses it": {errno.EBUSY, errno.ETXTBSY},
    "check the disk, or the network that it is on": {
        errno.EIO,
        errno.ENXIO,
        errno.ENODEV,
        errno.ENOTCONN,
        errno.EHOSTDOWN,
        errno.ETIMEDOUT,
    },
    "its file system lacks a needed feature, such as locks": NO_LOCKS,
}
# As Python writes the number, and Rust (safetensors).
_NUMBER = re.compile(r"\[Errno (\d+)\]|\(os error (\d+)\)")


def remedy(error: BaseException, other: str, *, instead: str = "choose another place") -> str:
    """Return a line that says what helps against `error`, or else `instead`: `other`.

    If a library reports the system's error in its own words, the number is read from them.
    """
    number = _number(error)
    first = next((advice for advice, numbers in _ADVICE.items() if number in numbers), None)
    return f"{first}, or {instead}: {other}" if first else f"{instead}: {other}"


def is_full(error: BaseException) -> bool:
    """Return whether `error` says that there is no room, even in a library's own words."""
    return _number(error) in FULL


def is_of_the_place(error: BaseException) -> bool:
    """Return whether `error` says that a disk is full, broken, gone or read-only."""
    return _number(error) in FULL | {errno.EROFS, errno.EIO, errno.ESTALE, errno.ENODEV}


def _number(error: BaseException) -> int | None:
    """Return the system's number for an error; None where it has none."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    said = _NUMBER.search(str(error))
    if said is not None:
        return int(said[1] or said[2])
    return errno.ENOSPC if "No space left" in str(error) else None
