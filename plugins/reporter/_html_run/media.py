"""Prepares the files that a run wrote: sounds, images, and other files, item by item."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from core import SavedFile
from plugins.reporter._html_run.markup import data_uri
from plugins.reporter._reading import SOUNDS

if TYPE_CHECKING:
    from plugins.reporter._html_run.sound import Clip

__all__ = ["Medium", "Track", "media_of"]

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif"})
#: An image above this is linked, not embedded (bytes).
LARGEST_IMAGE = 4_000_000
MIXTURE = ("mix", "input")


@dataclass(frozen=True)
class Track:
    """One saved sound: its preview and spectrogram as `data:` addresses."""

    saved: SavedFile
    bytes: int
    sound: str
    mime: str
    picture: str

    @property
    def mixture(self) -> bool:
        """Return whether this sound is the input, not one of the parts that came out."""
        return self.saved.label.lower().startswith(MIXTURE)


@dataclass(frozen=True)
class Medium:
    """All files of one item; `start`, `seconds` and `whole` are of its preview."""

    item: str
    start: float = 0.0
    seconds: float = 0.0
    whole: float = 0.0
    tracks: tuple[Track, ...] = ()
    images: tuple[tuple[SavedFile, str], ...] = ()
    links: tuple[SavedFile, ...] = ()


def media_of(
    saved: Sequence[SavedFile],
    folder: Path,
    *,
    seconds: float,
    limit: int,
    codec: str,
    stereo: bool,
) -> list[Medium]:
    """Prepare the saved files; after `limit` items they are only linked."""
    items: dict[str, list[SavedFile]] = {}
    for file in saved:
        items.setdefault(file.item, []).append(file)
    with ThreadPoolExecutor(max(2, os.cpu_count() or 1)) as pool:
        return [
            _medium(item, files, folder, seconds, codec, stereo, pool)
            if index < limit
            else Medium(item, links=tuple(files))
            for index, (item, files) in enumerate(items.items())
        ]


def _medium(
    item: str,
    files: Sequence[SavedFile],
    folder: Path,
    seconds: float,
    codec: str,
    stereo: bool,
    pool: ThreadPoolExecutor,
) -> Medium:
    clips = dict(_clips(files, folder, seconds))
    images = dict(_images(files, folder))
    medium = Medium(
        item,
        images=tuple(images.items()),
        links=tuple(file for file in files if file not in clips and file not in images),
    )
    if not clips:
        return medium
    from plugins.reporter._html_run import sound

    encoded = [pool.submit(sound.encode, clip, codec, stereo=stereo) for clip in clips.values()]
    powers = list(pool.map(lambda clip: sound.mel_power(clip.mono, clip.rate), clips.values()))
    loudest = max(float(power.max(initial=0)) for power in powers)
    pictures = [sound.picture(power, loudest) for power in powers]
    tracks = tuple(
        Track(
            file,
            (folder / file.path).stat().st_size,
            data_uri(mime, content),
            mime,
            data_uri("image/png", png),
        )
        for file, (mime, content), png in zip(
            clips, (future.result() for future in encoded), pictures, strict=True
        )
    )
    tracks = tuple(sorted(tracks, key=lambda track: not track.mixture))
    first = next(iter(clips.values()))
    return replace(
        medium, tracks=tracks, start=first.start, seconds=first.seconds, whole=first.whole
    )


def _clips(
    files: Sequence[SavedFile], folder: Path, seconds: float
) -> Iterator[tuple[SavedFile, Clip]]:
    """Yield the sounds that can be read; any other file is only linked."""
    files = [file for file in files if Path(file.path).suffix.lower() in SOUNDS]
    if not files:
        return
    # numpy and libsndfile are only loaded for a run that saved sound.
    from plugins.reporter._html_run import sound

    for file in files:
        try:
            yield file, sound.read(folder / file.path, seconds)
        except (OSError, RuntimeError):  # soundfile's own errors are RuntimeErrors
            continue


def _images(files: Sequence[SavedFile], folder: Path) -> Iterator[tuple[SavedFile, str]]:
    for file in files:
        path = folder / file.path
        if (
            path.suffix.lower() in IMAGES
            and path.is_file()
            and path.stat().st_size <= LARGEST_IMAGE
        ):
            mime = mimetypes.types_map.get(path.suffix.lower(), "image/png")
            yield file, data_uri(mime, path.read_bytes())
