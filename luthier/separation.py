"""Just the stems: plays songs once, without a reference or an error budget, and writes files."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError, InputError, LuthierError
from core.machine.file_names import file_name
from core.plugin.progress import Progress
from core.text.screen import say
from luthier.calls import StrPath, called, texts
from luthier.outputs import Outputs, labelled
from luthier.sound_files import FORMATS, loudness, residual_db, write
from luthier.watch import ProgressCallback

if TYPE_CHECKING:
    from core.inference.player import Player
    from core.plugin.listable import Source
    from core.plugin.values import Array, Item, Notice
    from plugins.dataset.files import Files

__all__ = [
    "Choice",
    "Job",
    "Separated",
    "Song",
    "choice_of",
    "folder_of",
    "separate",
    "separated",
    "songs_in",
]

#: What is played where nothing else is said: a trained HTDemucs on this machine, in full precision.
DEFAULTS = {
    "recipe": "auto",
    "auto": "false",
    "model": "htdemucs",
    "target": "cpu",
    "precision": "fp32",
}
#: Words that a run takes and a separation does not, with what to do instead.
NOT_HERE = {
    "mode": "leave it out; the modes are those of a run: luthier mode=... recipe=...",
    "input": "name the songs themselves: luthier separate song.mp3",
    "output": "name the folder: --out FOLDER, from Python out=FOLDER",
}
#: The stage under which the progress of the songs is told.
STAGE = "songs"


@dataclass(frozen=True)
class Separated:
    """One song: its folder and files by stem, or the error; figures for a listener.

    `seconds` is how long the song is, `took` how long reading, playing and writing it lasted.
    `residual_db` is the energy of what no stem holds, in dB of that of the song; `lufs` the
    integrated loudness of the song. `device` computed.
    """

    song: Path
    folder: Path | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    seconds: float = 0.0
    took: float = 0.0
    residual_db: float = 0.0
    lufs: float = 0.0
    device: str = ""
    notices: tuple[Notice, ...] = ()
    error: LuthierError | None = None


@dataclass(frozen=True)
class Song:
    """A file to separate, and the name of its folder below the output, relative."""

    source: Source
    place: str


@dataclass(frozen=True)
class Choice:
    """Which stems are written, and how; checked when it is made.

    `stems` are those to write, all where empty. `two` names one stem, beside which the sum of all
    others is written. Raises ConfigError for an unknown format, or for both at once.
    """

    form: str = "wav"
    stems: tuple[str, ...] = ()
    two: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be written."""
        if self.form not in FORMATS:
            raise ConfigError(f"there is no format `{self.form}`", f"formats: {', '.join(FORMATS)}")
        if self.stems and self.two:
            raise ConfigError(
                "`stems` chooses among all stems, and `two_stems` adds them up",
                "give one of the two",
            )

    def check(self, labels: Sequence[str]) -> None:
        """Raise ConfigError for a stem that the model does not give."""
        for label in (*self.stems, *([self.two] if self.two else [])):
            if label not in labels:
                raise ConfigError(
                    f"the model gives no stem `{label}`", f"its stems: {', '.join(labels)}"
                )

    def of(self, outputs: Outputs) -> dict[str, Array]:
        """Return the arrays to write, by label."""
        if self.two:
            rest = [array for label, array in outputs.items() if label != self.two]
            others = {f"no_{self.two}": sum(rest[1:], rest[0])} if rest else {}
            return {self.two: outputs[self.two], **others}
        return {label: outputs[label] for label in (self.stems or outputs)}


@dataclass(frozen=True)
class Job:
    """What `separated` needs: the words of the recipe, the songs, and what to write where."""

    words: Sequence[str]
    songs: Sequence[Song]
    out: Path
    choice: Choice


def choice_of(
    given: Mapping[str, str], overrides: Sequence[str], songs: Sequence[Song]
) -> list[str]:
    """Return the words of a command line: `given` by key, then `overrides`, then the defaults.

    A recipe that is named decides for itself: then no default is added. Raises ConfigError for a
    word that would have no effect here.
    """
    keys = {word.partition("=")[0] for word in overrides}
    for key, instead in NOT_HERE.items():
        if key in keys:
            raise ConfigError(f"`{key}=` has no effect on songs that are only separated", instead)
    named = "recipe" in given or "recipe" in keys
    defaults = {} if named else DEFAULTS
    kept = [f"{key}={value}" for key, value in given.items()]
    kept += [f"{k}={v}" for k, v in defaults.items() if k not in keys and k not in given]
    first = f"input={songs[0].source.file}"
    return [*kept, *overrides, first]


def songs_in(given: Sequence[StrPath], out: Path) -> list[Song]:
    """Return every song of files, folders and patterns; each gets a place of its own.

    A stem below `out` that an earlier separation wrote is no song, unless it is named itself.
    Raises InputError for a path that does not exist, or a folder without a song.
    """
    from core.batch.output_paths import OutputPaths
    from plugins.dataset.files import Files, FilesOptions

    found: dict[Path, Source] = {}
    left = 0
    for one in given:
        named = Path(one).is_file()
        for source in Files(FilesOptions(str(one))).sources():
            file = source.file.resolve()
            if not named and _is_stem(file, out.resolve()):
                left += 1
            else:
                found.setdefault(file, source)
    if left:
        say(f"left out: {left} files in {out}, the stems of an earlier separation", err=True)
    if not found:
        raise InputError("there is no song to separate", "give files, folders or patterns")

    names, paths, songs = set[str](), OutputPaths(), list[Song]()
    for source in found.values():
        # Songs of several folders may have one name, and a place is given by the name.
        name = source.name
        own = name if name not in names else f"{source.file.absolute().parent.name}/{name}"
        several = count(2)
        while own in names:
            own = f"{source.file.absolute().parent.name}_{next(several)}/{name}"
        names.add(own)
        songs.append(Song(replace(source, file=source.file.absolute()), paths.of(own)))
    return songs


def _is_stem(file: Path, out: Path) -> bool:
    """Return whether a file below `out` has the name that `_written` gives to a stem."""
    ours = file.stem.startswith(f"{file.parent.name} (") and file.stem.endswith(")")
    return ours and file.is_relative_to(out) and file.parent != out


def folder_of(out: StrPath) -> Path:
    """Return the folder for the songs' folders, absolute; raises a LuthierError if it is none."""
    if not os.fspath(out):
        raise ConfigError("the folder of the stems has an empty name", "give one: --out FOLDER")
    folder = Path(out).expanduser().absolute()
    there = next(one for one in (folder, *folder.parents) if os.path.lexists(one))
    if not there.is_dir():
        raise _unwritable(NotADirectoryError(errno.ENOTDIR, "Not a directory", str(there)), folder)
    return folder


def separate(
    songs: StrPath | Sequence[StrPath],
    *,
    out: StrPath = "separated",
    model: str | None = None,
    target: str | None = None,
    precision: str | None = None,
    overrides: Sequence[str] = (),
    format: str = "wav",  # noqa: A002  # the word of the command line
    stems: Sequence[str] = (),
    two_stems: str | None = None,
    progress: ProgressCallback | None = None,
    show: bool = False,
) -> list[Separated]:
    """Separate songs, and write each one's stems into a folder of its own below `out`.

    `songs` are files, folders or patterns. By default HTDemucs with its trained weights, which
    demucs downloads once, plays in full precision on this machine's processor. `format` is wav,
    flac, mp3 or ogg. `stems` chooses some; `two_stems="vocals"` writes these and the sum of all
    others. Each song is played once; `luthier.run` also measures.

    A song that cannot be read costs no other: its result has the `error`. Raises a LuthierError
    for what stops every song.
    """
    listed = [songs] if isinstance(songs, str) or hasattr(songs, "__fspath__") else list(songs)
    keys = {"model": model, "target": target, "precision": precision}
    given = {key: value for key, value in keys.items() if value is not None}
    choice = Choice(format, tuple(texts("stems", stems)), two_stems or "")
    with called(show=show, progress=progress) as tell:
        folder = folder_of(out)
        found = songs_in(listed, folder)
        words = choice_of(given, texts("overrides", overrides), found)
        return list(separated(Job(words, found, folder, choice), tell))


def separated(job: Job, progress: ProgressCallback | None) -> Iterator[Separated]:
    """Make the model, open it once, and yield each song as it is done."""
    from luthier.players import playing

    def tell(done: float, total: float, message: str) -> None:
        if progress is not None:
            progress(STAGE, done, total, message)

    with playing(job.words, progress, Progress(tell), show=True) as (what, player):
        job.choice.check(list(_labels(what.model.info.signature.outputs)))
        for number, song in enumerate(job.songs):

            def within(done: float, total: float, message: str, number: int = number) -> None:
                inside = min(done / total, 1.0) if total else 0.0
                tell(number + inside, len(job.songs), message)

            yield _song(job, song, player, what.notices, Progress(within))


def _labels(outputs: Sequence[Any]) -> Iterator[str]:
    for spec in outputs:
        yield from next(iter(spec.labels.values()), (spec.name,))


def _song(
    job: Job, song: Song, player: Player, notices: Sequence[Notice], progress: Progress
) -> Separated:
    """Read, play and write one song; whatever is wrong with it is in the result."""
    from core.inference.items import checked_items
    from plugins.dataset.files import Files, FilesOptions

    started, file = time.perf_counter(), song.source.file
    try:
        dataset: Files = Files(FilesOptions(str(file)))
        (item,) = checked_items(dataset, "evaluation", player.signature)
        outputs = labelled(player.play(item, progress), player.signature)
        return _written(job, song, item, outputs, player, started, notices)
    except LuthierError as error:
        return Separated(file, took=time.perf_counter() - started, error=error)


def _written(
    job: Job,
    song: Song,
    item: Item,
    outputs: Outputs,
    player: Player,
    started: float,
    notices: Sequence[Notice],
) -> Separated:
    from core.plugin.values import Notice

    mixture = next(iter(item.inputs.values()))
    rate = round(outputs.rates.get("time", 44100))
    name = file_name(Path(song.place).name)
    folder = job.out / song.place
    files: dict[str, Path] = {}
    told = [*notices, *item.notices]
    with _Staged(folder) as partial:
        for label, samples in job.choice.of(outputs).items():
            file = f"{name} ({file_name(label)}).{job.choice.form}"
            clipped = write(partial / file, samples, rate)
            files[label] = folder / file
            if clipped:
                told.append(
                    Notice(
                        "warning",
                        f"{label}: {clipped:,} samples beyond full scale were clipped; wav keeps "
                        "them",
                    )
                )
    arrays = list(outputs.values())
    return Separated(
        song.source.file,
        folder,
        files,
        mixture.shape[-1] / rate,
        time.perf_counter() - started,
        residual_db(mixture, sum(arrays[1:], arrays[0])),
        loudness(mixture, rate),
        player.opened.session.device,
        tuple(dict.fromkeys(told)),
    )


class _Staged:
    """A folder beside `folder` whose files move into it once all of them are written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Path:
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            made = tempfile.mkdtemp(prefix=".partial-", dir=self.folder.parent)
        except OSError as error:
            raise _unwritable(error, self.folder) from error
        self.partial = Path(made)
        return self.partial

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self.folder.mkdir(exist_ok=True)
                for file in sorted(self.partial.iterdir()):
                    file.replace(self.folder / file.name)
        except OSError as error:
            raise _unwritable(error, self.folder) from error
        finally:
            shutil.rmtree(self.partial, ignore_errors=True)


def _unwritable(error: OSError, folder: Path) -> LuthierError:
    from core.machine.folders import unwritable

    return unwritable("the folder of the stems", error, folder, "--out FOLDER")
