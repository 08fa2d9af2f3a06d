"""Goes from ranges to the graph that ships: analyses, chooses, quantises, measures the result."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import Progress, StageError, Tensors
from core.formats.onnx_graph import save
from core.measure.metrics import LIMIT_DB
from plugins.quantizer._mixed_precision.assignment import Move, lowered_by, most, moves, with_room
from plugins.quantizer._mixed_precision.levels import Level, config_of
from plugins.quantizer._mixed_precision.sensitivity import Sensitivity, measured, predicted, snr_of
from plugins.quantizer._mixed_precision.trial import Bench
from plugins.quantizer._onnx.qdq.static import quantised

if TYPE_CHECKING:
    import onnx

    from plugins.quantizer._mixed_precision.grouping import Group
    from plugins.quantizer._mixed_precision.trial import Noise
    from plugins.quantizer._onnx.calibration.collect import Ranges

__all__ = ["Choice", "Chooser"]

#: Where the real graph falls short of its trial, 1/`BACK` of the moves is taken back each time.
BACK = 40
#: Parts of the noise that the limit leaves to spend on further moves, tried one after the other:
#: noises that are not quite independent add up to more than predicted.
PARTS = (1.0, 0.75, 0.5, 0.25)
#: Most groups that a refusal names.
NAMED = 3


@dataclass(frozen=True)
class Choice:
    """A graph with a level for every group, and its SNR against the float graph in dB.

    `predicted_db` is the SNR that the groups' own noises add up to, None without an analysis.
    """

    path: Path
    config: Any
    levels: dict[str, Level]
    found: Sequence[Sensitivity]
    snr_db: float
    predicted_db: float | None


@dataclass(frozen=True)
class Chooser:
    """The data that all choices for one graph share; the SNR is measured on `windows`."""

    model: onnx.ModelProto
    ranges: Ranges
    groups: Sequence[Group]
    windows: Sequence[Tensors]
    scratch: Path
    per_channel: bool
    progress: Progress

    @property
    def names(self) -> list[str]:
        """Return the names of the groups, in the order of the graph."""
        return [group.name for group in self.groups]

    def config(self, levels: Mapping[str, Level]) -> Any:
        """Return ONNX Runtime's settings for these levels of groups."""
        return config_of(self.model, self._nodes(levels), per_channel=self.per_channel)

    def given(self, levels: dict[str, Level], target: Path) -> Choice:
        """Quantise as `levels` say, into `target`, without an analysis."""
        bench = Bench(self.model, {}, self.windows, self.scratch)
        config, snr_db = self._quantised(bench, levels, target)
        return Choice(target, config, levels, (), snr_db, None)

    def cheapest(
        self, fixed: Mapping[str, Level], allowed: Sequence[Level], limit: float, target: Path
    ) -> Choice:
        """Quantise, into `target`, as cheaply as an SNR of `limit` dB allows.

        Groups in `fixed` keep their level. Raises StageError where no assignment holds the limit.
        """
        bench = self._bench({*allowed, *fixed.values()})
        free = [group for group in self.groups if group.name not in fixed]
        found = measured(bench, free, allowed, self.progress)
        steps = moves(found, allowed)
        precise = max(allowed, key=lambda level: level.value)
        start = {**{group.name: precise for group in free}, **fixed}
        best = -LIMIT_DB

        def noise(taken: Sequence[Move]) -> Noise:
            nonlocal best
            self.progress(0, 0, f"trying an assignment: {len(taken)} of {len(steps)} steps down")
            found = bench.noise(self._nodes(lowered_by(start, taken)))
            best = max(best, snr_of(found))
            return found

        for taken in _attempts(steps, noise, limit):
            levels = lowered_by(start, taken)
            if set(levels.values()) == {Level.float}:
                break
            config, snr_db = self._quantised(bench, levels, target)
            if snr_db >= limit:
                return Choice(target, config, levels, found, snr_db, predicted(found, levels))
            best = snr_db
        raise _out_of_reach(limit, best, allowed, fixed, found)

    def _nodes(self, levels: Mapping[str, Level]) -> dict[str, Level]:
        return {node: levels[group.name] for group in self.groups for node in group.nodes}

    def _bench(self, levels: set[Level]) -> Bench:
        graphs = {}
        for level in sorted(levels - {Level.float}, key=lambda level: level.value):
            self.progress(0, 0, f"quantising everything to {level.name}, for the trials")
            everywhere = {group.name: level for group in self.groups}
            graphs[level] = self._graph(self.config(everywhere))
        return Bench(self.model, graphs, self.windows, self.scratch)

    def _graph(self, config: Any) -> onnx.ModelProto:
        """Quantise a copy of the model.

        Only graphs of 16 bits throughout are corrected for silence, so no graph to be mixed is.
        """
        ranges = replace(self.ranges, example={})
        return quantised(copy.deepcopy(self.model), config, ranges)

    def _quantised(
        self, bench: Bench, levels: Mapping[str, Level], target: Path
    ) -> tuple[Any, float]:
        """Write the real graph; returns its settings and its SNR in dB."""
        self.progress(0, 0, "quantising the graph")
        config = self.config(levels)
        save(self._graph(config), target)
        self.progress(0, 0, "measuring the quantised graph")
        return config, snr_of(bench.noise_of(target))


def _attempts(
    steps: Sequence[Move], noise: Callable[[Sequence[Move]], Noise], limit: float
) -> Iterator[Sequence[Move]]:
    """Yield the moves to quantise with, the most first; none where no trial holds the limit.

    `noise` tries some moves. The real graph computes in integers, and may fall a little short.
    """
    count = most(len(steps), lambda count: snr_of(noise(steps[:count])) >= limit)
    if count is None:
        return
    room = 10 ** (-limit / 10) - noise(steps[:count])
    more = (with_room(steps, count, part * room) for part in PARTS)
    yield next((taken for taken in more if snr_of(noise(taken)) >= limit), steps[:count])
    while count:
        yield steps[:count]
        count = max(0, count - max(1, len(steps) // BACK))
    yield ()


def _out_of_reach(
    limit: float,
    best: float,
    allowed: Sequence[Level],
    fixed: Mapping[str, Level],
    found: Sequence[Sensitivity],
) -> StageError:
    """Return the error for a limit that no assignment holds, or only one that quantises nothing."""
    finest = max((x for x in allowed if x is not Level.float), key=lambda level: level.value)
    alone = sorted((snr_of(entry.noise[finest]), entry.group.name) for entry in found)
    worst = ", ".join(f"`{name}` {snr_db:.1f} dB" for snr_db, name in alone[:NAMED])
    precise = max(allowed, key=lambda level: level.value)
    wider = {Level.int8: "[int8,int16]", Level.int16: "[int8,int16,float]"}.get(precise)
    return StageError(
        f"no assignment with a quantised group holds {limit:g} dB"
        if precise is Level.float
        else f"no assignment holds {limit:g} dB: the best one reaches {best:.1f} dB",
        f"levels: {', '.join(level.name for level in allowed)}",
        f"worst at {finest.name}, each alone: {worst}" if worst else "",
        f"fixed by `assignment`: {len(fixed)} group(s)" if fixed else "",
        "lower the limit: quantizer.min_snr_db=" + ("..." if wider is None else f"{int(best)}"),
        f"or allow more: quantizer.levels={wider}"
        if wider
        else "or do not quantise: precision=fp32",
    )
