"""Makes the real-music evaluation set from Debian packages: recordings, renderings and voices.

python -m tools.real_music FOLDER

Writes into FOLDER, 44.1 kHz stereo in 32-bit floats (a decoder's peaks may exceed full scale):

    pieces/<name>.wav                  every piece; Luthier plays them with input=FOLDER/pieces
    stems/test/<name>/<stem>.wav       pieces with true stems, laid out as MUSDB18-HQ, for
                                       dataset=musdb dataset.path=FOLDER/stems
    manifest.json                      package, version, file, licence, second and SHA-256 of each

The same versions of the packages give the same bytes. Nothing is downloaded: if packages are
missing, the command that installs them is printed. `tools/real_music_pieces.py` lists the pieces.
"""

from __future__ import annotations

import glob
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.real_music_pieces import PIECES, SECONDS, SOUNDFONT, Recording, Rendering, Source

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Audio = NDArray[np.float32]

__all__ = ["make", "missing"]

RATE = 44100
#: In the order of HTDemucs' sources.
STEMS = ("drums", "bass", "other", "vocals")
#: Programs that play the formats that libsndfile does not read, and their packages.
PLAYERS = {"fluidsynth": "fluidsynth", "openmpt123": "openmpt123"}
TRACKER = {".it", ".mod", ".s3m", ".xm"}
#: Seconds of silence between two files of a speaker.
PAUSE = 0.3
#: Seconds read beyond an excerpt, so that the resampler has the samples after it.
MARGIN = 1.0


def missing() -> list[str]:
    """Return the packages that are not installed, sorted."""
    wanted = {source.package: source for piece in PIECES for source in _sources(piece)}
    packages = {package for package, source in wanted.items() if not _files(source)}
    return sorted(packages | {p for p, program in PLAYERS.items() if not shutil.which(program)})


def make(folder: Path) -> list[dict[str, Any]]:
    """Write the set into `folder` and return its manifest, one mapping per piece.

    Raises SystemExit for packages that are missing, and for a folder that holds something else.
    """
    if packages := missing():
        install = f"apt-get install --no-install-recommends {' '.join(packages)}"
        raise SystemExit(f"error: packages of the real-music set are missing\n  run: {install}")
    manifest = folder / "manifest.json"
    if folder.exists() and any(folder.iterdir()) and not manifest.is_file():
        raise SystemExit(f"error: `{folder}` holds other files\n  name a new folder")
    for part in ("pieces", "stems"):
        shutil.rmtree(folder / part, ignore_errors=True)
    rows = []
    for piece in PIECES:
        sound, stems = _played(piece)
        files = [_write(folder / "pieces" / f"{piece.name}.wav", sound)]
        if stems:
            below = folder / "stems" / "test" / piece.name
            files += [
                _write(below / f"{name}.wav", stem)
                for name, stem in {"mixture": sound, **stems}.items()
            ]
        rows.append(_row(piece, sound, {str(f.relative_to(folder)): _digest(f) for f in files}))
    manifest.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return rows


def _played(piece: Recording | Rendering) -> tuple[Audio, dict[str, Audio]]:
    """Return an excerpt, (2, time), and its stems if they are known."""
    import numpy as np

    if isinstance(piece, Recording):
        return _cut(_decoded(piece.source, piece.second + SECONDS), piece.second), {}
    from tools.midi_stems import render

    (midi,), (soundfont,) = _files(piece.source), _files(SOUNDFONT)
    stems = {
        name: _cut(render(midi, soundfont, channels, RATE), piece.second)
        for name, channels in piece.stems.items()
    }
    if piece.voice is not None:
        voice = _cut(_decoded(piece.voice, SECONDS), 0.0)
        # The voice is as loud as the whole band, as a singer is.
        band = np.sum(list(stems.values()), axis=0)
        stems["vocals"] = voice * np.float32(np.sqrt(np.mean(band**2) / np.mean(voice**2)))
    silence = np.zeros((2, round(SECONDS * RATE)), np.float32)
    stems = {name: stems.get(name, silence) for name in STEMS}
    gain = np.float32(piece.peak / np.abs(np.sum(list(stems.values()), axis=0)).max())
    stems = {name: stem * gain for name, stem in stems.items()}
    return np.sum(list(stems.values()), axis=0, dtype=np.float32), stems


def _decoded(source: Source, seconds: float) -> Audio:
    """Return the content of a source's files, (2, time), at 44.1 kHz, cut after `seconds`."""
    import numpy as np

    from plugins.dataset._audio.resampling import resample

    pause = np.zeros((2, round(PAUSE * RATE)), np.float32)
    parts: list[Audio] = []
    for file in _files(source):
        sound, rate = _read(file, seconds + MARGIN)
        parts += [resample(np.repeat(sound, 2, axis=0)[:2], rate, RATE), pause]
    return np.concatenate(parts[:-1], axis=1)


def _read(file: Path, seconds: float) -> tuple[Audio, int]:
    """Return the first `seconds` of a file, (channel, time), and its rate in hertz."""
    import soundfile

    if file.suffix not in TRACKER:
        rate = soundfile.info(file).samplerate
        sound, _ = soundfile.read(
            file, dtype="float32", always_2d=True, frames=round(seconds * rate)
        )
        return sound.T, rate
    with tempfile.TemporaryDirectory() as folder:
        played = Path(folder, "played.wav")
        command = [
            "openmpt123", "--batch", "--quiet", "--samplerate", str(RATE), "--channels", "2",
            "--end-time", str(seconds), "--output", str(played), str(file),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603  # no shell, our own files
        sound, rate = soundfile.read(played, dtype="float32", always_2d=True)
    return sound.T, rate


def _cut(sound: Audio, second: float) -> Audio:
    """Return `SECONDS` of a sound from `second`, with silence after its end."""
    import numpy as np

    begin, length = round(second * RATE), round(SECONDS * RATE)
    part = sound[:, begin : begin + length]
    return np.pad(part, ((0, 0), (0, length - part.shape[1])))


def _write(file: Path, sound: Audio) -> Path:
    """Write (channel, time) as WAV; libsndfile's WAV would contain the time of day."""
    import numpy as np
    from scipy.io import wavfile

    file.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(file, RATE, np.ascontiguousarray(sound.T))
    return file


def _row(piece: Recording | Rendering, sound: Audio, files: dict[str, str]) -> dict[str, Any]:
    import numpy as np

    return {
        "name": piece.name, "style": piece.style, "seconds": SECONDS, "second": piece.second,
        "stems": isinstance(piece, Rendering),
        "peak": round(float(np.abs(sound).max()), 4),
        "rms_db": round(float(10 * np.log10(np.mean(np.square(sound, dtype=np.float64)))), 2),
        "sources": [
            asdict(source) | {
                "version": _version(source.package),
                "copyright": f"/usr/share/doc/{source.package}/copyright",
                "files": {str(file): _digest(file) for file in _files(source)},
            }
            for source in _sources(piece)
        ],
        "files": files,
    }  # fmt: skip


def _sources(piece: Recording | Rendering) -> list[Source]:
    if isinstance(piece, Recording):
        return [piece.source]
    return [piece.source, SOUNDFONT, *([piece.voice] if piece.voice else [])]


def _files(source: Source) -> list[Path]:
    return [Path(file) for file in sorted(glob.glob(source.path))]  # noqa: PTH207  # an absolute pattern


def _version(package: str) -> str:
    command = ["dpkg-query", "--show", "--showformat=${Version}", package]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603  # our own names


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def main(arguments: list[str]) -> None:
    """Write the set into the given folder, and print its content."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise SystemExit("usage: python -m tools.real_music FOLDER")
    folder = Path(arguments[0])
    for row in make(folder):
        first = row["sources"][0]
        print(
            f"{row['name']:18} {row['rms_db']:6.1f} dB, peak {row['peak']:.2f}  "
            f"{first['package']} ({first['licence']}): {row['style']}"
        )
    print(f"{len(PIECES)} pieces in {folder}/pieces, those with stems in {folder}/stems")


if __name__ == "__main__":
    main(sys.argv[1:])
