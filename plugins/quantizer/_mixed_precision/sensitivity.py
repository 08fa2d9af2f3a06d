"""Measures the cost of each group: the group alone at a level, everything else in float."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core import Progress
from core.measure.metrics import LIMIT_DB
from plugins.quantizer._mixed_precision.levels import Level

if TYPE_CHECKING:
    from core.plugin.values import Row
    from plugins.quantizer._mixed_precision.grouping import Group
    from plugins.quantizer._mixed_precision.trial import Bench, Noise

__all__ = ["Sensitivity", "chart", "measured", "predicted", "snr_of"]


@dataclass(frozen=True)
class Sensitivity:
    """The noise at every output of the graph with one group alone at each of some levels.

    Noise is in power, relative to the signal of the output. Float makes none.
    """

    group: Group
    noise: Mapping[Level, Noise]


def snr_of(noise: Noise) -> float:
    """Return the SNR in dB of the worst output, clipped to ±200 dB."""
    import numpy as np

    with np.errstate(divide="ignore"):
        return float(np.clip(-10 * np.log10(np.max(noise)), -LIMIT_DB, LIMIT_DB))


def predicted(found: Sequence[Sensitivity], levels: Mapping[str, Level]) -> float:
    """Return the SNR in dB that the groups' own noises add up to: independent, powers add."""
    import numpy as np

    alone = [entry.noise.get(levels[entry.group.name]) for entry in found]
    noises = [noise for noise in alone if noise is not None]
    return snr_of(np.sum(noises, axis=0)) if noises else LIMIT_DB


def measured(
    bench: Bench, groups: Sequence[Group], levels: Sequence[Level], progress: Progress
) -> list[Sensitivity]:
    """Return the sensitivity of each group to each level but float."""
    found = []
    for number, group in enumerate(groups):
        progress(number, len(groups), f"sensitivity {number + 1} of {len(groups)}: {group.name}")
        noise: dict[Level, Noise] = {
            level: bench.noise(dict.fromkeys(group.nodes, level))
            for level in levels
            if level is not Level.float
        }
        found.append(Sensitivity(group, noise))
    return found


def chart(
    groups: Sequence[Group], found: Sequence[Sensitivity], levels: Mapping[str, Level]
) -> list[str | float | Row]:
    """Return the chart as a fact, a row per group in the order of the graph.

    `macs` are the multiply-accumulates of one window, `snr_8_db` and `snr_16_db` the SNR at the
    graph's worst output with that group alone at 8 and at 16 bits (None where it was not measured:
    a level that was not to choose from, a group whose level was given), and `level` is the one that
    it got: `int8`, `int16` or `float`.
    """
    noise = {entry.group.name: entry.noise for entry in found}
    rows: list[str | float | Row] = []
    for group in groups:
        alone = noise.get(group.name, {})
        low, high = (
            round(snr_of(alone[level]), 2) if level in alone else None
            for level in (Level.int8, Level.int16)
        )
        rows.append(
            {
                "name": group.name,
                "macs": group.macs,
                "snr_8_db": low,
                "snr_16_db": high,
                "level": levels[group.name].name,
            }
        )
    return rows
