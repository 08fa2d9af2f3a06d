"""Scores the bundled HTDemucs on songs outside its training, and writes the page beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from demucs.apply import apply_model
from demucs.htdemucs import HTDemucs
from numpy.typing import NDArray
from safetensors import safe_open

from plugins.dataset._generator import STEMS, make_song

RATE = 44100
HELD_OUT = range(10)  # seeds of the songs that no training uses
WEIGHTS = "htdemucs_small.safetensors"


def load(path: Path) -> HTDemucs:
    """Build the stored model in float32, in evaluation mode."""
    with safe_open(path, "pt") as stored:
        kwargs = json.loads(stored.metadata()["kwargs"])
        weights = {name: stored.get_tensor(name).float() for name in stored.keys()}  # noqa: SIM118
    model = HTDemucs(**{**kwargs, "segment": Fraction(kwargs["segment"])})
    model.load_state_dict(weights)
    evaluated: HTDemucs = model.eval()
    return evaluated


def sdr_of(reference: NDArray[np.float32], estimate: NDArray[np.float32]) -> float:
    """Return the signal-to-distortion ratio in dB of (2, time), as in the MDX Challenge 2021."""
    signal = np.sum(reference.astype(np.float64) ** 2)
    noise = np.sum((reference.astype(np.float64) - estimate) ** 2)
    return float(10.0 * np.log10((signal + 1e-7) / (noise + 1e-7)))


Scores = dict[int, dict[str, dict[str, float]]]


def score(model: HTDemucs, seeds: Iterable[int], seconds: float) -> Scores:
    """Return the SDR in dB by song and stem: of the `model`, and of the untouched `mixture`.

    The model runs as on a device, in chunks of 44,100 samples that overlap by a quarter.
    """
    songs: Scores = {}
    for seed in seeds:
        song = make_song(seed, seconds, RATE)
        mix = torch.from_numpy(song.mixture)[None]
        split = apply_model(model, mix, shifts=0, split=True, overlap=0.25, segment=1.0)[0].numpy()
        songs[seed] = {
            name: {"model": sdr_of(stem, split[i]), "mixture": sdr_of(stem, song.mixture)}
            for i, (name, stem) in enumerate(song.stems.items())
        }
    return songs


def mean_sdr(songs: Scores, stems: Iterable[str] = STEMS) -> dict[str, float]:
    """Return means over songs and stems, in dB, and the model's gain over the mixture."""
    picked = [song[name] for song in songs.values() for name in stems]
    means = {kind: float(np.mean([p[kind] for p in picked])) for kind in ("model", "mixture")}
    return {**means, "improvement": means["model"] - means["mixture"]}


def evaluate(path: Path, seconds: float) -> dict[str, Any]:
    """Measure the stored weights on `seconds` of every held-out song."""
    model = load(path)
    songs = score(model, HELD_OUT, seconds)
    cpus = [x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")]
    return {
        "machine": f"{len(cpus)} cores of {cpus[0].partition(': ')[2]}",
        "versions": {name: version(name) for name in ("torch", "demucs", "numpy", "scipy")},
        "parameters": sum(p.numel() for p in model.parameters()),
        "bytes": path.stat().st_size,
        "chunk_samples": RATE,
        "overlap": 0.25,
        "held_out_song_seconds": seconds,
        "sdr_db": mean_sdr(songs),
        "sdr_db_by_stem": {name: mean_sdr(songs, [name]) for name in STEMS},
        "sdr_db_by_song": songs,
    }


README = """\
# The bundled HTDemucs

`{weights}` is a small `demucs.htdemucs.HTDemucs`
({parameters:,} parameters, {bytes:,} bytes in float16) that splits the project's own generated
songs into drums, bass, other and vocals. The demo and the tests use it to run a trained model of
the real architecture without a download. It was not trained on recorded music: for real songs use
the weights that demucs publishes. Licence: Apache-2.0.

The file's metadata holds the constructor's arguments (`kwargs`, JSON; `segment` is a fraction
written as a string). Give it chunks of 44,100 samples at 44.1 kHz.

## Training

```
{command}
```

| | |
|---|---|
| machine | {machine} |
| training | {training[minutes]} minutes, {training[steps]:,} steps of {training[batch_seconds]} s |
| songs | {training[songs]} of {training[song_seconds]} s, seeds from {training[first_seed]:,} |
| seed | {seed} |
| packages | {packages} |

Half of the examples mix stems of different songs; gains, polarity and sides vary. The loss is L1
plus the error's level in dB, both on waveforms; AdamW, and a moving average of the weights is
stored. The schedule follows the clock, so another run gives similar weights, not the same.

| step | minutes | loss | SDR of 12 s of 4 held-out songs (dB) |
|---:|---:|---:|---:|
{curve}

Every row is in `training_curve.csv`.

## Evaluation

Songs {first_song} to {last_song} of the generator, {held_out_song_seconds:g} s each, never trained
on. The stored float16 weights run in float32, in chunks of 44,100 samples that overlap by a
quarter (`demucs.apply.apply_model`). SDR in dB over both channels and the whole song, as in the
Music Demixing Challenge 2021; *mixture* is the score of the untouched mixture given as every stem.
All figures are in `evaluation.json`.

| stem | model | mixture | improvement |
|---|---:|---:|---:|
{stems}

The model by song:

| song | {names} | mean | mixture | improvement |
|---:|---:|---:|---:|---:|---:|---:|---:|
{songs}
"""


def readme(report: dict[str, Any], curve: list[dict[str, str]]) -> str:
    """Return the page in Markdown: the model, its training and its scores."""

    def table(rows: Iterable[Iterable[str | float]]) -> str:
        cells = ([c if isinstance(c, str) else f"{c:.2f}" for c in row] for row in rows)
        return "\n".join(f"| {' | '.join(row)} |" for row in cells)

    stems = {**report["sdr_db_by_stem"], "**mean**": report["sdr_db"]}
    songs = report["sdr_db_by_song"]
    return README.format(
        **report,
        weights=WEIGHTS,
        first_song=HELD_OUT[0],
        last_song=HELD_OUT[-1],
        names=" | ".join(STEMS),
        packages=", ".join(f"{name} {number}" for name, number in report["versions"].items()),
        curve=table(
            (row["step"], f"{float(row['seconds']) / 60:.0f}", row["loss"], row["held_out_sdr_db"])
            for row in curve
        ),
        stems=table((name, *sdr.values()) for name, sdr in stems.items()),
        songs=table(
            (str(seed), *(song[name]["model"] for name in STEMS), *mean_sdr({seed: song}).values())
            for seed, song in songs.items()
        ),
    )
