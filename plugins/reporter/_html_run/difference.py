"""The shipped graph against FP32 PyTorch: the part that differs most, as sound and as waveforms.

Both results are those of whole inputs in the same windows, read from the store. Imported when a
report is written, never when plugins are listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open

from core.measure.metrics import snr_db
from core.plugin.step_names import PLAY, REFERENCE
from plugins.reporter._html_run import sound
from plugins.reporter._html_run.markup import data_uri

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.plugin.records import PlayedItem, RunRecord
    from core.plugin.values import TensorSpec

__all__ = ["Comparison", "Versions", "comparisons"]

#: The difference is searched and drawn in steps of this (s).
STEP_S = 0.05
#: Steps that are read at a time.
BLOCK = 2048
COLUMNS = 480
#: Waveforms stand above their line, differences hang below it.
UP, DOWN = 1, -1
#: Above this, a difference would be the noise of 32-bit numbers, amplified (dB).
MOST_DB = 60.0
#: Results whose levels differ more are not merely louder or quieter: they are left as they are.
LARGEST_MATCH_DB = 6.0
#: A sound below this is silence, whose level cannot be matched (RMS, full scale is 1).
SILENT = 1e-5
#: Nothing is clipped: what would pass this makes all sounds of the item quieter.
HIGHEST = 0.99


@dataclass(frozen=True)
class Versions:
    """One label of the excerpt: FP32, shipped, and their difference, as sounds and as outlines.

    `sounds` holds MIME type and `data:` address. `match_db` is the gain that the shipped one got to
    be as loud as FP32, `gain_db` that of the difference. `outline` and `error` are paths of SVG in
    a box of 1000 × 2, up and down from 1. `snr_db` is that of the excerpt, 200 dB if nothing
    differs.
    """

    label: str
    snr_db: float
    match_db: float
    gain_db: float
    sounds: Mapping[str, tuple[str, str]]
    outline: str
    error: str


@dataclass(frozen=True)
class Comparison:
    """One item: the excerpt of `seconds` from `start` on, and where in `whole` it differs most.

    `largest_s` is the place of the largest difference, in the label `largest`, in the middle of the
    excerpt unless an end of the item is near; None where nothing differs. `lowered_db` is how much
    quieter every sound of the item is played, so that nothing is clipped. `seams` are the spans (s)
    in which two windows overlap, of length 0 where they only touch. `outline` and `error` are paths
    as in `Versions`, of all labels over the whole item.
    """

    item: str
    start: float
    seconds: float
    whole: float
    largest_s: float | None
    largest: str
    lowered_db: float
    seams: tuple[tuple[float, float], ...]
    windows: int
    outline: str
    error: str
    labels: tuple[Versions, ...]


@dataclass(frozen=True)
class _Part:
    """One label of one output: it gives (channel, time) of either result, between two samples."""

    label: str
    rate: float
    length: int
    played: _Read
    reference: _Read

    @property
    def span(self) -> tuple[float, int]:
        """Return the rate and the length in samples."""
        return self.rate, self.length


class _Read:
    """Reads one label of a tensor as float32 (channel, time)."""

    def __init__(self, tensor: Any, time: int, index: dict[int, int]) -> None:
        self._tensor, self._time, self._index = tensor, time, index

    def __call__(self, start: int, stop: int) -> NDArray[np.float32]:
        axes = range(len(self._tensor.get_shape()))
        cut = tuple(
            slice(self._index[a], self._index[a] + 1)
            if a in self._index
            else slice(start, stop)
            if a == self._time
            else slice(None)
            for a in axes
        )
        array = np.moveaxis(np.asarray(self._tensor[cut], np.float32), self._time, -1)
        return np.nan_to_num(array.reshape(-1, array.shape[-1]))


def comparisons(
    record: RunRecord, names: Sequence[str], *, seconds: float, codec: str, stereo: bool
) -> list[Comparison] | None:
    """Compare as many items as have `names` here; `record` has the true paths of the store.

    None where the store has no longer both results; empty where the outputs are no sound.
    """
    made = {stage.name: stage.artifact.path for stage in record.stages}
    found = []
    try:
        with (
            safe_open(made[PLAY], "numpy") as played,
            safe_open(made[REFERENCE], "numpy") as reference,
        ):
            for item, name in zip(record.items, names, strict=False):
                parts = list(_parts(record.signature.outputs, item.id, played, reference))
                # Outputs that run beside each other: those of another rate have other places.
                parts = [part for part in parts if part.span == parts[0].span]
                if parts:
                    seams = _seams(record, item)
                    found.append(_compare(name, parts, seams, seconds, codec, stereo=stereo))
    except (KeyError, OSError, SafetensorError):
        return None
    return found


def _parts(
    outputs: Sequence[TensorSpec], item: str, played: Any, reference: Any
) -> Iterator[_Part]:
    """Yield every label of every output that is sound: floats along an axis with a rate."""
    for spec in outputs:
        if not spec.is_float or not spec.rates:
            continue
        axis = next(iter(spec.rates))
        pair = [of.get_slice(f"{item}/{spec.name}") for of in (played, reference)]
        shape = pair[0].get_shape()
        named = next((name for name in spec.labels if name != axis), None)
        others = [a for a in spec.axes if a not in (axis, named)]
        # What has further axes is a spectrum or the like.
        if len(others) > 1 or shape != pair[1].get_shape() or not shape[spec.axis(axis)]:
            continue
        for number, label in enumerate(spec.labels[named] if named else (spec.name,)):
            index = {spec.axis(named): number} if named else {}
            reads = [_Read(tensor, spec.axis(axis), index) for tensor in pair]
            yield _Part(label, spec.rates[axis], shape[spec.axis(axis)], *reads)


def _seams(record: RunRecord, item: PlayedItem) -> tuple[int, tuple[tuple[float, float], ...]]:
    """Return how many windows there are, and the spans (s) in which two neighbours overlap."""
    for spec in record.signature.inputs:
        for axis, rate in spec.rates.items():
            spans = item.cuts.get(axis, ())
            seams = (
                (min(stop, start), max(stop, start)) for (_, stop), (start, _) in pairwise(spans)
            )
            return len(spans), tuple((a / rate, b / rate) for a, b in seams)
    return 0, ()


def _compare(
    name: str,
    parts: Sequence[_Part],
    seams: tuple[int, tuple[tuple[float, float], ...]],
    seconds: float,
    codec: str,
    *,
    stereo: bool,
) -> Comparison:
    rate, whole = parts[0].rate, parts[0].length / parts[0].rate
    sums = [_sums(part) for part in parts]
    energies = np.array([energy for energy, _, _ in sums])
    largest = divmod(int(energies.argmax()), energies.shape[1]) if energies.any() else None
    largest_s = None if largest is None else min(whole, (largest[1] + 0.5) * STEP_S)
    seconds = min(seconds, whole)
    start_s = max(0.0, min((largest_s or 0.0) - seconds / 2, whole - seconds))
    cut = [_cut(part, start_s, seconds) for part in parts]
    versions, lowered_db = _versions(parts, cut, codec, stereo=stereo)
    level, error = (np.max([one[row] for one in sums], axis=0) for row in (1, 2))
    return Comparison(
        item=name,
        start=start_s,
        seconds=len(cut[0][0][0]) / rate,
        whole=whole,
        largest_s=largest_s,
        largest="" if largest is None else parts[largest[0]].label,
        lowered_db=lowered_db,
        seams=seams[1],
        windows=seams[0],
        outline=_outline(_columns(level), _peak(level)),
        error=_outline(_columns(error), _peak(error), DOWN),
        labels=versions,
    )


def _sums(part: _Part) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return per step the energy of the difference, the peak of FP32, and of the difference."""
    step = max(1, round(STEP_S * part.rate))
    found = []
    # In blocks: a long recording need not lie in memory as a whole.
    for first in range(0, part.length, step * BLOCK):
        last = min(part.length, first + step * BLOCK)
        reference = part.reference(first, last)
        error = part.played(first, last) - reference
        starts = np.arange(0, last - first, step)
        found.append(
            (
                np.add.reduceat(np.square(error, dtype=np.float64).sum(axis=0), starts),
                np.maximum.reduceat(np.abs(reference).max(axis=0), starts),
                np.maximum.reduceat(np.abs(error).max(axis=0), starts),
            )
        )
    energy, level, error = (np.concatenate(rows) for rows in zip(*found, strict=True))
    return energy, level, error


def _cut(
    part: _Part, start_s: float, seconds: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the excerpt of FP32 and of the shipped graph, each (channel, time)."""
    first = round(start_s * part.rate)
    last = min(part.length, first + round(seconds * part.rate))
    return part.reference(first, last), part.played(first, last)


def _versions(
    parts: Sequence[_Part],
    cut: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
    codec: str,
    *,
    stereo: bool,
) -> tuple[tuple[Versions, ...], float]:
    """Return the sounds of every label, and by how many dB all of them were lowered."""
    matches = [_match_db(reference, played) for reference, played in cut]
    loudest = max(
        max(_peak(reference), _peak(played) * _factor(match))
        for (reference, played), match in zip(cut, matches, strict=True)
    )
    lowered = min(1.0, HIGHEST / loudest) if loudest else 1.0
    made = []
    for part, (reference, played), match in zip(parts, cut, matches, strict=True):
        error = played - reference
        gain_db = _gain_db(reference, error, lowered)
        sounds = {
            # Lossless: what a codec leaves out must not hide the difference, nor add to it.
            "fp32": _encoded(lowered * reference, part.rate, "flac", stereo=stereo),
            "shipped": _encoded(
                lowered * _factor(match) * played, part.rate, "flac", stereo=stereo
            ),
            # Encoded by itself: amplified 16-bit numbers would mostly be their own rounding.
            "difference": _encoded(
                lowered * _factor(gain_db) * error, part.rate, codec, stereo=stereo
            ),
        }
        top = _peak(reference) or 1.0
        made.append(
            Versions(
                part.label,
                snr_db(reference, played),
                match,
                gain_db,
                sounds,
                _outline(_peaks(reference), top),
                _outline(_factor(gain_db) * _peaks(error), top, DOWN),
            )
        )
    return tuple(made), 20 * float(np.log10(lowered))


def _match_db(reference: NDArray[np.float32], played: NDArray[np.float32]) -> float:
    """Return the gain that makes the shipped result as loud as FP32; 0 where it is another one."""
    levels = [_rms(reference), _rms(played)]
    if min(levels) < SILENT:
        return 0.0
    db = 20 * float(np.log10(levels[0] / levels[1]))
    return db if abs(db) <= LARGEST_MATCH_DB else 0.0


def _gain_db(reference: NDArray[np.float32], error: NDArray[np.float32], lowered: float) -> float:
    """Return the whole dB that make the difference as loud as FP32, where it then still fits."""
    level, peak = _rms(error), _peak(error)
    if not level:
        return 0.0
    room = [_rms(reference) / level, HIGHEST / (lowered * peak)]
    return float(np.clip(np.floor(20 * np.log10(max(min(room), 1e-9))), 0, MOST_DB))


def _encoded(
    samples: NDArray[np.float32], rate: float, codec: str, *, stereo: bool
) -> tuple[str, str]:
    clip = sound.Clip(np.ascontiguousarray(samples.T), round(rate), 0.0, 0.0)
    mime, content = sound.encode(clip, codec, stereo=stereo)
    return mime, data_uri(mime, content)


def _peaks(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the highest absolute value of every column of a picture, of (channel, time)."""
    return _columns(np.abs(samples).max(axis=0))


def _columns(peaks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the highest of the peaks in every column of a picture."""
    columns = min(COLUMNS, len(peaks))
    starts = np.linspace(0, len(peaks), columns, endpoint=False).astype(int)
    highest: NDArray[np.float32] = np.maximum.reduceat(peaks, starts)
    return highest


def _outline(peaks: NDArray[np.float32], top: float, side: int = UP) -> str:
    """Return peaks as a path that leaves the height 1 to one side, in a box of 1000 × 2."""
    heights = 1 - side * np.minimum(1.0, peaks / (top or 1.0))
    places = (np.arange(len(peaks)) + 0.5) * 1000 / len(peaks)
    points = (f"{x:.0f} {h:.2f}" for x, h in zip(places, heights, strict=True))
    return f"M0 1L{'L'.join(points)}L1000 1Z"


def _rms(samples: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if samples.size else 0.0


def _peak(samples: NDArray[Any]) -> float:
    return float(np.abs(samples).max(initial=0))


def _factor(db: float) -> float:
    return float(10 ** (db / 20))
