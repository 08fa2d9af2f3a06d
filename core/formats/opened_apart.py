"""Opens a stranger's file in a process of its own, with limits on its time and memory.

Readers of checkpoints and graphs are other people's code, and anybody may have made the file. A
module that reads such files runs as a program: it checks the file, and writes safe data from it.

    opened_apart(__name__, path, str(safe), noun="checkpoint", folder=work.folder, progress=...)

    if __name__ == "__main__":
        sys.exit(refusing(lambda path, safe: ...))     # called with the texts that were given

A LuthierError of the reader comes back as InputError, in the same words.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from core.errors import InputError, LuthierError
from core.machine.child_process import Limits, child_environment, python_child, run_watched

if TYPE_CHECKING:
    from core.machine.child_process import ChildEnd
    from core.plugin.progress import Progress

__all__ = ["limits_for", "opened_apart", "refusing"]

#: The limits for starting the process, which loads the reading libraries, and for each byte of the
#: file: the file, the data made from it, and the data written.
SECONDS, SECONDS_PER_BYTE = 120.0, 1e-7
MEMORY, MEMORY_PER_BYTE = 3 * 2**30, 8
#: The exit status of a process that has refused the file, and said why.
REFUSED = 3


class _Refusal(msgspec.Struct):
    what: str
    lines: list[str]


def limits_for(size: int) -> Limits:
    """Return the limits for opening a file of `size` bytes."""
    return Limits(SECONDS + size * SECONDS_PER_BYTE, MEMORY + size * MEMORY_PER_BYTE, hard=True)


def opened_apart(
    module: str,
    path: Path,
    *arguments: str,
    noun: str,
    folder: Path,
    progress: Progress,
    limits: Limits | None = None,
) -> None:
    """Run `module` on the file at `path`; `noun` says in messages what the file is meant to be.

    Raises InputError for a file that the reader refuses, and for one that takes more time or
    memory to open than `limits`; without `limits`, the file's size decides them.
    """
    limits = limits or limits_for(path.stat().st_size)
    said = folder / "refused.json"  # not named after the file, whose name may be of full length
    try:
        end = run_watched(
            python_child(module, str(said.absolute()), str(path.absolute()), *arguments),
            limits=limits,
            progress=lambda _, seconds: progress(seconds, 0, f"opening {path.name} apart"),
            environment=child_environment(),
            folder=folder,
        )
        if end.cause == "exit" and end.code == REFUSED and said.is_file():
            refusal = msgspec.json.decode(said.read_bytes(), type=_Refusal)
            raise InputError(refusal.what, *refusal.lines)
        if end.cause != "exit" or end.code != 0:
            raise InputError(
                f"{noun} `{path}` cannot be opened",
                _reason(end, limits),
                "it is damaged or malicious: fetch it again, or give another file",
            )
    finally:
        said.unlink(missing_ok=True)


def refusing(read: Callable[..., Any]) -> int:
    """Call `read` with the file and the other arguments; return the exit status of this process."""
    said, *arguments = sys.argv[1:]
    try:
        read(*arguments)
    except LuthierError as error:
        Path(said).write_bytes(msgspec.json.encode(_Refusal(error.what, list(error.lines))))
        return REFUSED
    return 0


def _reason(end: ChildEnd, limits: Limits) -> str:
    """Return in words how a process that opened nothing has ended."""
    if end.cause == "timeout":
        return f"it took more than {limits.seconds:.0f} s"
    if end.cause == "memory":
        return f"it took more than {(limits.memory_bytes or 0) / 1e9:.1f} GB of memory"
    last = end.tail.strip().splitlines()[-1:]
    return f"the process that read it ended with {end.code}" + "".join(f": {s[:200]}" for s in last)
