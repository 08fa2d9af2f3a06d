"""The axes that all datasets of sound share, and how their stems are written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from core import (
    Array,
    BundlePart,
    Dataset,
    Item,
    ModelInfo,
    Requirement,
    SavedFile,
    Signature,
    StageError,
    Tensors,
)
from core.machine.file_names import file_name
from core.machine.remedy import remedy
from plugins.dataset._audio.fitting import rate_of, stem_labels
from plugins.dataset._audio.reading import name_for_libsndfile

__all__ = ["AudioDataset"]

OptionsT = TypeVar("OptionsT")


class AudioDataset(Dataset[OptionsT]):
    """A dataset whose inputs are (channel, time) and whose results are WAV files."""

    axes = ("channel", "time")
    libraries = (
        Requirement("soundfile", "pip install soundfile"),
        Requirement("scipy", "pip install scipy"),
    )

    def save(
        self, item: Item, outputs: Tensors, signature: Signature, folder: Path
    ) -> Sequence[SavedFile]:
        """Write `stems/<label>.wav` and `stems/mixture.wav`.

        With several items, each has a folder of its own: `stems/<item>/<label>.wav`.
        """
        import numpy as np

        place = folder / "stems"
        if len(self.identity("evaluation")) > 1:
            place = _free(place, item.name)
        source = signature.inputs[0]
        rate = round(rate_of(source) or 44100)
        tracks = [("mixture", item.inputs[source.name], rate)]
        for spec in signature.outputs:
            array = outputs[spec.name]
            axis, labels = stem_labels(spec)
            own_rate = round(rate_of(spec) or rate)
            if not labels:
                tracks.append((spec.name, array, own_rate))
            for index, label in enumerate(labels):
                tracks.append((label, np.take(array, index, spec.axis(axis)), own_rate))
        saved, taken = [], set[str]()
        for label, samples, hertz in tracks:
            file = place / f"{_own(label, taken)}.wav"
            _write(file, samples, hertz)
            saved.append(SavedFile(file.relative_to(folder).as_posix(), label, item.name))
        return saved

    def ships(self, info: ModelInfo) -> BundlePart:
        """Return the code that reads and writes WAV files on a device."""
        file = Path(__file__).parent / "on_device" / "python" / "medium.py"
        return BundlePart(sources={"python/medium.py": file})


def _write(file: Path, samples: Array, rate: int) -> None:
    """Write (channel, time) as 24-bit PCM, or as floats where 24 bits would clip."""
    import numpy as np
    import soundfile

    peak = float(np.max(np.abs(samples), initial=0.0))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(
            name_for_libsndfile(file), samples.T, rate, "FLOAT" if peak >= 1 else "PCM_24"
        )
    except (OSError, soundfile.LibsndfileError) as error:
        raise StageError(
            f"`{file.name}` cannot be written: {error}",
            f"at: {file}",
            remedy(error, "output=/path/to/folder"),
        ) from error


def _plain(name: str) -> str:
    """Return a name as a valid file name on every system."""
    return file_name(re.sub(r"[^\w.-]+", "_", name))


def _own(label: str, taken: set[str]) -> str:
    """Return a unique file name for a stem: a model may call one `mixture`."""
    plain, number = _plain(label), 1
    while plain.casefold() in taken:
        number += 1
        plain = f"{_plain(label)}_{number}"
    taken.add(plain.casefold())
    return plain


def _free(place: Path, name: str) -> Path:
    """Return a unique folder for `name`: `a b` and `a_b` have the same plain name."""
    plain, number = _plain(name), 1
    while (place / plain).exists():
        number += 1
        plain = f"{_plain(name)}_{number}"
    return place / plain
