"""Names the first node of a graph that a compiler cannot place, by compiling parts of it.

A part is everything that leads up to a node. Short parts come before long ones, because a part
that is twice as long takes more than twice as long to compile, and the whole graph has just been
tried. The search assumes that a graph that compiles up to a node compiles up to every earlier one.
That is not always so: the result of a part leaves the device, so a tensor that the compiler would
have kept in pieces between two operators must be whole there (onnxruntime-qnn 2.7.0 refuses one
convolution of 96 channels and takes it between two of 8).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.formats.onnx_graph import save
from plugins.runtime._htp.parts import Parts, Place

if TYPE_CHECKING:
    import onnx

__all__ = ["FailingNode", "Fails", "find_failing_node"]

Fails = Callable[[Path, float], bool | None]
"""Whether the ONNX file fails as the whole graph did, found out in so many seconds; None where
that was too short."""


@dataclass(frozen=True)
class FailingNode:
    """The first node that cannot be placed.

    `after` is the last node up to which the graph is known to compile. `exact` says that no node
    lies between the two, `alone` whether the node fails by itself, None where that is not known.
    """

    place: Place
    after: Place | None
    exact: bool
    alone: bool | None
    parts: int
    seconds: float

    def lines(self) -> list[str]:
        """Return the lines for a person: the node with its tensor, and how that was found out."""
        place = self.place
        first = "first node without a place"
        what = f"the {first}" if self.exact else f"the {first} is this or an earlier one"
        tensor = f"{place.dtype} ({', '.join(map(str, place.shape))})"
        size = f"{place.bytes / 1e6:.1f} MB at its largest"
        lines = [f"{what}: {place.operator} `{place.node}`, {tensor}, {size}"]
        if self.alone is not None:
            lines.append(
                "by itself it has no place either"
                if self.alone
                else "by itself it has a place: too much is in memory at the same time"
            )
        if self.after is not None:
            lines.append(f"the graph compiles up to {self.after.operator} `{self.after.node}`")
        found = f"found by compiling {self.parts} part(s) of the graph in {self.seconds:.0f} s"
        return [*lines, found if self.exact else f"{found}; the time limit ended the search"]


class _Search:
    """Compiles parts until the time is over; keeps the places between which the failure lies."""

    def __init__(self, parts: Parts, fails: Fails, folder: Path, limit_s: float) -> None:
        self.parts, self.fails, self.folder = parts, fails, folder
        self.started, self.limit_s = time.monotonic(), limit_s
        self.low, self.high = -1, len(parts.places) - 1
        self.tried = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def verdict_of(self, model: onnx.ModelProto) -> bool | None:
        left = self.limit_s - self.seconds
        if left <= 0:
            return None
        self.tried += 1
        path = self.folder / "part.onnx"
        save(model, path)
        return self.fails(path, left)

    def alone(self, place: Place) -> bool | None:
        return self.verdict_of(self.parts.alone(place))

    def up_to(self, index: int) -> bool:
        """Try the graph up to a place and move a bound; returns whether it compiled."""
        verdict = self.verdict_of(self.parts.up_to(self.parts.places[index]))
        if verdict:
            self.high = index
        elif verdict is False:
            self.low = index
        return verdict is not None


def find_failing_node(
    source: Path, fails: Fails, folder: Path, limit_s: float
) -> FailingNode | None:
    """Return the first node of the ONNX graph at `source` for which `fails` holds.

    `fails` is known to hold for the whole. Parts are written below `folder`, one at a time.
    Takes at most `limit_s` seconds and the end of one attempt; returns None for a graph that
    cannot be cut.
    """
    parts = Parts(source)
    if not parts.places:
        return None
    search = _Search(parts, fails, folder, limit_s)
    stride, going = 1, True
    while going and search.high - search.low > 1:
        # Twice as far each time until a part fails, then halfway between the two bounds.
        reach, middle = search.low + stride, (search.low + search.high) // 2
        going = search.up_to(min(reach, middle))
        stride *= 2
    named = parts.places[search.high]
    return FailingNode(
        named,
        parts.places[search.low] if search.low >= 0 else None,
        search.high - search.low == 1,
        search.alone(named),
        search.tried,
        search.seconds,
    )
