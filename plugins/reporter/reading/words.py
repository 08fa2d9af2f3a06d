"""Numbers with their units, and the sentences that say what ran where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.record import RunRecord, StageRecord
    from core.values import Metric

__all__ = [
    "Place",
    "decibels",
    "duration",
    "factor",
    "listed",
    "measured",
    "megabytes",
    "places",
    "took_part",
    "value",
]

#: `core.measure` clips an SNR to this; it stands for "no difference at all".
SAME_DB = 200.0
MINUTE = 60
MEGA, GIGA = 1e6, 1e9
SHORT = 10
#: Below this two decimals would show a bare zero.
TINY = 0.01


@dataclass(frozen=True)
class Place:
    """One device, what it computed, and which numbers of the report come from there."""

    device: str
    did: str
    numbers: str


def duration(seconds: float) -> str:
    """Return seconds as a person says them: `38 ms`, `2.4 s`, `2 min 50 s`."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < SHORT:
        return f"{seconds:.1f} s"
    if round(seconds) < MINUTE:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), MINUTE)
    if minutes < MINUTE:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // MINUTE} h {minutes % MINUTE} min"


def megabytes(count: float) -> str:
    """Return a size in bytes as kB, MB or GB (powers of ten)."""
    if count < MEGA:
        return f"{count / 1e3:.0f} kB"
    if count < GIGA:
        return f"{count / MEGA:.1f} MB"
    return f"{count / GIGA:.2f} GB"


def decibels(db: float) -> str:
    """Return an SNR in dB; where nothing differs it says so instead of a made-up number."""
    return "no difference" if db >= SAME_DB else f"{db:.1f} dB"


def value(metric: Metric, *, unit: bool = True) -> str:
    """Return a metric's number with as many digits as it deserves."""
    number = metric.value
    if metric.unit == "dB" and metric.name.endswith("snr") and number >= SAME_DB:
        return "same"
    digits = 0 if abs(number) >= 100 else 1 if abs(number) >= SHORT else 2  # noqa: PLR2004
    tiny = 0 < abs(number) < TINY
    text = f"{number:.1e}" if tiny else f"{number:,.{digits}f}"
    gap = "" if metric.unit in ("×", "%") else " "
    return f"{text}{gap}{metric.unit}".strip() if unit else text.replace("-", "\N{MINUS SIGN}")


def factor(real_time: float) -> str:
    """Return a real-time factor (compute time over the input's length) as a speed."""
    if real_time <= 0:
        return "no time at all"
    speed = 1 / real_time
    if speed >= 1:
        return f"{speed:.1f}× real time"
    return f"{real_time:.1f}× slower than real time"


def measured(record: StageRecord) -> str:
    """Return what a stage took: now when it ran, else when it was made."""
    if record.status == "ran":
        return duration(record.seconds)
    made = record.artifact.made_in_s
    return f"took {duration(made)} when made" if made else ""


def listed(words: Iterable[str]) -> str:
    """Return `a, b and c`."""
    *head, last = list(words) or [""]
    return f"{', '.join(head)} and {last}" if head else last


def took_part(record: RunRecord) -> str:
    """Say in plain words whether the target itself computed anything in this run."""
    title = record.target.title or record.target.name
    if not title:
        return f"No target was named; everything was played on {record.played_on}."
    title = title[0].upper() + title[1:]
    if not record.target_took_part:
        probed = f" The compiled model was tried on {record.probed_on}." if record.probed_on else ""
        return (
            f"{title} took no part in this run: no number here was measured on it."
            f"{probed} What you hear was played on {record.played_on}."
        )
    if record.probed_on:
        return (
            f"{title} took part: a few windows ran on {record.probed_on}. "
            f"What you hear was played on {record.played_on}."
        )
    return f"{title} played the whole input ({record.played_on})."


def places(record: RunRecord) -> tuple[Place, ...]:
    """Return every device of the run with what it did, the target last."""
    found = [
        Place(
            record.played_on,
            "played the whole input: it is what you hear",
            "the quality metrics, the latency and the memory",
        )
    ]
    windows = max((line.windows for line in record.budget if line.stage == "probe"), default=0)
    if record.probed_on:
        count = f"{windows} window{'s' if windows != 1 else ''}" if windows else "a few windows"
        found.append(
            Place(
                record.probed_on,
                f"ran the compiled model on {count}",
                "the line `probe` of the error budget and its agreement with the CPU",
            )
        )
    title = record.target.title or record.target.name
    if title and not record.target_took_part:
        found.append(Place(title, "took no part in this run", "none"))
    elif title and title not in {place.device for place in found}:
        found.append(Place(title, "took part, under the name above", "those above"))
    return tuple(found)
