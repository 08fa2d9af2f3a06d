"""Writes stems as WAV, FLAC, MP3 or OGG files, and measures what a listener is told of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import StageError
from core.machine.remedy import remedy

if TYPE_CHECKING:
    from core.plugin.values import Array

__all__ = ["FORMATS", "loudness", "residual_db", "write"]

#: libsndfile's format and subtype by the ending of a file; its effort is that of good quality.
FORMATS = {
    "wav": ("WAV", "PCM_24"),
    "flac": ("FLAC", "PCM_24"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
}
#: libsndfile's effort, of 0 (largest) to 1 (smallest): a song took 230 kbit/s as MP3 and 199 as
#: Vorbis.
SMALL = {"mp3": 0.0, "ogg": 0.2}
#: libsndfile 1.2 overflows the stack on one long Vorbis write, so it gets blocks (samples).
BLOCK = 1 << 14
FULL_SCALE = 1.0


def write(file: Path, samples: Array, rate: int) -> int:
    """Write (channel, time) in the format of the file's ending; returns how many samples clipped.

    WAV keeps samples beyond full scale as 32-bit floats; the other formats clip them. Raises
    StageError where the file cannot be written.
    """
    import numpy as np
    import soundfile

    ending = file.suffix[1:].lower()
    form, subtype = FORMATS[ending]
    over = int(np.count_nonzero(np.abs(samples) >= FULL_SCALE))
    if over and ending == "wav":
        subtype, over = "FLOAT", 0
    # libsndfile clips integers by itself; lossy encoders would distort what is beyond.
    kept = np.clip(samples, -FULL_SCALE, FULL_SCALE) if over else samples
    small: dict[str, Any] = {"compression_level": SMALL[ending]} if ending in SMALL else {}
    if ending == "mp3":
        small["bitrate_mode"] = "VARIABLE"
    try:
        with soundfile.SoundFile(
            file, "w", rate, len(kept), subtype=subtype, format=form, **small
        ) as out:
            for start in range(0, kept.shape[1], BLOCK):
                out.write(kept[:, start : start + BLOCK].T)
    except (OSError, soundfile.LibsndfileError) as error:
        found = _of_system(file) or error
        raise StageError(
            f"`{file.name}` cannot be written: {getattr(found, 'strerror', None) or found}",
            f"at: {file}",
            remedy(found, "--out /path/to/folder"),
        ) from error
    return over


def _of_system(file: Path) -> OSError | None:
    """Return why the system refuses to write more, which libsndfile calls `System error.`."""
    try:
        with file.open("ab") as out:
            out.write(bytes(BLOCK))
    except OSError as error:
        return error
    return None


def residual_db(mixture: Array, total: Array) -> float:
    """Return the energy of what no stem holds, in dB of that of the mixture; -inf for nothing."""
    import numpy as np

    length = min(mixture.shape[-1], total.shape[-1])
    whole = mixture[..., :length].astype(np.float64)
    left = float(np.sum((whole - total[..., :length]) ** 2))
    energy = float(np.sum(whole**2))
    return 10 * float(np.log10(left / energy)) if left and energy else -float("inf")


def loudness(samples: Array, rate: int) -> float:
    """Return the integrated loudness of (channel, time) in LUFS; -inf for silence.

    ITU-R BS.1770-4: K-weighting, blocks of 400 ms with three quarters of overlap, an absolute gate
    at -70 LUFS, and a relative one 10 LU below. Mono and stereo count alike: each channel weighs 1.
    """
    import numpy as np
    from scipy.signal import sosfilt

    step = round(rate / 10)
    if samples.shape[-1] < 4 * step:
        return -float("inf")
    weighted = sosfilt(_k_weighting(rate), samples, axis=-1)
    whole = weighted.shape[-1] // step
    squares = np.sum(weighted[..., : whole * step].reshape(len(weighted), whole, step) ** 2, -1)
    power = np.sum(squares[:, :-3] + squares[:, 1:-2] + squares[:, 2:-1] + squares[:, 3:], 0)
    power /= 4 * step
    power = power[power > 10 ** ((-70 + 0.691) / 10)]
    if not len(power):
        return -float("inf")
    power = power[power > np.mean(power) / 10]
    return -0.691 + 10 * float(np.log10(np.mean(power)))


def _k_weighting(rate: int) -> Array:
    """Return both filters of BS.1770-4 as sections, for any rate.

    The standard gives coefficients for 48 kHz alone. These are the analogue prototypes that they
    come from (Brecht De Man, Evaluation of Implementations of the EBU R128 Loudness Measurement,
    2018), by the bilinear transform.
    """
    import numpy as np

    gain, q, centre = 3.999843853973347, 0.7071752369554196, 1681.974450955533
    k = np.tan(np.pi * centre / rate)
    high, band = 10 ** (gain / 20), (10 ** (gain / 20)) ** 0.4996667741545416
    a0 = 1 + k / q + k * k
    shelf = [
        (high + band * k / q + k * k) / a0,
        2 * (k * k - high) / a0,
        (high - band * k / q + k * k) / a0,
        1.0,
        2 * (k * k - 1) / a0,
        (1 - k / q + k * k) / a0,
    ]
    q, centre = 0.5003270373238773, 38.13547087602444
    k = np.tan(np.pi * centre / rate)
    a0 = 1 + k / q + k * k
    low_cut = [1.0, -2.0, 1.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]
    return np.array([shelf, low_cut])
