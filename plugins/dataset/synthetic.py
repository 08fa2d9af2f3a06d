"""Songs made from seeds, with their true stems: no recording, no licence, no download.

Calibration gets pieces of many kinds instead, songs among them. With four songs alone, half of the
bundled model's activations left their ranges on recorded music, by up to 1.7 times the range.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from core import Item, Signature, Split, hookimpl
from core.errors import did_you_mean
from plugins.dataset._audio.fitting import fit, references
from plugins.dataset._audio.reading import Sound
from plugins.dataset._audio.writing import AudioDataset

__all__ = ["KINDS", "Synthetic"]

#: Seconds. The generator holds a song and its stems at once, gigabytes for an hour.
LONGEST = 3600
#: Songs. All ids are made before the first song is.
MOST = 10_000
#: Hertz.
RATE = 44100
#: Kinds of pieces, each a subject of its own (`_generator/pieces.py`). However few of the first are
#: taken, they differ as far as they can.
KINDS = (
    "song", "hits", "master", "speech", "steps", "bright", "whistles", "gaps",
    "guitars", "telephone", "clicks", "chip", "voice", "noise", "hall", "drums",
    "clipped", "opposite", "tracker", "near_silence", "sub_bass", "mono", "harmony", "fades",
)  # fmt: skip


@dataclass
class SyntheticOptions:
    """Which songs are made, and which pieces for calibration, from seeds of their own."""

    seed: int = 0
    """Seed of the first song for evaluation; the next ones follow by 1."""
    count: int = 1
    """Number of songs for evaluation."""
    seconds: float = 24.0
    """Length of every song for evaluation."""
    calibration_seed: int = 1000
    """Seed of the first piece for calibration. Those of the bundled model begin at 10000."""
    calibration_count: int = 24
    """Number of pieces for calibration: one of every kind. A quantizer takes as many windows from
    each, so give the number of its windows or less."""
    calibration_seconds: float = 8.0
    """Length of every piece for calibration: a little more than the longest window of HTDemucs."""
    calibration_kinds: list[str] = field(default_factory=lambda: list(KINDS))
    """Kinds of the pieces for calibration, in turn: those of the default, or some of them. `song`
    is what evaluation has."""

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
                raise ValueError(
                    f"`{name}` is {getattr(self, name)}: give a duration from 1 sample to 1 hour"
                )
        if not self.calibration_kinds:
            raise ValueError("`calibration_kinds` is empty: name one kind or more")
        for kind in self.calibration_kinds:
            if kind not in KINDS:
                near = did_you_mean(kind, KINDS)
                raise ValueError(
                    f"`calibration_kinds` has no `{kind}`{': ' if near else ''}{near}; "
                    f"kinds: {', '.join(KINDS)}"
                )


class Synthetic(AudioDataset[SyntheticOptions]):
    """Generated songs with drums, bass, other and vocals, the same on every machine."""

    name = "synthetic"
    Options = SyntheticOptions

    def identity(self, split: Split) -> tuple[str, ...]:
        """Return one id per seed and kind, for any length: a part of a song keeps the song's id."""
        return tuple(
            f"synthetic:seed={seed}" if kind == "song" else f"synthetic:{kind}:seed={seed}"
            for kind, seed in self._wanted(split)
        )

    def items(self, split: Split, signature: Signature) -> Iterator[Item]:
        """Make what belongs to `split` one by one, songs with the stems that the model knows."""
        for (kind, seed), item_id in zip(self._wanted(split), self.identity(split), strict=True):
            name = f"synthetic {kind} {seed}"
            if kind == "song":
                yield self._song(item_id, name, seed, split, signature)
                continue
            from plugins.dataset._generator import make_piece

            spec = signature.inputs[0]
            made = make_piece(kind, seed, self.options.calibration_seconds, RATE)
            samples, notices = fit(Sound(made, RATE), spec, name)
            yield Item(item_id, name, {spec.name: samples}, notices=notices)

    def _song(self, item_id: str, name: str, seed: int, split: Split, signature: Signature) -> Item:
        from plugins.dataset._generator import make_song

        options, spec = self.options, signature.inputs[0]
        seconds = options.seconds if split == "evaluation" else options.calibration_seconds
        song = make_song(seed, seconds, RATE)
        mixture, notices = fit(Sound(song.mixture, RATE), spec, name)
        stems = {
            label: fit(Sound(stem, RATE), spec, label)[0] for label, stem in song.stems.items()
        }
        return Item(item_id, name, {spec.name: mixture}, references(stems, signature), notices)

    def _wanted(self, split: Split) -> list[tuple[str, int]]:
        """Return the kind and the seed of every item of `split`, in order."""
        options = self.options
        if split == "evaluation":
            return [("song", options.seed + number) for number in range(options.count)]
        kinds, first = options.calibration_kinds, options.calibration_seed
        return [
            (kinds[number % len(kinds)], first + number)
            for number in range(options.calibration_count)
        ]


@hookimpl
def luthier_plugins() -> list[type[Synthetic]]:
    """Return the dataset plugin of this file."""
    return [Synthetic]
