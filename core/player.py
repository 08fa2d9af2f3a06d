"""What plays whole inputs: a session with the dsp around it, opened once for many items."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.assembly import Assembly
from core.exchange import Work
from core.hosted import hosted
from core.kinds import Chunker, Runtime
from core.play import Opened, play
from core.progress import Progress
from core.steps import Bench
from core.values import Artifact, Item, Signature

if TYPE_CHECKING:
    from core.values import Tensors

__all__ = ["Player", "opened", "that_plays"]


@dataclass(frozen=True)
class Player:
    """An opened model: `play` takes one item after the other."""

    opened: Opened
    chunker: Chunker[Any]
    signature: Signature

    def play(self, item: Item, progress: Progress) -> Tensors:
        """Run one whole item through the session and join its windows."""
        return play(item, self.signature, self.chunker, lambda: self.opened, progress)


def that_plays(assembly: Assembly) -> Runtime[Any]:
    """Return the runtime that plays whole inputs: the host's where the target's is too slow."""
    runtime = assembly.runtime if assembly.runtime.plays else assembly.host
    assert runtime is not None, "the plan refuses a recipe without a runtime that plays"
    return runtime


@contextmanager
def opened(bench: Bench, played: Artifact, model: Artifact, work: Work) -> Iterator[Player]:
    """Open `played`, which was made from `model`, and the dsp through the graphs that ship."""
    runtime, chunker = that_plays(bench.assembly), bench.assembly.chunker
    transform = bench.transform(model)
    with (
        runtime.open(played, lambda: bench.open(model), work) as session,
        hosted(transform, runtime, chunker.window(), model.info, work) as graphs,
    ):
        yield Player(Opened(session, graphs), chunker, model.info.signature)
