"""Sound through FFmpeg's libraries (`av`), in a process of its own: what libsndfile does not read.

FFmpeg has parsers for hundreds of formats, some of which open other files or addresses that a file
names. So it gets the file as a stream of bytes, only the demuxer that fits the file's content, and
no protocol; and a failure ends a process that holds nothing else.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from core import Array, InputError
from core.formats.opened_apart import opened_apart, refusing
from core.machine.child_process import Limits
from core.plugin.progress import silent
from plugins.dataset._audio.container import Kind
from plugins.dataset._audio.octets import Excerpt

if TYPE_CHECKING:
    import numpy as np


__all__ = ["INSTALL", "SOUND", "Facts", "decoded", "installed"]

#: The file in the folder that holds the decoded samples.
SOUND = "sound"
INSTALL = "pip install 'luthier[formats]'"
_FACTS = "facts"
#: Seconds for a process: to start, and per MB of file. A minute of sound has 1 MB, and needs less.
_SECONDS, _SECONDS_PER_MB = 120.0, 4.0
#: FFmpeg and NumPy need 0.2 GB. A frame of sound is small, whatever a file says.
_MEMORY = 2 * 2**30
#: Sample formats of FFmpeg: the full scale, and the value of silence.
_SCALES = {
    "u8": (128.0, 128.0),
    "s16": (2.0**15, 0.0),
    "s32": (2.0**31, 0.0),
}


class Facts(msgspec.Struct):
    """What a file says of its sound, and the result: `frames` decoded of those `promised`.

    `floats` says that it stores samples as floats. `damaged` counts packets that could not be
    decoded, and `tracks` the tracks of sound.
    """

    rate: int
    channels: int
    promised: int | None
    floats: bool = False
    frames: int = 0
    damaged: int = 0
    tracks: int = 1


def installed() -> bool:
    """Return whether `av` is installed, without importing it."""
    return importlib.util.find_spec("av") is not None


def decoded(path: Path, kind: Kind, most: int, folder: Path) -> Facts:
    """Return what a file says of its sound; its samples are in `folder` under the name `SOUND`.

    They are float32 (time, channel): little more than `most` values, or the first block where
    `most` is 0; none where the file says that it holds more. Raises InputError for a file that
    FFmpeg does not read.
    """
    size = path.stat().st_size / 1e6
    limits = Limits(_SECONDS + size * _SECONDS_PER_MB, _MEMORY, hard=True)
    opened_apart(
        __name__, path, str(folder.absolute()), kind.libav, str(kind.start), str(most),
        noun="sound", folder=folder, progress=silent(), limits=limits,
    )  # fmt: skip
    return msgspec.json.decode((folder / _FACTS).read_bytes(), type=Facts)


def _decode(path: str, folder: str, demuxer: str, start: str, most: str) -> None:
    """Decode the file at `path` from byte `start` on; the rest is as in `decoded`."""
    import av

    av.logging.set_level(None)
    try:
        with (
            closing(Excerpt(Path(path), [(int(start), Path(path).stat().st_size)])) as file,
            av.open(
                file,
                format=demuxer,
                options={"protocol_whitelist": "none"},
                metadata_errors="replace",
            ) as container,
            Path(folder, SOUND).open("wb") as out,
        ):
            facts = _facts(container)
            if not int(most) or (facts.promised or 0) * facts.channels <= int(most):
                for block in _blocks(container, facts):
                    facts.frames += len(block)
                    out.write(block.tobytes())
                    if facts.frames * facts.channels > int(most):
                        break
                if facts.frames == 0:
                    raise InputError("nothing in it can be decoded")
    except (av.FFmpegError, ValueError, EOFError) as error:
        raise InputError(str(getattr(error, "strerror", "") or error)) from error
    except OSError as error:
        raise InputError(
            f"the decoded sound cannot be written: {error.strerror or error}",
            f"at: {folder}",
            "set the variable TMPDIR to a folder with more space",
        ) from error
    Path(folder, _FACTS).write_bytes(msgspec.json.encode(facts))


def _facts(container: Any) -> Facts:
    if not container.streams.audio:
        raise InputError("it has no track of sound")
    stream = container.streams.audio[0]
    context = stream.codec_context
    if context is None:
        raise InputError("it has a codec that FFmpeg does not know")
    length = None if stream.duration is None else float(stream.duration * stream.time_base)
    if length is None and container.duration is not None:
        length = container.duration / 1e6
    rate = context.sample_rate
    promised = None if length is None else round(length * rate)
    floats = context.codec.name.startswith("pcm_f")
    tracks = len(container.streams.audio)
    return Facts(rate, context.channels, promised, floats, tracks=tracks)


def _blocks(container: Any, facts: Facts) -> Iterator[Array]:
    """Yield float32 (time, channel); rate and channels are those of the first frame."""
    import av

    first: tuple[int, int] | None = None
    for packet in _packets(container, facts):
        try:
            frames = packet.decode()
        except (av.FFmpegError, ValueError):
            facts.damaged += 1
            continue
        for frame in frames:
            block = _floats(frame.to_ndarray(), frame.format, frame.layout.nb_channels)
            if first is None:
                # The decoder is right, not the header: that of HE-AAC may give half of both, say.
                first = frame.sample_rate, block.shape[1]
                if facts.promised is not None and facts.rate:
                    facts.promised = facts.promised * first[0] // facts.rate
                facts.rate, facts.channels = first
            if (frame.sample_rate, block.shape[1]) != first:
                raise InputError(
                    "its sample rate or its number of channels changes within the file",
                    f"from {first[0]} Hz, {first[1]} channels",
                    f"to {frame.sample_rate} Hz, {block.shape[1]} channels",
                )
            yield block


def _packets(container: Any, facts: Facts) -> Iterator[Any]:
    """Yield the packets of the first track of sound, up to an error that stops the demuxer."""
    import av

    packets = container.demux(container.streams.audio[0])
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, ValueError):
            facts.damaged += 1
            return
        if packet is None:
            return
        yield packet


def _floats(samples: np.ndarray[Any, Any], form: Any, channels: int) -> Array:
    """Return samples of any format as float32 (time, channel), full scale at 1."""
    import numpy as np

    across = samples if form.is_planar else samples.reshape(-1, channels).T
    name = form.name.removesuffix("p")
    if name in _SCALES:
        scale, zero = _SCALES[name]
        across = (across - zero) / scale
    return np.ascontiguousarray(across.T, np.float32)


if __name__ == "__main__":
    sys.exit(refusing(_decode))
