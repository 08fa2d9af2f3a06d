"""A local copy of MUSDB18-HQ: calibration on songs of its train part, evaluation on its test part.

The layout is that of the archive (https://zenodo.org/records/3338373):
`train|test/<song>/{mixture,drums,bass,other,vocals}.wav`. Nothing is downloaded.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core import Array, InputError, Item, Signature, Split, Tensors, hookimpl, reaching
from core.machine.file_names import as_text
from plugins.dataset._audio.fitting import fit, references, stem_labels
from plugins.dataset._audio.reading import MAX_MINUTES, check, check_bound, cut_short, read
from plugins.dataset._audio.writing import AudioDataset

if TYPE_CHECKING:
    from plugins.dataset._audio.reading import Sound

__all__ = ["Musdb"]

_PART = {"calibration": "train", "evaluation": "test"}
_STEMS = ("drums", "bass", "other", "vocals")


@dataclass
class MusdbOptions:
    """Where the copy is, and how many of its songs are used."""

    path: str = reaching()
    """The folder that holds `train` and `test`."""
    limit: int | None = None
    """Number of songs for evaluation, in order of name; all 50 where not given."""
    calibration_limit: int | None = 4
    """Number of songs for calibration, in order of name; all 100 where not given."""
    max_minutes: float = MAX_MINUTES
    """A file of more sound is refused before it is decoded: minutes of stereo at 48 kHz."""

    def __post_init__(self) -> None:
        """Raise ValueError for a limit that leaves nothing."""
        check_bound(self.max_minutes)
        for name in ("limit", "calibration_limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` is {value}: give 1 or more")


class Musdb(AudioDataset[MusdbOptions]):
    """MUSDB18-HQ from a local folder, with the true stems of every song."""

    name = "musdb"
    Options = MusdbOptions

    def identity(self, split: Split) -> tuple[str, ...]:
        """Return the hash of every mixture, which is also its id in the dataset `files`.

        Raises InputError for a file of a song that cannot be read, before anything runs.
        """
        return tuple(self._songs(split))

    def items(self, split: Split, signature: Signature) -> Iterator[Item]:
        """Read the songs one by one, with the stems that the model knows."""
        spec = signature.inputs[0]
        for item_id, song in self._songs(split).items():
            name = as_text(song.name)
            sound = self._read(song / "mixture.wav")
            mixture, fitted = fit(sound, spec, name)
            notices = (*sound.notices, *fitted)
            known = self._stems(song, signature, mixture)
            yield Item(item_id, name, {spec.name: mixture}, known, notices)

    def _read(self, file: Path) -> Sound:
        sound = read(file, self.options.max_minutes)
        if not sound.whole:
            raise cut_short(file)
        return sound

    def _stems(self, song: Path, signature: Signature, mixture: Array) -> Tensors:
        """Read the stems of a song; nothing where the song lacks one that the model gives."""
        _, labels = stem_labels(signature.outputs[0])
        # Labels come from the model's author: they select files and form no paths.
        files = {file.stem: file for file in song.glob("*.wav") if file.is_file()}
        if not set(labels) <= files.keys():
            return {}
        stems: dict[str, Array] = {}
        for label in labels:
            file = files[label]
            stems[label], _ = fit(self._read(file), signature.inputs[0], file.name)
            _check_length(file, stems[label].shape[-1], mixture.shape[-1])
        return references(stems, signature)

    def _songs(self, split: Split) -> dict[str, Path]:
        return self._calibration if split == "calibration" else self._evaluation

    @functools.cached_property
    def _calibration(self) -> dict[str, Path]:
        return self._found("calibration", self.options.calibration_limit)

    @functools.cached_property
    def _evaluation(self) -> dict[str, Path]:
        return self._found("evaluation", self.options.limit)

    def _found(self, split: Split, limit: int | None) -> dict[str, Path]:
        """Return the song folders of a part by their ids; raises InputError without any."""
        from core.store.hashing import file_digest

        root = Path(self.options.path).expanduser()
        found = sorted((root / _PART[split]).glob("*/mixture.wav"))
        mixtures = [file for file in found if file.is_file()]
        if not mixtures:
            raise InputError(
                f"`{root}` is not a MUSDB18-HQ folder"
                if root.exists()
                else f"`{root}` does not exist",
                f"expected: {root / _PART[split]}/<song>/mixture.wav, drums.wav, bass.wav, ...",
                "get the WAV edition: https://zenodo.org/records/3338373",
                "or give songs without stems: input=... (or dataset=files dataset.path=...)",
            )
        for file in mixtures[:limit]:
            frames = check(file, self.options.max_minutes, whole=True)
            for stem in (file.with_name(f"{name}.wav") for name in _STEMS):
                if stem.is_file():
                    own = check(stem, self.options.max_minutes, whole=True)
                    _check_length(stem, own, frames)
        return {f"sha256:{file_digest(file)}": file.parent for file in mixtures[:limit]}


def _check_length(stem: Path, samples: int, mixture: int) -> None:
    """Raise InputError for a stem that is not as long as its mixture."""
    if samples != mixture:
        raise InputError(
            f"`{stem.name}` has {samples} samples, but its mixture has {mixture}",
            f"at: {stem}",
            "copy the song again",
        )


@hookimpl
def luthier_plugins() -> list[type[Musdb]]:
    """Return the dataset plugin of this file."""
    return [Musdb]
