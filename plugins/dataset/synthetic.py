"""Songs made from seeds, with their true stems: no recording, no licence, no download."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from core import Item, Signature, Split, hookimpl
from plugins.dataset.audio.fitting import fit, references
from plugins.dataset.audio.reading import Sound
from plugins.dataset.audio.writing import AudioDataset

__all__ = ["Synthetic"]

#: Seconds. The generator holds a song and its stems at once, gigabytes for an hour.
LONGEST = 3600
#: Songs. Each has an id that is made before the first song is.
MOST = 10_000


@dataclass
class SyntheticOptions:
    """Which songs are made; those of calibration and of evaluation have seeds of their own."""

    seed: int = 0
    """Seed of the first song for evaluation; the next ones follow by 1."""
    count: int = 1
    """Number of songs for evaluation."""
    seconds: float = 24.0
    """Length of every song for evaluation."""
    calibration_seed: int = 1000
    """Seed of the first song for calibration. Those of the bundled model begin at 10000."""
    calibration_count: int = 4
    """Number of songs for calibration."""
    calibration_seconds: float = 12.0
    """Length of every song for calibration."""

    def __post_init__(self) -> None:
        """Raise ValueError for songs that cannot be made."""
        for name in ("seed", "calibration_seed"):
            if not 0 <= getattr(self, name) < 2**63:
                raise ValueError(f"`{name}` is {getattr(self, name)}: give 0 to 2^63 - 1")
        for name in ("count", "calibration_count"):
            if not 1 <= getattr(self, name) <= MOST:
                raise ValueError(f"`{name}` is {getattr(self, name)}: give 1 to {MOST:,}")
        for name in ("seconds", "calibration_seconds"):
            if not 1 / 44100 <= getattr(self, name) <= LONGEST:
                raise ValueError(f"`{name}` is {getattr(self, name)}: give a sample to an hour")


class Synthetic(AudioDataset[SyntheticOptions]):
    """Generated songs with drums, bass, other and vocals, the same on every machine."""

    name = "synthetic"
    Options = SyntheticOptions

    def identity(self, split: Split) -> tuple[str, ...]:
        """Return one id per seed, for any length: a part of a song is no other song."""
        return tuple(f"synthetic:seed={seed}" for seed in self._seeds(split))

    def items(self, split: Split, signature: Signature) -> Iterator[Item]:
        """Make the songs of `split` one by one, with the stems that the model knows."""
        from plugins.dataset.generator import make_song

        spec = signature.inputs[0]
        seconds = (
            self.options.seconds if split == "evaluation" else self.options.calibration_seconds
        )
        for seed, item_id in zip(self._seeds(split), self.identity(split), strict=True):
            song = make_song(seed, seconds)
            mixture, notices = fit(
                Sound(song.mixture, song.samplerate), spec, f"synthetic song {seed}"
            )
            stems = {
                label: fit(Sound(stem, song.samplerate), spec, label)[0]
                for label, stem in song.stems.items()
            }
            yield Item(
                item_id,
                f"synthetic song {seed}",
                {spec.name: mixture},
                references(stems, signature),
                notices,
            )

    def _seeds(self, split: Split) -> range:
        options = self.options
        if split == "evaluation":
            return range(options.seed, options.seed + options.count)
        first = options.calibration_seed
        return range(first, first + options.calibration_count)


@hookimpl
def luthier_plugins() -> list[type[Synthetic]]:
    """Return the dataset plugin of this file."""
    return [Synthetic]
