"""Opens a stranger's checkpoint in a process of its own, with limits on its time and memory.

Readers of pickles and of safetensors are other people's code, and a file is made by anybody. The
child reads it, checks everything that it says, builds the network that it describes, and writes our
format; only that is read here. What the child refuses comes back as the error that it raised.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from core import InputError
from core.child_process import Limits, child_environment, python_child, run_watched

if TYPE_CHECKING:
    from core import Progress
    from core.child_process import ChildEnd
    from plugins.model.hybrid.checkpoint import Checkpoint

__all__ = ["opened"]

#: What a child takes to start (it loads torch and demucs), and what it may take for each of the
#: file's bytes: the file, its tensors, the network in full precision, and what it writes.
_SECONDS, _SECONDS_PER_BYTE = 120.0, 1e-7
_MEMORY, _MEMORY_PER_BYTE = 3 * 2**30, 8
REFUSED = 3


class _Refusal(msgspec.Struct):
    what: str
    lines: list[str]


def opened(path: Path, folder: Path, progress: Progress) -> Checkpoint:
    """Return what a checkpoint holds, through a file in `folder`, which is removed again.

    Raises InputError for one that is damaged, foreign or unsafe, or that takes more time or memory
    to open than its size explains.
    """
    from plugins.model.hybrid import checkpoint

    checkpoint.check_file(path)
    size = path.stat().st_size
    safe, said = folder / "opened.safetensors", folder / "opened.json"
    limits = Limits(_SECONDS + size * _SECONDS_PER_BYTE, _MEMORY + size * _MEMORY_PER_BYTE, True)
    try:
        end = run_watched(
            python_child(__name__, str(path.absolute()), str(safe), str(said)),
            limits=limits,
            progress=lambda _, seconds: progress(seconds, 0, f"opening {path.name} apart"),
            environment=child_environment(),
            folder=folder,
        )
        if end.cause == "exit" and end.code == REFUSED and said.is_file():
            refusal = msgspec.json.decode(said.read_bytes(), type=_Refusal)
            raise InputError(refusal.what, *refusal.lines)
        if end.cause != "exit" or end.code != 0 or not safe.is_file():
            raise InputError(
                f"checkpoint `{path}` cannot be opened",
                _reason(end, limits),
                "it is damaged, or made to do harm: fetch it again, or give another file",
            )
        return checkpoint.read(safe)
    finally:
        safe.unlink(missing_ok=True)
        said.unlink(missing_ok=True)


def _reason(end: ChildEnd, limits: Limits) -> str:
    """Return in words how a child ended that opened nothing."""
    if end.cause == "timeout":
        return f"it took more than {limits.seconds:.0f} s"
    if end.cause == "memory":
        return f"it took more than {(limits.memory_bytes or 0) / 1e9:.1f} GB of memory"
    last = end.tail.strip().splitlines()[-1:]
    return f"the process that read it ended with {end.code}" + "".join(f": {s[:200]}" for s in last)


def _child(path: Path, safe: Path, said: Path) -> int:
    """Read and check one checkpoint, and write it as ours; returns the exit status."""
    from plugins.model.hybrid import checkpoint

    try:
        found = checkpoint.read(path)
        checkpoint.build(found, path)
        checkpoint.write(found, safe)
    except InputError as error:
        said.write_bytes(msgspec.json.encode(_Refusal(error.what, list(error.lines))))
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(_child(*map(Path, sys.argv[1:])))
