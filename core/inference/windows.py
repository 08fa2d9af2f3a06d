"""Plays items through a session, window by window: cut, dsp, core, inverse dsp, join."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.formats.tensors import contiguous
from core.plugin.kinds import Chunker
from core.plugin.progress import Progress
from core.plugin.stages import Session, Transform, Window
from core.plugin.values import Item, Signature

if TYPE_CHECKING:
    from core.plugin.values import Tensors

__all__ = [
    "Opened",
    "covered_seconds",
    "first_feeds",
    "lengths_of",
    "play",
    "play_with",
    "run_group",
    "spread",
    "windows_in_words",
]


@dataclass(frozen=True)
class Opened:
    """An opened model with the dsp around it, and the `seconds` of every window that it played."""

    session: Session
    transform: Transform
    seconds: list[float] = field(default_factory=list)


def lengths_of(inputs: Tensors, signature: Signature) -> dict[str, int]:
    """Return the length of every axis that an input has."""
    return {
        axis: inputs[spec.name].shape[index]
        for spec in signature.inputs
        for index, axis in enumerate(spec.axes)
    }


def covered_seconds(inputs: Tensors, signature: Signature) -> float | None:
    """Return how long the inputs last, where an axis has a rate; None for an image."""
    lengths = lengths_of(inputs, signature)
    for spec in signature.inputs:
        for axis, rate in spec.rates.items():
            return lengths[axis] / rate
    return None


def windows_in_words(window: Mapping[str, int], signature: Signature) -> str:
    """Return the lengths of a window as a person reads them: `windows of 44,100 along time (1 s)`.

    Without a length the input is not cut.
    """
    rates = {axis: rate for spec in signature.inputs for axis, rate in spec.rates.items()}
    parts = [
        f"{size:,} along {axis}" + (f" ({size / rates[axis]:.3g} s)" if axis in rates else "")
        for axis, size in window.items()
    ]
    return f"windows of {', '.join(parts)}" if parts else "the input uncut"


def spread(
    count: int, inputs: Tensors, chunker: Chunker[Any], signature: Signature
) -> list[Window]:
    """Return up to `count` windows of the chunker's `sampler`, evenly spaced among the longest.

    Those at the ends of an input may be shorter than the others: they are taken if there are none
    but these.
    """
    windows = chunker.sampler().split(lengths_of(inputs, signature))
    extents = [tuple(w.stop[axis] - w.start[axis] for axis in w.start) for w in windows]
    longest = tuple(map(max, zip(*extents, strict=True)))
    full = [w for w, extent in zip(windows, extents, strict=True) if extent == longest]
    of = full or windows
    wanted = min(count, len(of))
    chosen = [of[int((k + 0.5) * len(of) / wanted)] for k in range(wanted)]
    return [Window(index, one.start, one.stop) for index, one in enumerate(chosen)]


def play(
    item: Item,
    signature: Signature,
    chunker: Chunker[Any],
    opened: Callable[[], Opened],
    progress: Progress,
) -> Tensors:
    """Run one whole item through a session and join its windows.

    A session gets as many windows per call as it asks for; no more are in memory at a time.
    `opened` is called before each such call.
    """
    lengths = lengths_of(item.inputs, signature)
    windows = chunker.split(lengths)
    joiner = chunker.joiner(lengths, signature)
    first = 0
    while first < len(windows):
        model = opened()
        session, transform = model.session, model.transform
        group = windows[first : first + session.at_once]
        pairs = [transform.forward(chunker.cut(item.inputs, w, signature)) for w in group]
        told = _within(progress, first, len(windows))
        cores = run_group(session, [feeds for feeds, _ in pairs], told, model.seconds)
        for window, (_, remembered), outputs in zip(group, pairs, cores, strict=True):
            joiner.add(window, transform.inverse(outputs, remembered))
            progress(window.index + 1, len(windows), f"{item.name}, {session.device}")
        first += len(group)
    return joiner.result()


def first_feeds(
    item: Item, signature: Signature, chunker: Chunker[Any], transform: Transform
) -> Tensors:
    """Return what the core takes for the first window of an item."""
    window = chunker.split(lengths_of(item.inputs, signature))[0]
    feeds, _ = transform.forward(chunker.cut(item.inputs, window, signature))
    return feeds


def run_group(
    session: Session, feeds: Sequence[Tensors], progress: Progress, seconds: list[float]
) -> Iterator[Tensors]:
    """Run one group of windows; after the last one, add the time of each to `seconds`.

    Every array is C-contiguous when the session gets it; to make it so is not timed.
    Times that the session measured itself replace those of this machine's clock, which says nothing
    about a device elsewhere.
    """
    measured: list[float] = []
    feeds = [contiguous(one) for one in feeds]
    started = time.perf_counter()
    for outputs in session.run_many(feeds, progress):
        measured.append(time.perf_counter() - started)
        yield outputs
        started = time.perf_counter()
    seconds += session.seconds or (measured if session.here else [])


def _within(progress: Progress, done: int, total: int) -> Progress:
    """Pass on a session's messages, with the progress of the item, which only the caller knows."""

    def emit(_done: float, _total: float, message: str) -> None:
        if message:
            progress(done, total, message)

    return Progress(emit)


def play_with(
    function: Callable[[Tensors], Tensors],
    item: Item,
    signature: Signature,
    chunker: Chunker[Any],
    progress: Progress,
    windows: Sequence[Window] | None = None,
) -> Tensors:
    """Run one whole item through a function of windows: the model's own forward pass."""
    lengths = lengths_of(item.inputs, signature)
    windows = chunker.split(lengths) if windows is None else windows
    joiner = chunker.joiner(lengths, signature)
    for window in windows:
        joiner.add(window, function(chunker.cut(item.inputs, window, signature)))
        progress(window.index + 1, len(windows), f"{item.name}, FP32 reference")
    return joiner.result()
