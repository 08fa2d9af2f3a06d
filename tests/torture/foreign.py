"""Reads hostile files with the real readers, each in a process with little time and memory.

Each must end as a reading or as one clear error. A reader over its time counts as hanging. Any
other error, also for lack of memory, and any signal count as a traceback.
"""

from __future__ import annotations

import os
import resource
import signal
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from core.errors import LuthierError
from tests.hostile import TRACE
from tests.torture.forks import Ended, each
from tests.torture.scene import ELSEWHERE, digests, tracebacks
from tests.torture.tally import Tally
from tests.torture.trespass import listen

__all__ = ["LIMIT_S", "read_all"]

LIMIT_S = 20
#: The most memory that a reader may take beyond its memory at the start, in bytes.
MEMORY = 2 * 2**30

Read = Callable[[Path], None]
"""Reads one file to its end; raises what it raises."""


def read_all(
    tally: Tally,
    files: Iterable[tuple[str, bytes]],
    read: Read,
    *,
    programs: bool = False,
    limit_s: float = LIMIT_S,
) -> None:
    """Read every file, and count the endings. With `programs`, a reader may start processes."""

    def one(case: tuple[str, bytes]) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="luthier-torture-") as folder:
            return _read(Path(folder), *case, read, programs=programs)

    for (name, _), answer in each(one, files, limit_s=limit_s + 5, memory=MEMORY):
        if isinstance(answer, Ended):
            tally.case(name, [_cut_short(answer)])
            continue
        tally.count(**{answer["ended"]: 1})
        tally.about["slowest_s"] = max(tally.about.get("slowest_s", 0), answer["seconds"])
        tally.about["peak_mb"] = max(tally.about.get("peak_mb", 0), answer["peak_mb"])
        faults = [(column, seen) for column, seen in answer["faults"]]
        if answer["seconds"] > limit_s:
            faults.append(("hanging", f"took {answer['seconds']:.0f} s"))
        tally.case(name, faults)


def _cut_short(ended: Ended) -> tuple[str, str]:
    if ended.code is None:
        return "hanging", f"no end after {ended.seconds:.0f} s"
    if ended.code < 0:
        return "tracebacks", f"ended by {signal.Signals(-ended.code).name}"
    return "tracebacks", f"ended with {ended.code}"


def _read(folder: Path, name: str, data: bytes, read: Read, *, programs: bool) -> dict[str, Any]:
    work, elsewhere = folder / "work", folder / "elsewhere"
    for file, content in ((f, c) for f, c in ELSEWHERE.items()):
        (elsewhere / file).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / file).write_text(content)
    work.mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(work)
    os.chdir(work)
    file = work / name
    file.write_bytes(data)
    outside = digests(elsewhere)
    heard = listen(work, programs=programs)
    faults: list[tuple[str, str]] = []
    before = resource.getrusage(resource.RUSAGE_SELF)
    try:
        read(file)
        ended = "read"
    except LuthierError as error:
        ended = "refused"
        faults += [("tracebacks", seen) for seen in tracebacks(str(error))]
    except BaseException as error:
        ended = "failed"
        faults.append(("tracebacks", f"{type(error).__name__}: {error}"[:300]))
    after = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    faults += [("outside", what) for what in heard]
    if digests(elsewhere) != outside or not file.is_file() or file.read_bytes() != data:
        faults.append(("outside", "files that are none of its business changed"))
    if any(folder.rglob(TRACE)):
        faults.append(("outside", "its code ran"))
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    grown = max(after.ru_maxrss - before.ru_maxrss, 0)
    return {
        "ended": ended,
        "faults": faults,
        "seconds": round(seconds, 2),
        "peak_mb": round(max(grown, children) / 1024),
    }
