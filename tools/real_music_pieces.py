"""The pieces of the real-music set: which file of which Debian package, from which second.

All packages are in Debian's free archive, so that every user may install them. The licences are
those of the packages' copyright files. The pieces include an orchestra, a cello, rock, electronic
music, chip and tracker music, a record of 1936, telephone sound and speech. Some are dense masters
with peaks beyond full scale, and some are quiet.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PIECES", "SECONDS", "SOUNDFONT", "Piece", "Recording", "Rendering", "Source"]

#: Length of every piece.
SECONDS = 12.0


@dataclass(frozen=True)
class Source:
    """A file of a package, or several files that are played one after the other, by name."""

    package: str
    path: str
    """May hold `*`: paths have versions in them, and a speaker many files."""
    licence: str
    """As the package's copyright file (or its documentation) says for this file."""


@dataclass(frozen=True)
class Piece:
    """Twelve seconds of a sound that a person may play."""

    name: str
    style: str
    """What is hard about it, or easy."""


@dataclass(frozen=True)
class Recording(Piece):
    """Sound from a file; its stems are not known."""

    source: Source
    second: float
    """Where the excerpt begins."""


@dataclass(frozen=True)
class Rendering(Piece):
    """A MIDI file played with a soundfont; its stems are true, and their sum is the mixture."""

    source: Source
    second: float
    stems: dict[str, tuple[int, ...]]
    """MIDI channels, 1 to 16, of every stem that is rendered."""
    voice: Source | None = None
    """Recorded speech as the stem `vocals`, where no channel plays it."""
    peak: float = 0.95
    """Highest sample of the mixture."""


SOUNDFONT = Source("timgm6mb-soundfont", "/usr/share/sounds/sf2/TimGM6mb.sf2", "GPL-2")

_DINK = "/usr/share/games/dink/dink/Sound"
_TUX = "/usr/share/games/etr/music"
_BALLS = "/usr/share/games/trackballs/music"
_CITY = "/usr/share/games/lincity-ng/music/default"
_FISH = "/usr/share/games/fillets-ng"
_TRAINS = "/usr/share/games/openttd/baseset/openmsx"
_BLUPI = "/usr/share/planetblupi/music"

_VIKINGS = Source("fillets-ng-data", f"{_FISH}/sound/viking1/en/d1-z-*.ogg", "GPL-2")
_SOLDIERS = Source("fillets-ng-data", f"{_FISH}/sound/elk/en/deu-p-*.ogg", "GPL-2")

PIECES: tuple[Recording | Rendering, ...] = (
    Recording(
        "orchestra", "violin concerto, a concert recorded in a hall, wide dynamics",
        Source("freedink-data", f"{_DINK}/106.ogg", "EFF Open Audio License"), 56.0,
    ),
    Recording(
        "cello", "cello and piano, begins near silence",
        Source("freedink-data", f"{_DINK}/1.ogg", "CC-BY-SA 3.0"), 0.0,
    ),
    Recording(
        "quiet_tavern", "a quiet piece: no sample above 0.1",
        Source("freedink-data", f"{_DINK}/5.ogg", "GPL-3+"), 68.0,
    ),
    Recording(
        "waltz_1936", "orchestra on a record of 1936: mono, narrow, noisy",
        Source("freedink-data", f"{_DINK}/denube.ogg", "public domain"), 104.0,
    ),
    Recording(
        "parade", "bright synthetic band",
        Source("freedink-data", f"{_DINK}/lovin.ogg", "CC BY 3.0"), 40.0,
    ),
    Recording(
        "punk", "fast punk rock, densely mastered, peaks beyond full scale",
        Source("extremetuxracer-data", f"{_TUX}/spunkyrace-ks.ogg", "GPL-2+"), 44.0,
    ),
    Recording(
        "freezing_point", "rock with soft and hard parts",
        Source("extremetuxracer-data", f"{_TUX}/freezingpoint.ogg", "GPL-2+"), 78.0,
    ),
    Recording(
        "breakbeat", "electronic, hard kicks and snares, peaks beyond full scale",
        Source("zaz-data", "/usr/share/games/zaz/mus1.ogg", "CC-BY-SA-3.0"), 5.0,
    ),
    Recording(
        "synthesizers", "electronic, hard transients, peaks beyond full scale",
        Source("zaz-data", "/usr/share/games/zaz/mus2.ogg", "CC-BY-SA-3.0"), 128.0,
    ),
    Recording(
        "chiptune", "pulse waves of a home computer",
        Source("trackballs-data", f"{_BALLS}/c64revival.ogg", "ETHYMONICS-FREE-MUSIC-LICENSE"),
        72.0,
    ),
    Recording(
        "dance", "dance music with much sound above 12 kHz",
        Source("trackballs-data", f"{_BALLS}/eurovision.ogg", "ETHYMONICS-FREE-MUSIC-LICENSE"),
        122.0,
    ),
    Recording(
        "electro", "electronic, the loudest of all, nothing above 16 kHz",
        Source("pushover-data", "/usr/share/pushover/themes/electro.ogg", "GPL-3+"), 84.0,
    ),
    Recording(
        "japanese", "plucked and struck instruments, soft and sudden",
        Source("pushover-data", "/usr/share/pushover/themes/japanese.ogg", "GPL-3+"), 4.0,
    ),
    Recording(
        "industrial_rock", "distorted guitars, dense",
        Source("lincity-ng-data", f"{_CITY}/01*.ogg", "GPL-2+"), 118.0,
    ),
    Recording(
        "blues", "acoustic guitar and drums, soft",
        Source("lincity-ng-data", f"{_CITY}/02*.ogg", "GPL-2+"), 36.0,
    ),
    Recording(
        "war_machines", "MP3 of 22 kHz: orchestral drums and brass",
        Source("asc-music", "/usr/share/games/asc/music/machine_wars.mp3", "GPL-2+"), 178.0,
    ),
    Recording(
        "tracker", "tracker module, samples played at many speeds",
        Source("tomatoes-data", "/usr/share/tomatoes/music/IHaveNoTomatoes.it", "Zlib"), 40.0,
    ),
    Recording(
        "telephone", "music on hold, 8 kHz",
        Source(
            "asterisk-moh-opsound-wav",
            "/usr/share/asterisk/moh/manolo_camp-morning_coffee.wav", "CC-BY-SA 3.0",
        ),
        30.0,
    ),
    Recording("speech", "recorded voices alone, with pauses", _VIKINGS, 0.0),
    Rendering(
        "big_band", "saxophones, trumpets, piano and drums",
        Source("openttd-openmsx", f"{_TRAINS}/keep_on_rolling.mid", "GPL-2.0"), 30.0,
        {"drums": (10,), "bass": (9,), "vocals": (1,), "other": (2, 3, 4, 5, 6, 7, 8)},
    ),
    Rendering(
        "choir", "choir over drums and synthesizers",
        Source("planetblupi-music-midi", f"{_BLUPI}/music001.mid", "GPL-3+"), 40.0,
        {"drums": (10,), "bass": (3,), "vocals": (4, 7), "other": (1, 2, 5, 6)},
    ),
    Rendering(
        "funk_with_speech", "guitars and drums under recorded voices",
        Source("openttd-openmsx", f"{_TRAINS}/run_for_your_life.mid", "GPL-2.0"), 30.0,
        {"drums": (10,), "bass": (1,), "other": (2, 3, 4)}, _VIKINGS,
    ),
    Rendering(
        "metal_with_shouts", "distorted guitar, fast drums, shouting voices, at full scale",
        Source("openttd-openmsx", f"{_TRAINS}/flying_scotsman.mid", "GPL-2.0"), 20.0,
        {"drums": (10,), "bass": (11,), "other": (1, 2, 3)}, _SOLDIERS, 1.0,
    ),
    Rendering(
        "soft_whistles", "harp and whistles, soft: no sample above 0.15",
        Source("openttd-openmsx", f"{_TRAINS}/wood_whistles.mid", "GPL-2.0"), 20.0,
        {"drums": (10,), "vocals": (5,), "other": (1, 3)}, peak=0.15,
    ),
)  # fmt: skip
