"""Turns a sweep into text for people: its axes, its outcome, and the devices that measured it."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugins.reporter._reading.redact import redacted_sweep
from plugins.reporter._reading.tables import title_of
from plugins.reporter._reading.words import duration, listed, megabytes, value

if TYPE_CHECKING:
    from core.plugin.records import Axis, Point, Status, SweepMetric, SweepRecord

__all__ = [
    "FATES",
    "Origin",
    "figure_text",
    "finite",
    "numeric",
    "origins",
    "outcome",
    "presentable",
    "short_names",
    "spread_text",
    "varied",
    "winner_of",
]

#: From so many milliseconds on a time is shown in seconds.
SECOND = 1000
#: The meaning of a status, as the end of "3 points ...".
FATES: dict[Status, str] = {
    "done": "done",
    "missed": "missed the contract",
    "refused": "refused",
    "failed": "failed",
}


@dataclass(frozen=True)
class Origin:
    """One device, the titles of the figures measured on it, and their points.

    Without `points`, every point that has the figure is meant; `device` may be empty.
    """

    device: str
    titles: tuple[str, ...]
    points: tuple[int, ...]


def finite(record: SweepRecord) -> SweepRecord:
    """Return `record` without figures that are not finite, and with readable titles.

    An infinity or a NaN counts as not measured.
    """
    return dataclasses.replace(
        record,
        figures=tuple(dataclasses.replace(f, title=_title(f)) for f in record.figures),
        points=tuple(
            dataclasses.replace(
                point,
                figures={k: v for k, v in point.figures.items() if math.isfinite(v)},
                spreads={k: v for k, v in point.spreads.items() if math.isfinite(sum(v))},
            )
            for point in record.points
        ),
    )


def presentable(record: SweepRecord) -> SweepRecord:
    """Return `record` in a form to send on: finite figures, no path of this machine, no secret."""
    return redacted_sweep(finite(record))


def _title(figure: SweepMetric) -> str:
    """Return a title; one that is only the name becomes the usual name of the measure."""
    plain = figure.title in ("", figure.name, figure.name.replace("_", " "))
    return title_of(figure.name) if plain else figure.title


def winner_of(record: SweepRecord) -> Point | None:
    """Return the point that is taken; None where no point holds the contract."""
    return next((point for point in record.points if point.number == record.winner), None)


def short_names(axes: tuple[Axis, ...]) -> dict[str, str]:
    """Return for every axis the unique end of its key: `length`, `model.seed`."""
    names = {}
    for axis in axes:
        parts = axis.key.split(".")
        ends = [".".join(parts[start:]) for start in range(len(parts) - 1, -1, -1)]
        others = [f".{other.key}" for other in axes if other.key != axis.key]
        names[axis.key] = next(
            (end for end in ends if not any(o.endswith(f".{end}") for o in others)), axis.key
        )
    return names


def numeric(axis: Axis) -> bool:
    """Return whether every value of an axis is a number, so that it has an order of its own."""
    try:
        return all(math.isfinite(float(given)) for given in axis.values)
    except ValueError:
        return False


def figure_text(figure: SweepMetric, number: float, *, unit: bool = True) -> str:
    """Return a figure's number with as many digits as it deserves, and its unit."""
    from core import Metric

    if unit and figure.unit == "s":
        return duration(number)
    if unit and figure.unit in ("B", "bytes"):
        return megabytes(number)
    return value(Metric(figure.name, number, figure.unit, ""), unit=unit)


def spread_text(figure: SweepMetric, point: Point) -> str:
    """Return the 5th and the 95th percentile of a time, in the unit of its figure: `38 to 410 ms`.

    "" where there is no spread.
    """
    if figure.name not in point.spreads or figure.name not in point.figures:
        return ""
    median, ends = point.figures[figure.name], point.spreads[figure.name]
    scale, unit = (1000.0, "s") if figure.unit == "ms" and median >= SECOND else (1, figure.unit)
    # As many digits as the time itself has, so that the three can be compared.
    size = abs(median / scale) * (1 if unit in ("ms", "s") else 0.1)
    digits = 0 if size >= 10 else 1 if size >= 1 else 2  # noqa: PLR2004  # two or three that count
    low, high = (f"{end / scale:.{digits}f}" for end in ends)
    return f"{low} to {high}" + ("" if unit == "×" else " ") + unit


def varied(record: SweepRecord) -> str:
    """Return which keys the sweep varies, and how many values each has."""
    parts = [
        f"`{axis.key}` over {len(axis.values)} value{'s' if len(axis.values) != 1 else ''}"
        for axis in record.axes
    ]
    return f"This sweep varied {listed(parts)}." if parts else "This sweep varied nothing."


def outcome(record: SweepRecord) -> str:
    """Return how many points ended how: `16 points: 12 done, 3 refused and 1 failed`."""
    total = len(record.points)
    counts = Counter(point.status for point in record.points)
    parts = [f"{counts[status]} {fate}" for status, fate in FATES.items() if counts[status]]
    head = f"{total} point{'s' if total != 1 else ''}"
    return f"{head}: {listed(parts)}" if parts else head


def origins(record: SweepRecord) -> tuple[Origin, ...]:
    """Return every device with its figures, in the order of the figures."""
    found: dict[str, dict[str, set[int]]] = {}
    having: Counter[str] = Counter()
    for point in record.points:
        for figure in record.figures:
            if figure.name in point.figures:
                having[figure.name] += 1
                of_device = found.setdefault(point.devices.get(figure.name, ""), {})
                of_device.setdefault(figure.name, set()).add(point.number)
    titles = {figure.name: figure.title for figure in record.figures}
    grouped: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for device, names in found.items():
        for name, numbers in names.items():
            points = () if len(numbers) == having[name] else tuple(sorted(numbers))
            grouped.setdefault((device, points), []).append(titles[name])
    return tuple(
        Origin(device, tuple(named), points) for (device, points), named in grouped.items()
    )
