"""A person's own songs: one file, or every audio file of a folder. Their stems are not known.

In a folder, unreadable files are skipped with a notice; one that is named itself is an error.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core import InputError, Item, Notice, Signature, Source, Split, hookimpl, reaching
from core.machine.file_names import as_text
from core.machine.path_patterns import is_pattern, matching, top_of
from core.text.shown import plain
from plugins.dataset._audio import libav
from plugins.dataset._audio.fitting import fit
from plugins.dataset._audio.reading import ENDINGS, MAX_MINUTES, OF_VIDEO, check, check_bound, read
from plugins.dataset._audio.writing import AudioDataset

__all__ = ["Files", "FilesOptions", "closed_in"]


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


#: Most skipped files that a message names; it counts the others.
_NAMED = 5


class Files(AudioDataset[FilesOptions]):
    """Your own songs: WAV, FLAC, OGG, Opus, MP3, AIFF and CAF; AAC, ALAC, WMA with `av` installed.

    A file's content decides its format, not its extension. Of a video the first sound is read.
    """

    name = "files"
    Options = FilesOptions
    opens = (*ENDINGS, *OF_VIDEO)

    @classmethod
    def findings(cls) -> Sequence[Notice]:
        """Return which formats can be read."""
        if libav.installed():
            return (Notice("info", "AAC, ALAC, WMA and more are read by FFmpeg's libraries (av)"),)
        return (Notice("warning", f"AAC, ALAC, WMA and more need `av`: {libav.INSTALL}"),)

    def identity(self, split: Split) -> tuple[str, ...]:
        """Return the hash of every file, so that a renamed song is recognised.

        Raises InputError before anything runs: for a single file that is no song, and for several
        where none is.
        """
        return tuple(self._files)

    def passed_over(self, split: Split) -> Sequence[Notice]:
        """Return the files of a folder that cannot be read."""
        found = self._looked_at[1]
        told = [Notice("warning", f"left out: {_in_short(error)}") for _, error in found[:_NAMED]]
        if len(found) > len(told):
            text = f"left out: {len(found) - len(told)} more files; scale=here lists each of them"
            told.append(Notice("warning", text))
        told += closed_in(self.options.path)
        if self._videos:
            text = f"left out: {len(self._videos)} videos; a pattern includes them:"
            told.append(Notice("info", f"{text} input='**/*{self._videos[0].suffix}'"))
        return told

    def items(self, split: Split, signature: Signature) -> Iterator[Item]:
        """Read the songs one by one, fitted to the model's rate and channels."""
        spec = signature.inputs[0]
        names = self._names()
        for item_id, file in self._files.items():
            sound = read(file, self.options.max_minutes)
            samples, notices = fit(sound, spec, as_text(file.name))
            told = (*sound.notices, *notices)
            yield Item(item_id, names[file], {spec.name: samples}, notices=told)

    def sources(self) -> Iterator[Source]:
        """Yield every file by its path below the folder; equal files count twice."""
        top, files = _found(self.options.path)
        for file in files[: self.options.limit]:
            yield Source(as_text(file.relative_to(top).as_posix()), file)

    def only(self, source: Source) -> Files:
        """Return the dataset of one file."""
        return Files(replace(self.options, path=str(source.file), limit=None))

    @property
    def _files(self) -> dict[str, Path]:
        """Return every file by its id; of two with the same content the first."""
        return self._looked_at[0]

    @functools.cached_property
    def _looked_at(self) -> tuple[dict[str, Path], list[tuple[Path, InputError]]]:
        """Return every file by its id, and those that cannot be read, with the reason."""
        found: dict[str, Path] = {}
        unread: list[tuple[Path, InputError]] = []
        files = _found(self.options.path)[1][: self.options.limit]
        for file in files:
            item_id, error = _looked_at(file, self.options.max_minutes)
            if error is None:
                found.setdefault(item_id, file)
            else:
                unread.append((file, error))
        if not found and len(unread) == 1:
            raise unread[0][1]
        if not found:
            raise InputError(
                f"none of {len(unread)} audio files in `{self.options.path}` can be read",
                *(f"{as_text(file.name)}: {_in_short(error)}" for file, error in unread[:_NAMED]),
                "for the full reason of one file: input=<file>",
            )
        return found, unread

    @functools.cached_property
    def _videos(self) -> list[Path]:
        """Return the videos of a folder, which is read as a folder of sound."""
        path = Path(self.options.path).expanduser()
        found = _below(path)[0] if path.is_dir() else []
        return [file for file in found if file.suffix.lower() in OF_VIDEO]

    def _names(self) -> dict[Path, str]:
        """Return the name of every file: its path in the folder, with the extension if needed."""
        top = _found(self.options.path)[0]
        paths = {file: file.relative_to(top) for file in self._files.values()}
        often = Counter(path.with_suffix("") for path in paths.values())
        return {
            file: as_text((path if often[bare] > 1 else bare).as_posix())
            for file, path, bare in ((f, p, p.with_suffix("")) for f, p in paths.items())
        }


def closed_in(given: str) -> list[Notice]:
    """Return a notice for each folder below a folder that the system does not let one read."""
    path = Path(given).expanduser()
    closed = _below(path)[1] if path.is_dir() else []
    return [
        Notice("warning", f"left out: the folder `{one.filename}` cannot be opened: {one.strerror}")
        for one in closed
    ]


def _below(folder: Path) -> tuple[list[Path], list[OSError]]:
    """Return the files below a folder in order of name, and why folders cannot be read."""
    closed: list[OSError] = []
    walked = os.walk(folder, onerror=closed.append)
    found = (Path(place, name) for place, _, names in walked for name in names)
    return sorted(file for file in found if file.is_file()), closed


def _looked_at(file: Path, max_minutes: float) -> tuple[str, InputError | None]:
    """Return a file's id, and why it cannot be read; each content is checked once."""
    from core.store.hashing import file_digest

    try:
        digest = file_digest(file)
    except OSError as error:
        what = f"`{file.name}` cannot be opened: {error.strerror or error}"
        return "", InputError(what, f"at: {file}")
    return f"sha256:{digest}", _checked(file, digest, max_minutes, libav.installed())


@functools.lru_cache(maxsize=4096)
def _checked(file: Path, _digest: str, max_minutes: float, _more: bool) -> InputError | None:
    """Return why a file cannot be read, None where it can; cached, since a run asks often."""
    try:
        check(file, max_minutes)
    except InputError as error:
        return error
    return None


def _in_short(error: InputError) -> str:
    """Return what is wrong, with those reasons that come from the libraries."""
    reasons = [
        line for line in error.lines if line.startswith(("libsndfile:", "FFmpeg:", "install"))
    ]
    return plain("; ".join((error.what, *reasons)))


def _found(given: str) -> tuple[Path, list[Path]]:
    """Return the folder that names are relative to, and the audio files; InputError without any."""
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
            "a pipe or a device cannot be used: a song is read twice, first for its hash",
            give,
        )
    candidates, closed = (matching(given), []) if pattern else _below(path)
    # A video is read only where it is named, or matched by a pattern with its extension.
    wanted = {*ENDINGS, path.suffix.lower()} & {*ENDINGS, *OF_VIDEO}
    files = [file for file in candidates if file.suffix.lower() in wanted]
    if not files and closed:
        raise InputError(
            f"the folder `{closed[0].filename}` cannot be opened: {closed[0].strerror}",
            "get the right to read it, or copy its songs to another folder",
        )
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
