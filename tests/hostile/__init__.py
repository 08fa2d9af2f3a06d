"""Files that a stranger could send: songs and checkpoints made to lie, to explode or to run code.

`songs` and `checkpoints` yield a file name and its bytes. Every kind comes once before any kind
comes again. The numbers inside are drawn from the seed, so equal arguments give equal files. No
file is larger than some megabytes: it costs more to read wrongly than to make. The kind is a part
of the file name, so that a failure names the kind.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.hostile.checkpoint_files import CHECKPOINTS
from tests.hostile.kinds import Maker
from tests.hostile.packed_sound import PACKED
from tests.hostile.plain_sound import PLAIN

__all__ = ["TRACE", "checkpoints", "songs"]

#: The file that code inside a checkpoint would leave in its working folder.
TRACE = "luthier-hostile-ran"


def songs(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield `count` hostile songs; each name has the ending of the format that it claims."""
    return _drawn({**PLAIN, **PACKED}, count, seed)


def checkpoints(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield `count` hostile checkpoints: `.safetensors`, and `.th` as demucs writes them."""
    return _drawn(CHECKPOINTS, count, seed)


def _drawn(makers: dict[str, Maker], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    names = list(makers)
    for index in range(count):
        name = names[index % len(names)]
        source = random.Random(f"{seed} {index} {name}")  # noqa: S311  # a test's, not a secret's
        yield f"{index:04d}_{name}", makers[name](source)
