"""Train the bundled HTDemucs on generated songs: python tools/train_bundled.py --minutes 75.

Writes `htdemucs_small.safetensors`, `training_curve.csv`, `evaluation.json` and `README.md` to
plugins/model/bundled; songs and the checkpoint go to --work. Run again to resume.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from demucs.apply import apply_model
from demucs.htdemucs import HTDemucs
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from plugins.dataset.generator import STEMS, make_song  # noqa: E402

RATE = 44100
FIRST_SEED = 10_000  # training songs; the held-out ones are 0 to 9
SONG_SECONDS = 20


def constructor(options: argparse.Namespace) -> dict[str, object]:
    """Arguments of `HTDemucs`, JSON-ready."""
    return {
        "sources": list(STEMS),
        "channels": options.channels,
        "depth": 4,
        "nfft": 4096,
        "cac": True,
        "dconv_depth": options.dconv_depth,
        "t_layers": options.t_layers,
        "t_hidden_scale": 2.0,
        "t_heads": 4,
        "samplerate": RATE,
        "segment": 2,
        "use_train_segment": False,
    }


def _render(seed: int) -> NDArray[np.int16]:
    song = make_song(seed, SONG_SECONDS, RATE)
    return np.round(np.stack(list(song.stems.values())) * 32767.0).astype(np.int16)


def training_songs(path: Path, count: int) -> NDArray[np.int16]:
    """Songs as one memory map, (song, stem, channel, time) in 16 bits; made once."""
    shape = (count, len(STEMS), 2, SONG_SECONDS * RATE)
    if not path.exists():
        part = path.with_suffix(".part")
        songs = np.lib.format.open_memmap(part, "w+", np.int16, shape)
        with ProcessPoolExecutor(2) as pool:
            for index, song in enumerate(pool.map(_render, range(FIRST_SEED, FIRST_SEED + count))):
                songs[index] = song
        songs.flush()
        part.rename(path)
    stored: NDArray[np.int16] = np.load(path, mmap_mode="r")
    if stored.shape != shape:
        raise SystemExit(f"{path} holds {stored.shape}, --songs asks for {shape}: delete it")
    return stored


def draw_batch(rng: np.random.Generator, songs: NDArray[np.int16], size: int) -> torch.Tensor:
    """Stems of `size` seconds in all, (batch, stem, channel, time); one batch in ten is of 2 s.

    Half of the items mix stems of different songs; every stem gets its own gain (-8 to +3.5 dB),
    polarity and, with its neighbours, a swap of left and right.
    """
    seconds = 2 if rng.random() < 0.1 else 1
    length = seconds * RATE
    batch = np.empty((size // seconds, len(STEMS), 2, length), dtype=np.float32)
    for item in batch:
        remix = rng.random() < 0.5
        song, start = rng.integers(len(songs)), rng.integers(songs.shape[-1] - length)
        swap = -1 if rng.random() < 0.5 else 1
        for stem in range(len(STEMS)):
            if remix:
                song, start = rng.integers(len(songs)), rng.integers(songs.shape[-1] - length)
            gain = rng.choice([-1.0, 1.0]) * 10.0 ** (rng.uniform(-8.0, 3.5) / 20.0) / 32767.0
            item[stem] = songs[song, stem, ::swap, start : start + length] * np.float32(gain)
    return torch.from_numpy(batch)


def loss_of(estimate: torch.Tensor, stems: torch.Tensor) -> torch.Tensor:
    """L1 relative to the mix's level, plus a twentieth of the error's level in dB.

    The second term asks as much of a quiet stem as of a loud one; it stops at 30 dB below
    the mix, so that a silent stem does not take over.
    """
    mix = stems.sum(1)
    l1 = (estimate - stems).abs().mean() / (mix.abs().mean() + 1e-4)
    power = mix.square().mean((1, 2))[:, None] + 1e-6
    error = (estimate - stems).square().mean((2, 3)) / power
    return l1 + 0.05 * 10.0 * torch.log10(error + 1e-3).mean()


def load(path: Path) -> HTDemucs:
    """The stored model in float32, in evaluation mode."""
    with safe_open(path, "pt") as stored:
        kwargs = json.loads(stored.metadata()["kwargs"])
        weights = {name: stored.get_tensor(name).float() for name in stored.keys()}
    kwargs["segment"] = Fraction(kwargs["segment"])
    model = HTDemucs(**kwargs)
    model.load_state_dict(weights)
    return model.eval()


def sdr(reference: NDArray[np.float32], estimate: NDArray[np.float32]) -> float:
    """Signal-to-distortion ratio in dB of (2, time), as in the Music Demixing Challenge 2021."""
    signal = np.sum(reference.astype(np.float64) ** 2)
    noise = np.sum((reference.astype(np.float64) - estimate) ** 2)
    return float(10.0 * np.log10((signal + 1e-7) / (noise + 1e-7)))


def score(model: HTDemucs, seed: int, seconds: float) -> dict[str, dict[str, float]]:
    """SDR of each stem of one song, in dB: `model`'s, and that of the `mixture` left as it is."""
    song = make_song(seed, seconds)
    mixture = song.mixture
    separated = apply_model(
        model, torch.from_numpy(mixture)[None], shifts=0, split=True, overlap=0.25, segment=1.0
    )[0].numpy()
    return {
        name: {"model": sdr(stem, separated[index]), "mixture": sdr(stem, mixture)}
        for index, (name, stem) in enumerate(song.stems.items())
    }


def held_out_sdr(path: Path, seeds: Iterable[int], seconds: float) -> float:
    """Mean SDR over stems and songs, in dB."""
    model = load(path)
    songs = [score(model, seed, seconds) for seed in seeds]
    return float(np.mean([stem["model"] for song in songs for stem in song.values()]))


def learning_rate(peak: float, done: float) -> float:
    """Warm-up over the first 2 % of the time, then a cosine down to 1 % of `peak`."""
    if done < 0.02:
        return peak * (0.02 + done / 0.02)
    return peak * (0.01 + 0.495 * (1.0 + math.cos(math.pi * min(done, 1.0))))


def save_weights(
    model: HTDemucs, weights: dict[str, torch.Tensor], options: argparse.Namespace
) -> Path:
    """Store float16 weights with what is needed to build the model again; replaces at once."""
    kwargs = {**constructor(options), "segment": str(constructor(options)["segment"])}
    metadata = {
        "format": "luthier-htdemucs",
        "class": "HTDemucs",
        "kwargs": json.dumps(kwargs),
        "seed": str(options.seed),
        "licence": "Apache-2.0",
    }
    path: Path = options.out / "htdemucs_small.safetensors"
    part = path.with_suffix(".part")
    save_file({k: v.half().contiguous() for k, v in weights.items()}, part, metadata)
    os.replace(part, path)
    return path


def train(options: argparse.Namespace) -> float:
    """Train until --minutes have passed, over all resumed runs; returns the seconds trained."""
    torch.manual_seed(options.seed)
    torch.set_flush_denormal(True)  # activations that fade to nothing are slow otherwise
    model = HTDemucs(**constructor(options))
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    optimizer = torch.optim.AdamW(
        model.parameters(), options.lr, betas=(0.9, 0.99), weight_decay=0.02, fused=True
    )
    save_weights(model, average, options)
    songs = training_songs(options.work / "songs.npy", options.songs)
    checkpoint, step, before = options.work / "checkpoint.pt", 0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        average, step, before = saved["average"], saved["step"], saved["seconds"]
    rng = np.random.default_rng([options.seed, step])
    begin, smooth, last_save = time.monotonic(), math.nan, before
    budget = 60.0 * options.minutes
    while True:
        seconds = before + time.monotonic() - begin
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(options.lr, seconds / budget)
        stems = draw_batch(rng, songs, options.batch)
        loss = loss_of(model(stems.sum(1)), stems)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        smooth = loss.item() if math.isnan(smooth) else 0.99 * smooth + 0.01 * loss.item()
        keep = min(0.999, (1.0 + step) / (10.0 + step))
        state = model.state_dict()
        torch._foreach_lerp_(list(average.values()), [state[k] for k in average], 1.0 - keep)
        if step % 100 == 0:
            print(f"step {step} {seconds:.0f} s loss {smooth:.4f}", flush=True)
        ended = seconds >= budget
        if ended or seconds - last_save >= 60.0 * options.every:
            last_save = seconds
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            progress = {"average": average, "step": step, "seconds": seconds}
            torch.save({**state, **progress}, checkpoint.with_suffix(".part"))
            os.replace(checkpoint.with_suffix(".part"), checkpoint)
            path = save_weights(model, average, options)
            sdr = held_out_sdr(path, seeds=range(4), seconds=12.0)
            print(f"step {step} {seconds:.0f} s held-out SDR {sdr:.2f} dB", flush=True)
            with (options.out / "training_curve.csv").open("a", newline="") as curve:
                csv.writer(curve).writerow((step, round(seconds), f"{smooth:.4f}", f"{sdr:.3f}"))
        if ended:
            return seconds


def main() -> None:
    """Read the arguments, train, evaluate what was stored."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=75.0)
    parser.add_argument("--every", type=float, default=5.0, help="minutes between saves")
    parser.add_argument("--songs", type=int, default=320, help="of 20 s each")
    parser.add_argument("--batch", type=int, default=4, help="seconds of sound per step")
    parser.add_argument("--lr", type=float, default=1.2e-3)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--dconv-depth", type=int, default=1)
    parser.add_argument("--t-layers", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "plugins/model/bundled")
    parser.add_argument("--work", type=Path, default=Path("/work/train"))
    options = parser.parse_args()
    curve = options.out / "training_curve.csv"
    if not (options.work / "checkpoint.pt").exists():
        curve.write_text("step,seconds,loss,held_out_sdr_db\n")
    train(options)


if __name__ == "__main__":
    main()
