"""What a run wrote for a person, ready to be shown: sounds, images, and other files by item."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from plugins.reporter.page.markup import Html, data_uri, el, join, link_to
from plugins.reporter.reading import duration, megabytes

if TYPE_CHECKING:
    from core.exchange import Saved

__all__ = ["Deck", "Track", "decks", "section"]

SOUNDS = frozenset({".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif"})
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif"})
#: An image above this is linked, not embedded (bytes).
LARGEST_IMAGE = 4_000_000
MIXTURE = ("mix", "input")


@dataclass(frozen=True)
class Track:
    """One saved sound: its preview and spectrogram as `data:` addresses."""

    saved: Saved
    bytes: int
    sound: str
    mime: str
    picture: str

    @property
    def mixture(self) -> bool:
        """Return whether this is what went in, not one of the parts that came out."""
        return self.saved.label.lower().startswith(MIXTURE)


@dataclass(frozen=True)
class Deck:
    """Everything that was saved of one item; `start`, `seconds` and `whole` are of its preview."""

    item: str
    start: float = 0.0
    seconds: float = 0.0
    whole: float = 0.0
    tracks: tuple[Track, ...] = ()
    images: tuple[tuple[Saved, str], ...] = ()
    links: tuple[Saved, ...] = field(default=())


def decks(
    saved: Sequence[Saved], folder: Path, *, seconds: float, limit: int, codec: str, stereo: bool
) -> list[Deck]:
    """Prepare what was saved; after `limit` items the files are only linked."""
    items: dict[str, list[Saved]] = {}
    for file in saved:
        items.setdefault(file.item, []).append(file)
    with ThreadPoolExecutor(max(2, os.cpu_count() or 1)) as pool:
        return [
            _deck(item, files, folder, seconds, codec, stereo, pool)
            if index < limit
            else Deck(item, links=tuple(files))
            for index, (item, files) in enumerate(items.items())
        ]


def _deck(
    item: str,
    files: Sequence[Saved],
    folder: Path,
    seconds: float,
    codec: str,
    stereo: bool,
    pool: ThreadPoolExecutor,
) -> Deck:
    sounds = [file for file in files if Path(file.path).suffix.lower() in SOUNDS]
    images = tuple(_images(files, folder))
    shown = {file.path for file in sounds} | {file.path for file, _ in images}
    deck = Deck(item, images=images, links=tuple(f for f in files if f.path not in shown))
    if not sounds:
        return deck
    # numpy and libsndfile are only loaded for a run that saved sound.
    from plugins.reporter.page import sound

    clips = [sound.read(folder / file.path, seconds) for file in sounds]
    encoded = [pool.submit(sound.encode, clip, codec, stereo=stereo) for clip in clips]
    powers = list(pool.map(lambda clip: sound.mel_power(clip.mono, clip.rate), clips))
    loudest = max(float(power.max(initial=0)) for power in powers)
    pictures = [sound.picture(power, loudest) for power in powers]
    tracks = tuple(
        Track(file, (folder / file.path).stat().st_size, data_uri(mime, content), mime,
              data_uri("image/png", png))
        for file, (mime, content), png in zip(
            sounds, (future.result() for future in encoded), pictures, strict=True
        )
    )
    tracks = tuple(sorted(tracks, key=lambda track: not track.mixture))
    return replace(
        deck, tracks=tracks, start=clips[0].start, seconds=clips[0].seconds, whole=clips[0].whole
    )


def _images(files: Sequence[Saved], folder: Path) -> Iterator[tuple[Saved, str]]:
    for file in files:
        path = folder / file.path
        if path.suffix.lower() in IMAGES and path.stat().st_size <= LARGEST_IMAGE:
            mime = mimetypes.types_map.get(path.suffix.lower(), "image/png")
            yield file, data_uri(mime, path.read_bytes())


def section(shown: Sequence[Deck]) -> Html:
    """Return the players, images and links of every item."""
    return join(*(_item(deck) for deck in shown))


def _item(deck: Deck) -> Html:
    return el(
        "article",
        el("h3", deck.item),
        _player(deck) if deck.tracks else None,
        el("div", *(_figure(s, uri) for s, uri in deck.images), class_="images")
        if deck.images else None,
        el("ul", *(el("li", el("a", f.label, href=link_to(f.path))) for f in deck.links),
           class_="links") if deck.links else None,
        class_="item",
    )


def _player(deck: Deck) -> Html:
    cut = deck.seconds < deck.whole
    about = (
        f"A preview of {clock(deck.start)} to {clock(deck.start + deck.seconds)}; "
        f"the files hold all {clock(deck.whole)}."
        if cut else f"The whole {duration(deck.seconds)}, compressed; the files are lossless."
    )
    transport = el(
        "div",
        el("button", "Play", class_="play", type="button"),
        el("input", type="range", min="0", max="1000", value="0", class_="seek",
           aria_label=f"Position in {deck.item}"),
        el("output", f"0:00 / {clock(deck.seconds)}", class_="time"),
        class_="transport",
    )
    return el(
        "div", transport,
        el("ol", *(_track(track, number) for number, track in enumerate(deck.tracks)),
           class_="tracks"),
        el("p", about, " Spectrograms: mel scale, 40 Hz to 16 kHz from bottom to top, one loudness "
           "scale for all tracks.", class_="note"),
        class_="deck", data_seconds=f"{deck.seconds:.3f}", data_start=f"{deck.start:.3f}",
    )


def _track(track: Track, number: int) -> Html:
    label, file = track.saved.label, link_to(track.saved.path)
    ending = Path(track.saved.path).suffix.lstrip(".").upper()
    return el(
        "li",
        el("div",
           el("span", class_=f"dot s{number % 8}"),
           el("span", label, class_="name"),
           el("button", "Solo", type="button", class_="solo", aria_pressed="false",
              aria_label=f"Hear only {label}"),
           el("button", "On", type="button", class_="on", aria_pressed="true",
              aria_label=f"Hear {label}"),
           el("a", f"{ending} {megabytes(track.bytes)}", href=file, class_="file"),
           class_="track-head"),
        el("div", el("img", src=track.picture, alt=f"Spectrogram of {label}", width="960",
                     height="112"),
           el("span", class_="playhead"), class_="spectrogram"),
        # A browser without the codec (Safari before 18.4: Vorbis) takes the file beside the page.
        el("audio", el("source", src=track.sound, type=track.mime), el("source", src=file),
           controls=True, preload="none", aria_label=label),
        class_="track", data_mixture="" if track.mixture else None,
    )


def _figure(saved: Saved, uri: str) -> Html:
    image = el("img", src=uri, alt=saved.label, loading="lazy")
    return el("figure", el("a", image, href=link_to(saved.path)), el("figcaption", saved.label))


def clock(seconds: float) -> str:
    """Return seconds as `1:07`."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
