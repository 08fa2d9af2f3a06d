"""A person's own songs: one file, or every audio file of a folder. Their stems are not known."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from core import InputError, Item, Signature, Source, Split, hookimpl, reaching
from core.library.pattern import is_pattern, matching, top_of
from core.names import as_text
from plugins.dataset.audio.fitting import fit
from plugins.dataset.audio.reading import ENDINGS, MAX_MINUTES, check, check_bound, read
from plugins.dataset.audio.writing import AudioDataset

__all__ = ["Files"]


@dataclass
class FilesOptions:
    """Where the songs are."""

    path: str = reaching()
    """An audio file, or a folder: every audio file below it is taken, in order of name. A pattern
    such as `songs/**/*.flac` takes those that it matches."""
    limit: int | None = None
    """Number of files at most; all where not given."""
    max_minutes: float = MAX_MINUTES
    """A file of more sound is refused before it is decoded: minutes of stereo at 48 kHz, of which
    each takes 23 MB of memory, and every stem as much again."""

    def __post_init__(self) -> None:
        """Raise ValueError for a limit that leaves nothing."""
        check_bound(self.max_minutes)
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
            samples, notices = fit(read(file, self.options.max_minutes), spec, as_text(file.name))
            yield Item(item_id, names[file], {spec.name: samples}, notices=notices)

    def sources(self) -> Iterator[Source]:
        """Yield every file by its path below the folder; two of one content are two songs here."""
        top, files = _found(self.options.path)
        for file in files[: self.options.limit]:
            yield Source(as_text(file.relative_to(top).as_posix()), file)

    def only(self, source: Source) -> Files:
        """Return the dataset of one file."""
        return Files(replace(self.options, path=str(source.file), limit=None))

    @functools.cached_property
    def _files(self) -> dict[str, Path]:
        """Return every file by its id; of two with the same content the first."""
        from core.material import file_digest

        found: dict[str, Path] = {}
        for file in _found(self.options.path)[1][: self.options.limit]:
            check(file, self.options.max_minutes)
            found.setdefault(f"sha256:{file_digest(file)}", file)
        return found

    def _names(self) -> dict[Path, str]:
        """Return the name of every file: its path in the folder, with the ending if need be."""
        top = _found(self.options.path)[0]
        paths = {file: file.relative_to(top) for file in self._files.values()}
        often = Counter(path.with_suffix("") for path in paths.values())
        return {
            file: as_text((path if often[bare] > 1 else bare).as_posix())
            for file, path, bare in ((f, p, p.with_suffix("")) for f, p in paths.items())
        }


def _found(given: str) -> tuple[Path, list[Path]]:
    """Return the folder that names are told from, and the audio files; InputError without any."""
    path = Path(given).expanduser()
    if path.is_file():
        return path.parent, [path]
    give = "give an audio file, a folder or a pattern: input=... or dataset.path=..."
    pattern = is_pattern(given)
    if not pattern and not path.exists():
        raise InputError(f"`{path}` does not exist", give)
    if not pattern and not path.is_dir():
        raise InputError(
            f"`{path}` is neither a file nor a folder",
            "a pipe or a device is not read: a song is hashed first, and then read",
            give,
        )
    candidates = matching(given) if pattern else sorted(f for f in path.rglob("*") if f.is_file())
    files = [file for file in candidates if file.suffix.lower() in ENDINGS]
    if not files:
        raise InputError(
            f"no audio files {'match' if pattern else 'are below'} `{path}`",
            f"looked for: {' '.join(ENDINGS)}",
            give,
        )
    return top_of(given) if pattern else path, files


@hookimpl
def luthier_plugins() -> list[type[Files]]:
    """Return the dataset plugin of this file."""
    return [Files]
