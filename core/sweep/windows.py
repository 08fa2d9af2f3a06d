"""What the points of a sweep over windows are compared with: FP32 PyTorch in the best of them.

A single run compares its result with FP32 PyTorch in the same windows, so that any loss is that of
the precision. In a sweep over windows this would hide the loss by a short window. So FP32 PyTorch
is first played in each of the windows, which every point needs anyway, and all points are compared
with the best of the results: the one of the highest quality or, if no quality is measured (no true
outputs are known), the one nearest to FP32 PyTorch in the windows of the training.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.inference.windows import windows_in_words
from core.plugin.options import PLUGIN_KEY
from core.plugin.values import Signature
from core.store.fingerprint import of_plugin
from core.store.hashing import digest
from core.sweep.metrics import OWN, quality_of
from core.sweep.pareto import cost

if TYPE_CHECKING:
    from core.plan.plan import Plan
    from core.sweep.launch import Launch
    from core.sweep.messages import PointResult
    from core.sweep.plan import PlannedPoint

__all__ = ["Comparison", "compares", "comparison", "differ"]

#: The option that names the windows which a point is compared with.
OPTION = "measure.against"
#: The SNR to FP32, here in the windows of the training.
SNR = OWN[0]


@dataclass(frozen=True)
class Comparison:
    """What the points of a sweep are compared with.

    `best` holds, for every model and data of the sweep whose points have several windows, the
    override that names the best of these; `said` names them in words.
    """

    best: Mapping[str, str] = field(default_factory=dict)
    said: tuple[str, ...] = ()

    def of(self, planned: PlannedPoint) -> PlannedPoint:
        """Return a point that is compared with the best windows, where windows differ."""
        option = self.best.get(_subject(planned.plans[0])) if planned.plans else None
        if option is None:
            return planned
        point = replace(planned.point, overrides=(*planned.point.overrides, option))
        return replace(planned, point=point, key=digest([planned.key, option])[:16])


def differ(points: Iterable[PlannedPoint]) -> bool:
    """Return whether the windows of points differ, so that a time per window compares nothing."""
    return len({_cut(planned) for planned in points if planned.plans}) > 1


def compares(points: Iterable[PlannedPoint]) -> bool:
    """Return whether there is a best of several windows, of the same model and data."""
    return any(map(_several, _windows(points).values()))


def comparison(
    points: Sequence[PlannedPoint], place: Path, launch: Launch, most: int | None = None
) -> Comparison:
    """Play FP32 PyTorch in the windows of `points`, and return what to compare them with.

    At most `most` windows of each model and data are played, evenly apart by their size, the
    longest included. Nothing is played if windows do not differ, or if a point itself says what it
    is compared with. Windows that the model cannot run in are left out: their points say so.
    """
    best: dict[str, str] = {}
    said: list[str] = []
    for subject, each in _windows(points).items():
        if not _several(each):
            continue
        looked_at = _apart(sorted(each, key=_size), most or len(each))
        result = launch.rated(looked_at, place)
        rated = [(p, t) for p, t in zip(looked_at, result, strict=True) if t.status == "done"]
        if rated:
            taken = _best(rated)
            best[subject] = _option(taken.plans[0])
            said.append(windows_in_words(_chunker(taken).window(), Signature((), ())))
    return Comparison(best, tuple(dict.fromkeys(said)))


def _several(points: Sequence[PlannedPoint]) -> bool:
    """Return whether to find the best: there are several, and none names what it compares with."""
    return len(points) > 1 and all(p.plans[0].pipeline.against is None for p in points)


def _windows(points: Iterable[PlannedPoint]) -> dict[str, list[PlannedPoint]]:
    """Return the first point of every window, by its model and data."""
    found: dict[str, dict[str, PlannedPoint]] = {}
    for planned in points:
        if planned.plans:
            windows = found.setdefault(_subject(planned.plans[0]), {})
            windows.setdefault(_cut(planned), planned)
    return {subject: list(each.values()) for subject, each in found.items()}


def _subject(plan: Plan) -> str:
    """Return the digest of model and data: points that share it can share FP32 PyTorch."""
    model = plan.pipeline.model
    return digest([of_plugin(model), model.identity(), plan.context.depends_on_items])


def _cut(planned: PlannedPoint) -> str:
    """Return the digest of how a point cuts windows."""
    return digest(of_plugin(_chunker(planned)))


def _chunker(planned: PlannedPoint) -> Any:
    return planned.plans[0].pipeline.chunker


def _size(planned: PlannedPoint) -> float:
    """Return how much a window holds; an input that is not cut holds the most."""
    return math.prod(_chunker(planned).window().values()) or math.inf


def _apart(points: Sequence[PlannedPoint], most: int) -> list[PlannedPoint]:
    """Return `most` points evenly apart, the last among them."""
    count = min(most, len(points))
    return [points[-1 - round(k * len(points) / count)] for k in reversed(range(count))]


def _best(rated: Sequence[tuple[PlannedPoint, PointResult]]) -> PlannedPoint:
    """Return the point in whose windows FP32 PyTorch is best; of equal ones, the longest."""
    qualities = [quality_of(result.metrics) for _, result in rated]
    names = {quality[0].name for quality in qualities if quality is not None}
    # A quality that was not measured for all of them cannot be compared.
    comparable = len(names) == 1 and None not in qualities

    def rank(index: int) -> tuple[float, float, float]:
        planned, result = rated[index]
        quality = qualities[index]
        figures = {name: value for name, (value, _) in result.figures.items()}
        first = cost({quality[0].name: quality[1]}, quality[0]) if comparable and quality else 0.0
        return first, cost(figures, SNR), -_size(planned)

    return rated[min(range(len(rated)), key=rank)][0]


def _option(plan: Plan) -> str:
    """Return the override that names the windows of a plan: `measure.against={plugin:...}`."""
    about = of_plugin(plan.pipeline.chunker)
    return f"{OPTION}={_written({PLUGIN_KEY: about['plugin'], **about['options']})}"


def _written(value: Any) -> str:
    """Return a JSON value in Hydra's grammar."""
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{_written(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if not isinstance(value, str):
        return repr(value)
    if re.fullmatch(r"[A-Za-z_]\w*", value) and value.lower() not in ("null", "true", "false"):
        return value
    escaped = re.sub(r"(\\*)'", lambda found: found[1] * 2 + "\\'", value)
    return f"'{escaped}'"
