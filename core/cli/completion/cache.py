"""The vocabulary of completion, kept in the user's folder of caches.

Finding the plugins imports them, which takes a second; a TAB must not. The cache is good until a
file of the core or of a distribution with plugins changes, or something is installed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from core.cli.completion.vocabulary import Vocabulary
from core.machine.whole_file import write_whole

__all__ = ["vocabulary"]

#: The largest cache that is read; a real one has some 60 kB.
LARGEST = 8 * 2**20
#: The endings of the files that change what can be completed.
WATCHED = (".py", ".yaml", ".yml")
CORE = Path(__file__).parents[2]


def vocabulary() -> Vocabulary:
    """Return what can be completed: from the cache if it is still true, else from the plugins."""
    file = _file()
    known = _read(file)
    if known is not None and known.stamp == _stamp(known.watched):
        return known
    from core.cli.completion.collect import collect

    with _silent():
        found = collect()
    found = msgspec.structs.replace(found, stamp=_stamp(found.watched))
    # A cache that cannot be written costs a second at the next TAB, and nothing else.
    with contextlib.suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(file, msgspec.json.encode(found))
    return found


def _file() -> Path:
    """Return the cache of this installation, in the user's folder of caches."""
    given = os.environ.get("XDG_CACHE_HOME")
    home = Path(given) if given else Path.home() / ".cache"
    of = hashlib.sha256(f"{sys.prefix}\0{CORE}\0{sys.version}".encode()).hexdigest()[:16]
    return home / "luthier" / "completion" / f"{of}.json"


def _read(file: Path) -> Vocabulary | None:
    """Return the cache, or None for one that is absent, damaged, or another user's."""
    try:
        state = file.lstat()
        foreign = hasattr(os, "getuid") and state.st_uid != os.getuid()
        if foreign or file.is_symlink() or state.st_size > LARGEST:
            return None
        return msgspec.json.decode(file.read_bytes(), type=Vocabulary)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _stamp(watched: Iterable[str]) -> str:
    """Return a hash of the installed distributions, and of every file that is watched."""
    found = hashlib.sha256()
    for line in (*_installed(), *sorted(_files(map(Path, watched)))):
        found.update(line.encode(errors="surrogateescape"))
    return found.hexdigest()


def _installed() -> Iterator[str]:
    """Yield a line for each folder of distributions: it changes when one is installed."""
    for folder in sys.path:
        # `python -m` puts the current folder first: what lies there is not installed.
        if folder and Path(folder).is_dir() and Path(folder) not in (Path.cwd(), CORE.parent):
            yield f"{folder}\0{Path(folder).stat().st_mtime_ns}\n"


def _files(watched: Iterable[Path]) -> Iterator[str]:
    for place in watched:
        if place.is_file():
            yield _line(str(place), place.stat())
        for folder, below, files in os.walk(place):
            below[:] = [name for name in below if name[0] != "." and name != "__pycache__"]
            for name in files:
                if name.endswith(WATCHED):
                    with contextlib.suppress(OSError):
                        file = os.path.join(folder, name)  # noqa: PTH118  # a third of the time
                        yield _line(file, os.stat(file))  # noqa: PTH116  # as above


def _line(file: str, state: os.stat_result) -> str:
    return f"{file}\0{state.st_mtime_ns}\0{state.st_size}\n"


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Let nothing that plugins print while they load become a part of the answer."""
    sys.stdout.flush()
    with tempfile.TemporaryFile() as nowhere:
        kept = os.dup(1)
        try:
            os.dup2(nowhere.fileno(), 1)
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)
