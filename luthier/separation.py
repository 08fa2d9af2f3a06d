"""Just the stems: plays songs once, without a reference or an error budget, and writes files."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.config.arguments import as_text, key_of
from core.errors import ConfigError, LuthierError, did_you_mean
from core.machine.file_names import file_name
from core.plugin.progress import Progress
from luthier.calls import StrPath, called, texts
from luthier.outputs import Outputs, labelled
from luthier.separate_options import NOT_HERE
from luthier.songs import Song, songs_in
from luthier.sound_files import FORMATS, loudness, residual_db, write
from luthier.stem_folders import folder_of, staging_in, whole_folder
from luthier.watch import ProgressCallback

if TYPE_CHECKING:
    from core.inference.player import Player
    from core.plugin.values import Array, Item, Notice, Signature
    from plugins.dataset.files import Files

__all__ = [
    "Choice",
    "Job",
    "Separated",
    "choice_of",
    "separate",
    "separated",
]

#: What is played where nothing else is said: a trained HTDemucs on this machine, in full precision.
DEFAULTS = {
    "recipe": "auto",
    "auto": "false",
    "model": "htdemucs",
    "target": "cpu",
    "precision": "fp32",
}
#: The stage under which the progress of the songs is told.
STAGE = "songs"
#: The axes of a sound.
SOUND = ("channel", "time")


@dataclass(frozen=True)
class Separated:
    """One song: its folder and files by stem, or the error; figures for a listener.

    `seconds` is how long the song is, `took` how long reading, playing and writing it lasted.
    `residual_db` is the energy of what no stem holds, in dB of that of the song, NaN where the
    model changes the sample rate; `lufs` the integrated loudness of the song. `device` computed.
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
                    f"the model gives no stem `{label}`",
                    did_you_mean(label, labels),
                    f"its stems: {', '.join(labels)}",
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
    from plugins.dataset.files import Files

    keys = {key_of(word) for word in overrides}
    for key in sorted(keys):
        instead = NOT_HERE.get(key, NOT_HERE.get(key.partition(".")[0], ""))
        if instead:
            raise ConfigError(f"`{key}=` has no effect on songs that are only separated", instead)
    if "dataset=files" not in overrides and "dataset" in keys:
        raise ConfigError(
            "songs are read by dataset `files`, and by no other", "leave out `dataset=`"
        )
    named = "recipe" in given or "recipe" in keys
    defaults = {} if named else DEFAULTS
    kept = [f"{key}={value}" for key, value in given.items()]
    kept += [f"{k}={v}" for k, v in defaults.items() if k not in keys and k not in given]
    # The options of the dataset are those of the recipe, where it has one that opens such files.
    known = (song.source.file for song in songs if song.source.file.suffix.lower() in Files.opens)
    first = next(known, None)
    if first is not None and not any(key.partition(".")[0] == "dataset" for key in keys):
        return [*kept, *overrides, f"input={first}"]
    path = as_text(f"dataset.path={songs[0].source.file}")
    return [*kept, "dataset=files", *(w for w in overrides if w != "dataset=files"), path]


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
    from plugins.dataset.files import Files

    def tell(done: float, total: float, message: str) -> None:
        if progress is not None:
            progress(STAGE, done, total, message)

    # The folder is made before the model, so that a place that cannot be written shows at once.
    with (
        staging_in(job.out) as staging,
        playing(job.words, progress, Progress(tell), show=True) as (what, player),
    ):
        _check_sounds(what.pipeline.model.name, what.model.info.signature)
        job.choice.check(list(_labels(what.model.info.signature.outputs)))
        for number, song in enumerate(job.songs):

            def within(done: float, total: float, message: str, number: int = number) -> None:
                inside = min(done / total, 1.0) if total else 0.0
                tell(number + inside, len(job.songs), message)

            dataset = what.pipeline.dataset
            assert isinstance(dataset, Files), "the words name it"
            job_of = _Work(job, song, staging, player, what.notices)
            yield _song(job_of, dataset, Progress(within))


def _check_sounds(model: str, signature: Signature) -> None:
    """Raise ConfigError for a model that does not make sounds of one."""
    for spec in (*signature.inputs, *signature.outputs):
        axes = tuple(axis for axis in spec.axes if axis not in spec.labels)
        if axes != SOUND or "time" not in spec.rates or len(signature.inputs) > 1:
            raise ConfigError(
                f"model `{model}` makes no sounds of a song: it has `{spec.name}`, "
                f"{' × '.join(spec.axes)}",
                f"a song and its stems are {' × '.join(SOUND)}, with samples per second",
                "to get whatever a model gives: luthier.run(...).outputs, or luthier.open",
            )


def _labels(outputs: Sequence[Any]) -> Iterator[str]:
    for spec in outputs:
        yield from next(iter(spec.labels.values()), (spec.name,))


@dataclass(frozen=True)
class _Work:
    """One song of a job: where its files are written first, and what plays it."""

    job: Job
    song: Song
    staging: Path
    player: Player
    notices: Sequence[Notice]


def _song(work: _Work, dataset: Files, progress: Progress) -> Separated:
    """Read, play and write one song; whatever is wrong with it is in the result."""
    from core.inference.items import checked_items

    started, player = time.perf_counter(), work.player
    try:
        (item,) = checked_items(dataset.only(work.song.source), "evaluation", player.signature)
        outputs = labelled(player.play(item, progress), player.signature)
        return _written(work, item, outputs, started)
    except LuthierError as error:
        took = time.perf_counter() - started
        return Separated(work.song.source.file, took=took, error=error)


def _written(work: _Work, item: Item, outputs: Outputs, started: float) -> Separated:
    from core.plugin.values import Notice

    choice, mixture = work.job.choice, next(iter(item.inputs.values()))
    rate, own = outputs.rates["time"], work.player.signature.inputs[0].rates["time"]
    name = file_name(Path(work.song.place).name)
    folder = work.job.out / work.song.place
    files: dict[str, Path] = {}
    told = [*work.notices, *item.notices]
    with whole_folder(work.staging / name, folder) as partial:
        for label, samples in choice.of(outputs).items():
            file = f"{name} ({file_name(label)}).{choice.form}"
            clipped = write(partial / file, samples, round(rate))
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
        work.song.source.file,
        folder,
        files,
        mixture.shape[-1] / own,
        time.perf_counter() - started,
        residual_db(mixture, sum(arrays[1:], arrays[0])) if rate == own else math.nan,
        loudness(mixture, round(own)),
        work.player.opened.session.device,
        tuple(dict.fromkeys(told)),
    )
