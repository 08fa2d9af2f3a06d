"""Decodes every sound below given folders with our reader and with FFmpeg's program, and compares.

    python -m tools.check_sounds /usr/share/games /usr/share/sounds [--every]

Prints a table of the files on which the two differ (of all with `--every`), and a count of all. A
file counts as refused rightly where FFmpeg's program decodes nothing of it either, or where it has
more channels than we fit. Ends with 1 where the reader refuses what FFmpeg plays, where the two
differ by more than a tenth of a second without a notice that says so, and where what they decode
differs. Needs the programs `ffmpeg` and `ffprobe`: apt-get install ffmpeg.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core import Array, InputError
from plugins.dataset._audio.limits import CHANNELS
from plugins.dataset._audio.reading import ENDINGS, OF_VIDEO, Sound, check, read
from plugins.dataset._audio.resampling import resample

FFMPEG, PROBE = "ffmpeg", "ffprobe"
#: The seconds by which two decoders may differ, and the decibels to which they must agree. MP3
#: decoders differ by their rounding, decoders of ADPCM by their tables.
APART_S, ALIKE_DB = 0.1, 25.0
#: The share of seconds that agree in a damaged file: after the damage, decoders may differ.
MOSTLY = 0.7
#: The samples by which the decoders may be shifted against each other: the delays of encoders.
SHIFT = 4096
#: Codecs that FFmpeg's own decoder reads differently from the codec's reference decoder.
DECODERS = {"opus": ["-c:a", "libopus"]}


@dataclass(frozen=True)
class Row:
    """One file, and the results of both decoders."""

    file: str
    codec: str
    verdict: str
    ours: str
    theirs: str
    shift: str
    alike: str
    notes: str


def main() -> int:
    """Compare, print, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--every", action="store_true", help="show the files that are alike, too")
    given = parser.parse_args()
    rows = []
    for file in _files(given.folders):
        row = _compared(file)
        rows.append(row)
        if given.every or row.verdict != "alike":
            print(" | ".join(str(value) for value in vars(row).values()), flush=True)
    print()
    counts = Counter((row.codec, row.verdict) for row in rows)
    for (codec, verdict), number in sorted(counts.items()):
        print(f"{codec:18} {verdict:28} {number}")
    wrong = [row for row in rows if row.verdict.isupper()]
    print(f"{len(rows)} files, {len(wrong)} wrong")
    return 1 if wrong else 0


def _files(folders: list[Path]) -> Iterator[Path]:
    for folder in folders:
        every = [folder] if folder.is_file() else sorted(folder.rglob("*"))
        yield from (f for f in every if f.suffix.lower() in {*ENDINGS, *OF_VIDEO} and f.is_file())


def _compared(file: Path) -> Row:
    codec, rate, theirs = _by_ffmpeg(file)
    try:
        check(file)
        sound: Sound | None = read(file)
        notes = "; ".join(notice.text for notice in sound.notices)
    except InputError as error:
        sound, notes = None, " / ".join((error.what, *error.lines[1:]))
    if sound is None:
        verdict = "REFUSED"
        if theirs is None or len(theirs) > CHANNELS:
            verdict = "both refuse" if theirs is None else "of too many channels"
        return Row(file.name, codec, verdict, "", _told(theirs, rate), "", "", notes)
    ours = _told(sound.samples, sound.rate)
    if theirs is None or theirs.shape[1] == 0:
        return Row(file.name, codec, "only ours", ours, "", "", "", notes)
    apart = abs(sound.samples.shape[1] / sound.rate - theirs.shape[1] / rate)
    shift, alike, seconds = _alike(sound, theirs, rate)
    verdict = "alike"
    if apart > APART_S:
        verdict = "of another length, and told" if sound.notices else "OF ANOTHER LENGTH"
    elif alike < ALIKE_DB and seconds > MOSTLY:
        verdict = "alike for the most part"
    elif alike < ALIKE_DB:
        verdict = "differs, and told" if sound.notices else "DIFFERS"
    return Row(
        file.name, codec, verdict, ours, _told(theirs, rate), str(shift), f"{alike:.0f} dB", notes
    )


def _told(samples: Array | None, rate: int) -> str:
    return "" if samples is None else f"{samples.shape[0]} x {samples.shape[1]} at {rate}"


def _by_ffmpeg(file: Path) -> tuple[str, int, Array | None]:
    """Return codec, rate and samples (channel, time) as FFmpeg's program decodes them."""
    asked = "stream=codec_name,sample_rate,channels"
    probe = subprocess.run(  # noqa: S603  # two programs that are named here
        [PROBE, "-v", "error", "-select_streams", "a:0", "-show_entries", asked, "-of", "json",
         str(file)],
        capture_output=True, check=False,
    )  # fmt: skip
    try:
        streams = json.loads(probe.stdout)["streams"]
    except (ValueError, KeyError):
        streams = []
    streams = streams or [{}]
    codec, rate = streams[0].get("codec_name", "none"), int(streams[0].get("sample_rate", 0))
    channels = int(streams[0].get("channels", 0))
    if not rate or not channels:
        return codec, 0, None
    with tempfile.TemporaryFile() as out:
        subprocess.run(  # noqa: S603
            [FFMPEG, "-v", "error", "-nostdin", *DECODERS.get(codec, []), "-i", str(file),
             "-map", "0:a:0", "-f", "f32le", "-c:a", "pcm_f32le", "-ac", str(channels),
             "-ar", str(rate), "-"],
            stdout=out, stderr=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        out.seek(0)
        values = np.fromfile(out, np.float32)
    whole = values[: len(values) // channels * channels].reshape(-1, channels).T
    return codec, rate, whole if whole.size else None


def _alike(sound: Sound, theirs: Array, rate: int) -> tuple[int, float, float]:
    """Return the agreement of both: the best shift, decibels, and the share of equal seconds.

    The second with the damage differs, and the seconds after it may be shifted.
    """
    ours = sound.samples
    if sound.rate != rate:
        ours = resample(ours, sound.rate, rate)
    if len(ours) != len(theirs):
        return 0, float("nan"), 0.0
    shift = _shift(ours, theirs)
    whole = _snr(ours, theirs, shift)
    if whole >= ALIKE_DB:
        return shift, whole, 1.0
    starts = range(0, min(ours.shape[1], theirs.shape[1]), rate)
    seconds = [(ours[:, at : at + 2 * rate], theirs[:, at : at + 2 * rate]) for at in starts]
    alike = [_snr(one, two, _shift(one, two)) >= ALIKE_DB for one, two in seconds]
    return shift, whole, sum(alike) / len(alike)


def _shift(ours: Array, theirs: Array) -> int:
    """Return the shift at which the first seconds agree best."""
    size = min(1 << 19, max(ours.shape[1], theirs.shape[1]))
    one, two = (np.fft.rfft(each.mean(0)[:size], 2 * size) for each in (ours, theirs))
    correlation = np.fft.irfft(one * np.conj(two))
    near = np.r_[0 : min(SHIFT, size) + 1, -min(SHIFT, size) : 0]
    best = int(near[np.argmax(correlation[near])])
    return max((0, best), key=lambda n: _snr(ours, theirs, n))


def _snr(ours: Array, theirs: Array, shift: int) -> float:
    one, two = ours[:, max(0, shift) :], theirs[:, max(0, -shift) :]
    size = min(one.shape[1], two.shape[1])
    one, two = one[:, :size], two[:, :size]
    power = float(np.sum(np.square(two, dtype=np.float64)))
    error = float(np.sum(np.square(np.nan_to_num(one - two), dtype=np.float64)))
    return 10 * float(np.log10((power + 1e-12) / (error + 1e-15)))


if __name__ == "__main__":
    sys.exit(main())
