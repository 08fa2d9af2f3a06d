"""Numbers with their units, and the sentences on which device ran what."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from core import Metric
from core.plugin.records import compiled_only
from core.plugin.step_names import PROBE

if TYPE_CHECKING:
    from core.plugin.records import RunRecord, StageRecord

__all__ = [
    "Place",
    "decibels",
    "duration",
    "factor",
    "figure",
    "heard",
    "listed",
    "measured",
    "megabytes",
    "places",
    "signed",
    "time_left",
    "took_part",
    "value",
]

#: `core.measure.metrics` clips an SNR to this; it stands for "no difference at all".
SAME_DB = 200.0
MINUTE = 60
KILO, MEGA, GIGA = 1e3, 1e6, 1e9
SHORT = 10
#: Extensions of files that a person listens to.
SOUNDS = frozenset({".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif"})
#: Below this, two decimals would show a bare zero; below `NOTHING` more digits mean nothing.
TINY, NOTHING = 0.01, 1e-4


@dataclass(frozen=True)
class Place:
    """One device, what it computed, and which numbers of the report come from there."""

    device: str
    did: str
    numbers: str


def time_left(seconds: float) -> str:
    """Return an estimate in round numbers: `40 s left`, `4 min left`, `2.5 h left`."""
    if seconds < 1.5 * MINUTE:
        return f"{max(1, round(seconds))} s left"
    if seconds < 1.5 * MINUTE * MINUTE:
        return f"{round(seconds / MINUTE)} min left"
    return f"{seconds / MINUTE**2:.1f} h left"


def duration(seconds: float) -> str:
    """Return seconds as a person says them: `40 µs`, `0.4 ms`, `38 ms`, `2.4 s`, `2 min 50 s`."""
    milliseconds = 1000 * seconds
    if not milliseconds:
        return "0 s"
    if milliseconds < 0.1:  # noqa: PLR2004  # it would read as a bare zero
        return f"{max(1.0, 1000 * milliseconds):.0f} µs"
    if milliseconds < SHORT:
        return f"{milliseconds:.1f} ms"
    if round(milliseconds) < 1000:  # noqa: PLR2004
        return f"{milliseconds:.0f} ms"
    if seconds < SHORT:
        return f"{seconds:.1f} s"
    if round(seconds) < MINUTE:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), MINUTE)
    if minutes < MINUTE:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // MINUTE} h {minutes % MINUTE} min"


def megabytes(count: float) -> str:
    """Return a size in bytes as B, kB, MB or GB (powers of ten)."""
    if count < KILO:
        return f"{count:.0f} B"
    if count < MEGA:
        return f"{count / KILO:.0f} kB"
    if count < GIGA:
        return f"{count / MEGA:.1f} MB"
    return f"{count / GIGA:.2f} GB"


def figure(number: float, digits: int) -> str:
    """Return a number with `digits` decimals, or more where it would look like zero.

    `0.004` for 0.0042 with two decimals, `≈ 0` below 0.0001.
    """
    if not number or abs(number) >= 0.5 * 10.0**-digits:
        return f"{number:.{digits}f}"
    if abs(number) < NOTHING:
        return "≈ 0"
    return figure(number, digits + 1)


def decibels(db: float) -> str:
    """Return an SNR in dB; where nothing differs, a text says so instead of a number."""
    if db <= -SAME_DB:
        return "nothing in common"
    return "no difference" if db >= SAME_DB else signed(f"{figure(db, 1)} dB")


def signed(text: str) -> str:
    """Return a number with a true minus sign, and none before a zero."""
    text = re.sub(r"-(?=0(?:\.0+)?(?![.\d]))", "", text)
    return text.replace("-", "\N{MINUS SIGN}")


def value(metric: Metric, *, unit: bool = True) -> str:
    """Return a metric's number with a suitable number of digits."""
    number = metric.value
    if metric.unit == "dB" and metric.name.endswith("snr") and number >= SAME_DB:
        return "same"
    if metric.unit == "dBFS" and number <= -SAME_DB:
        return "silent"
    if metric.unit == "ms" and unit:
        return duration(number / 1000)
    if metric.unit == "dB":
        text = figure(number, 2)
    elif 0 < abs(number) < TINY:
        text = f"{number:.2g}"
    else:
        digits = 0 if abs(number) >= 100 else 1 if abs(number) >= SHORT else 2  # noqa: PLR2004
        text = f"{number:,.{digits}f}"
    gap = "" if metric.unit in ("×", "%") else " "
    return signed(text) + (f"{gap}{metric.unit}".rstrip() if unit else "")


def factor(real_time: float) -> str:
    """Return a real-time factor (compute time over the input's length) as a speed."""
    if real_time <= 0:
        return "no time at all"
    speed = 1 / real_time
    if speed >= 1:
        return f"{speed:.1f}× real time"
    return f"{real_time:.1f}× slower than real time"


def measured(record: StageRecord) -> str:
    """Return the time of a stage: of now when it ran, else of when it was made."""
    if record.status == "ran":
        return duration(record.seconds)
    made = record.artifact.made_in_s
    return f"took {duration(made)} when made" if made else ""


def listed(words: Iterable[str]) -> str:
    """Return `a, b and c`."""
    *head, last = list(words) or [""]
    return f"{', '.join(head)} and {last}" if head else last


def heard(record: RunRecord) -> bool:
    """Return whether the run saved sounds; other results are not described as music."""
    return any(PurePath(saved.path).suffix.lower() in SOUNDS for saved in record.saved)


def took_part(record: RunRecord) -> str:
    """Return in plain words whether the target itself computed anything in this run."""
    title = record.target.title or record.target.name
    never = ""
    if record.never_run:
        never = f" The device's model was {compiled_only(record.never_run)}."
    played = "played" if heard(record) else "run"
    if not title:
        return f"No target was named; everything was {played} on {record.played_on}.{never}"
    title = title[0].upper() + title[1:]
    result = f"{_result(record)} {record.played_on}."
    if not record.target_took_part:
        probed = f" The compiled model was tried on {record.probed_on}." if record.probed_on else ""
        return (
            f"{title} took no part in this run: no number here was measured on it.{probed}{never} "
            f"{result}"
        )
    if record.probed_on:
        return f"{title} took part: a few windows ran on {record.probed_on}. {result}"
    done = "played" if heard(record) else "ran"
    return f"{title} {done} the whole input: {record.played_on}."


def places(record: RunRecord) -> tuple[Place, ...]:
    """Return every device of the run with its work, the target last."""
    found = [
        Place(
            record.played_on,
            "played the whole input: it is what you hear"
            if heard(record)
            else "ran the whole input: the results are from here",
            "the quality metrics, the latency and the memory",
        )
    ]
    windows = max((line.windows for line in record.budget if line.stage == PROBE), default=0)
    if record.probed_on:
        count = f"{windows} window{'s' if windows != 1 else ''}" if windows else "a few windows"
        found.append(
            Place(
                record.probed_on,
                f"ran the compiled model on {count}",
                "the row `probe` of the error budget",
            )
        )
    title = record.target.title or record.target.name
    if title and not record.target_took_part:
        did = compiled_only(record.never_run) if record.never_run else "took no part in this run"
        found.append(Place(title, did, "none"))
    elif title and title not in {place.device for place in found}:
        found.append(Place(title, "took part, under the device above", "those above"))
    return tuple(found)


def _result(record: RunRecord) -> str:
    return "What you hear was played on" if heard(record) else "The results were computed on"
