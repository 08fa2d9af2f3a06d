"""Runs chains in their own processes, so that a crash or a hang stops nothing else.

A process works through one chain after the other, and reports every step before it begins. If it
dies or is late, its current cell gets that verdict, and another process continues after this cell.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path

from tools.coverage.cells import FLOAT, Cell, Chain, cells, crashed

__all__ = ["sweep"]

#: Seconds in which an idle process ends by itself.
GRACE_S = 10.0


@dataclass
class _Task:
    """A chain, its remaining precisions, and the precisions whose reference ended a process."""

    chain: Chain
    left: list[str]
    alone: list[str] = field(default_factory=list)


_NOTHING = _Task(Chain(None), [])  # type: ignore[arg-type]  # stands for no chain


def sweep(chains: Sequence[Chain], processes: int, told: Callable[[Cell], None], log: Path) -> None:
    """Report every cell of `chains`, chain by chain; `log` gets the output of libraries."""
    waiting = deque(_Task(chain, list(chain.precisions)) for chain in chains)
    workers: list[_Worker] = []
    try:
        while waiting or workers:
            while waiting and len(workers) < processes:
                workers.append(_Worker(log))
                workers[-1].give(waiting.popleft())
            wait([worker.pipe for worker in workers], timeout=1.0)
            for worker in list(workers):
                left = worker.look(told)
                if left is not None and left.left:
                    waiting.appendleft(left)
                if worker.busy:
                    continue
                if worker.alive and waiting:
                    worker.give(waiting.popleft())
                else:
                    workers.remove(worker)
                    worker.end()
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A process with a chain to work through."""

    def __init__(self, log: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_work, args=(other, log), daemon=True)
        self.process.start()
        other.close()
        self.alive, self.task = True, _NOTHING
        self.precision, self.step, self.since = FLOAT, "export", 0.0

    @property
    def busy(self) -> bool:
        """Return whether the process has a chain."""
        return self.task is not _NOTHING

    def give(self, task: _Task) -> None:
        """Give the process a chain."""
        self.task, self.since = task, time.monotonic()
        self.precision, self.step = task.left[0], "export"
        self.pipe.send((task.chain, tuple(task.left), tuple(task.alone)))

    def end(self) -> None:
        """End the process, whatever it does."""
        self.pipe.close()
        if self.alive and not self.busy:
            self.process.join(GRACE_S)
        self.process.kill()
        self.process.join()

    def look(self, told: Callable[[Cell], None]) -> _Task | None:
        """Read the messages of the process; returns the rest of a lost process's chain."""
        try:
            while self.pipe.poll():
                said = self.pipe.recv()
                self.since = time.monotonic()
                if said is None:
                    self.task = _NOTHING
                    return None
                if isinstance(said, Cell):
                    self.task.left.remove(said.precision)
                    self.precision, self.step = next(iter(self.task.left), ""), "lower"
                    told(said)
                else:
                    self.precision, self.step = said
        except EOFError:
            self.process.join()
            signal = -(self.process.exitcode or 0)
            why = f"the process died of signal {signal}" if signal > 0 else "the process ended"
            return self._lost(told, "crash", why)
        limit = self.task.chain.limit_s
        if time.monotonic() - self.since > limit:
            return self._lost(told, "late", f"no end within {limit:g} s")
        return None

    def _lost(self, told: Callable[[Cell], None], verdict: str, why: str) -> _Task:
        """Report the current step of the process as its failure; returns the rest of its chain."""
        task, self.task, self.alive = self.task, _NOTHING, False
        if not self.precision:
            return task
        if self.step == "reference":
            task.alone.append(self.precision)
            return task
        reason = f"{why} in the step `{self.step}`"
        told(replace(crashed(task.chain, self.precision, reason), verdict=verdict))
        task.left.remove(self.precision)
        if self.step == "export":
            # There is no float graph to quantise.
            task.left.clear()
        return task


def _work(pipe: Connection, log: Path) -> None:
    """Work through chains until the pipe closes."""
    with log.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    import torch

    # One thread each: there are as many processes as cores.
    torch.set_num_threads(1)
    while True:
        try:
            chain, precisions, alone = pipe.recv()
        except EOFError:
            sys.exit(0)

        def at(precision: str, step: str) -> None:
            pipe.send((precision, step))

        for cell in cells(chain, precisions, at, alone):
            pipe.send(cell)
        pipe.send(None)
