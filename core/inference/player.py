"""Plays whole inputs: a session with the dsp around it, opened once for many items."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from core.config.pipeline import Pipeline
from core.inference.context import RunContext
from core.inference.dsp_graphs import with_dsp_graphs
from core.inference.windows import Opened, play
from core.machine import cores
from core.machine.machine_load import Load, Watch
from core.plugin.kinds import Chunker, Runtime
from core.plugin.progress import Progress
from core.plugin.stages import StageContext
from core.plugin.values import Artifact, Item, Signature

if TYPE_CHECKING:
    from core.plugin.values import Tensors

__all__ = ["Player", "Timing", "opened", "that_plays"]


@dataclass(frozen=True)
class Player:
    """An opened model: `play` takes one item after the other."""

    opened: Opened
    chunker: Chunker[Any]
    signature: Signature

    def play(self, item: Item, progress: Progress) -> Tensors:
        """Run one whole item through the session and join its windows."""
        return play(item, self.signature, self.chunker, lambda: self.opened, progress)


def that_plays(pipeline: Pipeline) -> Runtime[Any]:
    """Return the runtime that plays whole inputs.

    It is the host where the recipe's own is too slow, or cannot open here what it compiled.
    """
    runtime = pipeline.runtime if pipeline.plays_itself else pipeline.host
    assert runtime is not None, "the plan refuses a recipe without a runtime that plays"
    return runtime


@contextmanager
def opened(
    context: RunContext, played: Artifact, model: Artifact, work: StageContext
) -> Iterator[Player]:
    """Open `played`, which was made from `model`, and the dsp through the graphs that ship."""
    runtime, chunker = that_plays(context.pipeline), context.pipeline.chunker
    transform = context.transform(model)
    with (
        runtime.open(played, lambda: context.open(model), work) as session,
        with_dsp_graphs(transform, runtime, chunker.window(), model.info, work) as graphs,
    ):
        yield Player(Opened(session, graphs), chunker, model.info.signature)


#: Windows that are timed while all other jobs wait: `WINDOWS`, or `FEWEST` if they take `SECONDS`.
WINDOWS, FEWEST, SECONDS = 16, 5, 2.0


class Timing:
    """A player that is first opened alone on all cores, and then again on its share of them.

    A session that computes on another machine holds up no job, and is opened once. `seconds` has
    the time of each timed window; `load`, set after the timing, is what else this machine did.

    `open_s` is how long it took to open the player for the first time: the session, and the graphs
    of the dsp, without which no window can be played. It includes the import of the runtime's
    library if this process has not imported it before, but no wait for other jobs. The first
    windows are no warm-up that is left out: `seconds` has them, where they hardly move a median.
    """

    load: Load | None = None

    def __init__(
        self, player: Callable[[], AbstractContextManager[Player]], waits: Callable[[str], None]
    ) -> None:
        self._new, self._waits = player, waits
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as alone:
            alone.enter_context(cores.exclusive(self._waits))
            self._watch: Watch | None = Watch()
            started = time.perf_counter()
            self._player = self._opened.enter_context(self._new())
            self.open_s = time.perf_counter() - started
            # Only once it is open: a player that cannot be opened must not keep the others waiting.
            self._alone = alone.pop_all()
        self.seconds, self._others_wait = self._player.opened.seconds, cores.divided()
        return self

    def timed(self) -> None:
        """Note that no more windows will be timed."""
        watch, self._watch = self._watch, None
        # The load of this machine says nothing about another one.
        if watch is not None and self.opened.session.here:
            self.load = watch.load()

    def __exit__(self, *exc: object) -> None:
        self._opened.__exit__(*exc)  # type: ignore[arg-type]  # the three that it was called with
        self._alone.__exit__(*exc)  # type: ignore[arg-type]  # see above

    @property
    def opened(self) -> Opened:
        """Return the opened model that plays now."""
        return self._player.opened

    def play(self, item: Item, progress: Progress) -> Tensors:
        """Run one whole item through the session and join its windows."""
        player = self._player
        return play(item, player.signature, player.chunker, self._next, progress)

    def _next(self) -> Opened:
        if self._others_wait and not self.opened.session.here:
            self._others_wait = False
            self._alone.close()
        elif self._others_wait and self._enough():
            self._others_wait = False
            self.timed()
            self._opened.close()
            self._alone.close()
            self._player = self._opened.enter_context(self._new())
        return self.opened

    def _enough(self) -> bool:
        count = len(self.seconds)
        return count >= WINDOWS or (count >= FEWEST and sum(self.seconds) >= SECONDS)
