"""A person's own songs: one file, or every audio file of a folder. Their stems are not known."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core import InputError, Item, Signature, Split, hookimpl
from plugins.dataset.audio.fitting import fit
from plugins.dataset.audio.reading import ENDINGS, check, read
from plugins.dataset.audio.writing import AudioDataset

__all__ = ["Files"]


@dataclass
class FilesOptions:
    """Where the songs are."""

    path: str
    """An audio file, or a folder: every audio file below it is taken, in order of name."""
    limit: int | None = None
    """Number of files at most; all where not given."""

    def __post_init__(self) -> None:
        """Raise ValueError for a limit that leaves nothing."""
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"`limit` is {self.limit}: give 1 or more")


class Files(AudioDataset[FilesOptions]):
    """Your own songs, in any format that `soundfile` reads."""

    name = "files"
    Options = FilesOptions
    opens = ENDINGS

    def identity(self, split: Split) -> tuple[str, ...]:
        """Return the hash of every file, so that a song is known again under any name.

        Raises InputError for a file that is no song, before anything runs.
        """
        return tuple(self._files)

    def items(self, split: Split, signature: Signature) -> Iterator[Item]:
        """Read the songs one by one, fitted to the model's rate and channels."""
        spec = signature.inputs[0]
        names = self._names()
        for item_id, file in self._files.items():
            samples, notices = fit(read(file), spec, file.name)
            yield Item(item_id, names[file], {spec.name: samples}, notices=notices)

    @functools.cached_property
    def _files(self) -> dict[str, Path]:
        """Return every file by its id; of two with the same content the first."""
        from core.material import file_digest

        found: dict[str, Path] = {}
        for file in _below(Path(self.options.path).expanduser())[: self.options.limit]:
            check(file)
            found.setdefault(f"sha256:{file_digest(file)}", file)
        return found

    def _names(self) -> dict[Path, str]:
        """Return the name of every file: its path in the folder, with the ending if need be."""
        root = Path(self.options.path).expanduser()
        top = root if root.is_dir() else root.parent
        paths = {file: file.relative_to(top) for file in self._files.values()}
        often = Counter(path.with_suffix("") for path in paths.values())
        return {
            file: (path if often[path.with_suffix("")] > 1 else path.with_suffix("")).as_posix()
            for file, path in paths.items()
        }


def _below(path: Path) -> list[Path]:
    """Return the file, or the audio files of the folder; raises InputError without any."""
    if path.is_file():
        return [path]
    give = "give an audio file or a folder of them: input=... or dataset.path=..."
    if not path.exists():
        raise InputError(f"`{path}` does not exist", give)
    if not path.is_dir():
        raise InputError(
            f"`{path}` is neither a file nor a folder",
            "a pipe or a device is not read: a song is hashed first, and then read",
            give,
        )
    files = sorted(f for f in path.rglob("*") if f.suffix.lower() in ENDINGS and f.is_file())
    if not files:
        raise InputError(
            f"no audio files are below `{path}`",
            f"looked for: {' '.join(ENDINGS)}",
            give,
        )
    return files


@hookimpl
def luthier_plugins() -> list[type[Files]]:
    """Return the dataset plugin of this file."""
    return [Files]
