"""Train the bundled HTDemucs on generated songs: python -m tools.train_bundled --minutes 75.

Writes `htdemucs_small.safetensors`, `training_curve.csv`, `evaluation.json` and `README.md` to
--out; songs and the checkpoint go to --work. Run it again to resume; once --minutes have
passed, it only evaluates what is stored and writes the report.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from demucs.htdemucs import HTDemucs
from numpy.typing import NDArray
from safetensors.torch import save_file

from plugins.dataset._generator import STEMS, make_song
from tools.bundled_report import HELD_OUT, RATE, WEIGHTS, evaluate, load, readme, score

ROOT = Path(__file__).resolve().parents[1]
FIRST_SEED = 10_000  # the first seed of the training songs; `HELD_OUT` has other seeds
SONG_SECONDS = 20

Weights = dict[str, torch.Tensor]


def constructor(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `HTDemucs`, ready for JSON except for `segment`."""
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


# Songs and batches


def _render(seed: int) -> NDArray[np.int16]:
    song = make_song(seed, SONG_SECONDS, RATE)
    return np.round(np.stack(list(song.stems.values())) * 32767.0).astype(np.int16)


def training_songs(path: Path, count: int) -> NDArray[np.int16]:
    """Return songs as one memory map, (song, stem, channel, time) in 16 bits; made once."""
    shape = (count, len(STEMS), 2, SONG_SECONDS * RATE)
    if not path.exists():
        part = path.with_suffix(".part")
        songs = np.lib.format.open_memmap(part, "w+", np.int16, shape)
        with ProcessPoolExecutor() as pool:
            for index, song in enumerate(pool.map(_render, range(FIRST_SEED, FIRST_SEED + count))):
                songs[index] = song
        songs.flush()
        part.rename(path)
    stored: NDArray[np.int16] = np.load(path, mmap_mode="r")
    if stored.shape != shape:
        raise SystemExit(f"{path} holds {stored.shape}, `--songs` asks for {shape}: delete it")
    return stored


def draw_batch(rng: np.random.Generator, songs: NDArray[np.int16], size: int) -> torch.Tensor:
    """Return stems of `size` seconds in all, (batch, stem, channel, time), in items of 1 or 2 s.

    One batch in ten has items of 2 s. Half of the items mix stems of different songs. Every stem
    gets its own gain (-8 to +3.5 dB) and polarity; left and right are swapped in half of the items.
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


# Training


@dataclass
class Progress:
    """The state of a training run, besides the weights in training and the optimizer."""

    average: Weights
    """Exponential moving average of the weights; this is what gets stored."""
    step: int = 0
    seconds: float = 0.0


def loss_of(estimate: torch.Tensor, stems: torch.Tensor) -> torch.Tensor:
    """Return L1 relative to the mix's level, plus a twentieth of the error's level in dB.

    Both are (batch, stem, channel, time). The second term has the same weight for a quiet stem as
    for a loud stem. It stops at 30 dB below the mix, so that a silent stem does not dominate.
    """
    mix = stems.sum(1)
    l1 = (estimate - stems).abs().mean() / (mix.abs().mean() + 1e-4)
    power = mix.square().mean((1, 2))[:, None] + 1e-6
    error = (estimate - stems).square().mean((2, 3)) / power
    return l1 + 0.05 * 10.0 * torch.log10(error + 1e-3).mean()


def learning_rate(peak: float, done: float) -> float:
    """Warm up over the first 2 % of the time, then follow a cosine down to 1 % of `peak`."""
    if done < 0.02:
        return peak * (0.02 + 0.98 * done / 0.02)
    return peak * (0.01 + 0.495 * (1.0 + math.cos(math.pi * min(done, 1.0))))


def save_weights(weights: Weights, options: argparse.Namespace) -> Path:
    """Store float16 weights with the data to build the model again; replaces the file at once."""
    kwargs = constructor(options)
    metadata = {
        "format": "luthier-htdemucs",
        "class": "HTDemucs",
        "kwargs": json.dumps({**kwargs, "segment": str(kwargs["segment"])}),
        "seed": str(options.seed),
        "licence": "Apache-2.0",
    }
    path: Path = options.out / WEIGHTS
    part = path.with_suffix(".part")
    save_file({k: v.half().contiguous() for k, v in weights.items()}, part, metadata)
    part.chmod(0o644)  # safetensors 0.8 creates files that only their owner can read
    part.replace(path)
    return path


def train(options: argparse.Namespace) -> Progress:
    """Train until --minutes have passed, over all resumed runs."""
    torch.manual_seed(options.seed)
    torch.set_flush_denormal(True)  # otherwise activations near zero are slow
    model = HTDemucs(**constructor(options))
    optimizer = torch.optim.AdamW(
        model.parameters(), options.lr, betas=(0.9, 0.99), weight_decay=0.02, fused=True
    )
    progress = Progress({k: v.detach().clone() for k, v in model.state_dict().items()})
    checkpoint: Path = options.work / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        progress = Progress(saved["average"], saved["step"], saved["seconds"])
    else:
        (options.out / "training_curve.csv").write_text("step,seconds,loss,held_out_sdr_db\n")
    save_weights(progress.average, options)  # at once, so that other programs can load the model
    budget = 60.0 * options.minutes
    if progress.seconds < budget:
        songs = training_songs(options.work / "songs.npy", options.songs)
    rng = np.random.default_rng([options.seed, progress.step])
    begin, smooth, last_save = time.monotonic() - progress.seconds, math.nan, progress.seconds
    while progress.seconds < budget:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(options.lr, progress.seconds / budget)
        stems = draw_batch(rng, songs, options.batch)
        loss = loss_of(model(stems.sum(1)), stems)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        progress.step += 1
        progress.seconds = time.monotonic() - begin
        smooth = loss.item() if math.isnan(smooth) else 0.99 * smooth + 0.01 * loss.item()
        keep = min(0.999, (1.0 + progress.step) / (10.0 + progress.step))
        for name, weight in model.state_dict().items():
            progress.average[name].lerp_(weight, 1.0 - keep)
        if progress.step % 100 == 0:
            print(f"step {progress.step} {progress.seconds:.0f} s loss {smooth:.4f}", flush=True)
        if progress.seconds >= min(budget, last_save + 60.0 * options.every):
            last_save = progress.seconds
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**state, **vars(progress)}, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").replace(checkpoint)
            note_curve(options.out, progress, smooth, load(save_weights(progress.average, options)))
    return progress


def note_curve(out: Path, progress: Progress, loss: float, model: HTDemucs) -> None:
    """Append step, seconds, loss and the SDR of 12 s of four held-out songs to the curve."""
    songs = score(model, HELD_OUT[:4], seconds=12.0)
    sdr = np.mean([stem["model"] for song in songs.values() for stem in song.values()])
    print(f"step {progress.step} held-out SDR {sdr:.2f} dB", flush=True)
    with (out / "training_curve.csv").open("a", newline="") as curve:
        row = (progress.step, round(progress.seconds), f"{loss:.4f}", f"{sdr:.3f}")
        csv.writer(curve).writerow(row)


def described(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Return the measured figures of the stored weights, and their training."""
    return {
        "command": " ".join(["python -m tools.train_bundled", *sys.argv[1:]]),
        "seed": options.seed,
        "kwargs": constructor(options),
        "training": {
            "steps": progress.step,
            "minutes": round(progress.seconds / 60.0, 1),
            "batch_seconds": options.batch,
            "songs": options.songs,
            "song_seconds": SONG_SECONDS,
            "first_seed": FIRST_SEED,
        },
        **evaluate(options.out / WEIGHTS, options.seconds),
    }


def main() -> None:
    """Read the arguments, train, evaluate what was stored, write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=75.0)
    parser.add_argument("--every", type=float, default=5.0, help="minutes between saves")
    parser.add_argument("--songs", type=int, default=320, help="how many, of 20 s each")
    parser.add_argument("--batch", type=int, default=4, help="seconds of sound per step")
    parser.add_argument("--lr", type=float, default=1.2e-3, help="highest learning rate")
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--dconv-depth", type=int, default=1)
    parser.add_argument("--t-layers", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each held-out song")
    parser.add_argument("--out", type=Path, default=ROOT / "plugins/model/bundled")
    parser.add_argument("--work", type=Path, default=ROOT / "outputs/training")
    options = parser.parse_args()
    for folder in (options.out, options.work):
        folder.mkdir(parents=True, exist_ok=True)
    report = described(options, train(options))
    (options.out / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n")
    with (options.out / "training_curve.csv").open(newline="") as curve:
        (options.out / "README.md").write_text(readme(report, list(csv.DictReader(curve))))


if __name__ == "__main__":
    main()
