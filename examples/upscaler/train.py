"""Trains the weights in `luthier_upscaler/weights` on drawn images, and measures them.

    python train.py

It takes a few minutes on one CPU core. It uses one core only: on images this small, two threads
wait for each other longer than they compute. The same command gives the same weights. Run it in an
environment where Luthier and this package are installed. `results.json` holds the figures, the
machine and the command.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from core.machine.environment import machine
from safetensors.torch import save_file

from luthier_upscaler.bicubic import bicubic
from luthier_upscaler.drawing import draw, halved
from luthier_upscaler.network import SCALE, Upscaler
from luthier_upscaler.psnr import psnr_db
from luthier_upscaler.shapes import generator

HERE = Path(__file__).parent
WEIGHTS = HERE / "luthier_upscaler" / "weights" / "upscaler.safetensors"
SIZE, PATCH, BATCH, IMAGES = 160, 64, 16, 500


def main() -> None:
    """Train, write the weights, and write their figures on images outside the training set."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=10000)
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network, random = Upscaler().to(memory_format=torch.channels_last), np.random.default_rng(0)
    images = [draw(SIZE, generator("training", 0, index)) for index in range(IMAGES)]
    print(f"{sum(p.numel() for p in network.parameters())} parameters, {IMAGES} images")
    started = time.monotonic()
    _train(network, images, random, steps)
    minutes = (time.monotonic() - started) / 60
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, WEIGHTS)
    results = {
        "command": f"python train.py --steps {steps}",
        "machine": machine(),
        "torch": torch.__version__,
        "minutes": round(minutes, 1),
        **_measured(network),
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


def _train(
    network: Upscaler, images: list[np.ndarray], random: np.random.Generator, steps: int
) -> None:
    """Train on the measured figure, the mean of -PSNR, with a learning rate that falls to 0."""
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(1, steps + 1):
        large = np.stack([_patch(images, random) for _ in range(BATCH)])
        small = np.stack([halved(image) for image in large])
        error = network(torch.from_numpy(small)) - torch.from_numpy(large)
        loss = 10 * torch.log10(error.square().mean(dim=(1, 2, 3)) + 1e-5).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 500 == 0:
            print(f"step {step} of {steps}: {-loss.item():.2f} dB", file=sys.stderr)


def _patch(images: list[np.ndarray], random: np.random.Generator) -> np.ndarray:
    """Return a piece of one image, rotated and mirrored at random."""
    image = images[random.integers(len(images))]
    top, left = SCALE * random.integers((SIZE - PATCH) // SCALE, size=2)
    piece = np.rot90(image[:, top : top + PATCH, left : left + PATCH], random.integers(4), (1, 2))
    return np.ascontiguousarray(piece[..., ::-1] if random.integers(2) else piece)


def _measured(network: Upscaler) -> dict[str, float]:
    """Return the mean PSNR over 20 evaluation images, also for bicubic and nearest neighbour."""
    found: dict[str, list[float]] = {"upscaler": [], "bicubic": [], "nearest": []}
    for index in range(20):
        large = draw(SIZE, generator("evaluation", 0, index))
        small = halved(large)
        with torch.no_grad():
            upscaled = network(torch.from_numpy(small)[None])[0].numpy()
        found["upscaler"].append(psnr_db(large, upscaled))
        found["bicubic"].append(psnr_db(large, bicubic(small)))
        found["nearest"].append(psnr_db(large, small.repeat(2, 1).repeat(2, 2)))
    return {f"{name}_psnr_db": round(float(np.mean(v)), 2) for name, v in found.items()}


if __name__ == "__main__":
    main()
