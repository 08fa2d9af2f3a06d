"""Writes `report.html` and `sweep.html`: a run or a sweep, each in one file that opens offline."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from core import Reporter, Requirement, hookimpl, reaching
from core.machine.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.plugin.records import PlanRecord, RunRecord, SweepRecord
    from core.run.comparison import Run
    from plugins.reporter._html_run.difference import Comparison
    from plugins.reporter._html_run.markup import Html

__all__ = ["FILE", "SWEEP_FILE", "Codec", "HtmlReport"]

FILE, SWEEP_FILE = "report.html", "sweep.html"


class Codec(Enum):
    """How previews are compressed."""

    ogg = "ogg"
    mp3 = "mp3"
    flac = "flac"


@dataclass
class HtmlReportOptions:
    """How much sound the report carries in itself; the files beside it are always whole."""

    preview_seconds: float = 30.0
    """Seconds of every sound that are embedded, from its middle."""
    preview_items: int = 4
    """Items with players; further ones are linked, so that a long test set stays a small page."""
    codec: Codec = Codec.ogg
    """Ogg Vorbis takes half the time of MP3 (Safari: from 18.4 on); FLAC is quick and large."""
    stereo: bool = False
    """Embed previews in stereo, for twice the time and room."""
    compared_seconds: float = 5.0
    """Seconds of every output that are embedded once more as FP32 PyTorch gives them, without loss:
    those that differ most from the shipped graph. 0 for none."""
    against: str = reaching("")
    """An earlier run to compare with: its run folder, its `report.json` or its lock file. The page
    shows what differed and what that did to every figure."""

    def __post_init__(self) -> None:
        """Raise ValueError for lengths out of their range."""
        if not 1 <= self.preview_seconds <= 600:  # noqa: PLR2004  # ten minutes are 10 MB a stem
            raise ValueError(f"`preview_seconds` is {self.preview_seconds}: give 1 to 600")
        if not 0 <= self.compared_seconds <= 60:  # noqa: PLR2004  # a minute is 25 MB for 4 stems
            raise ValueError(f"`compared_seconds` is {self.compared_seconds}: give 0 to 60")
        if self.preview_items < 0:
            raise ValueError(f"`preview_items` is {self.preview_items}: give 0 or more")


class HtmlReport(Reporter[HtmlReportOptions]):
    """Writes a page with players, spectrograms and the error budget, and one for a sweep."""

    name = "html"
    Options = HtmlReportOptions
    libraries = (
        Requirement("numpy", "pip install numpy"),
        Requirement("soundfile", "pip install soundfile"),
    )

    def __init__(self, options: HtmlReportOptions) -> None:
        super().__init__(options)
        self._earlier: Run | None = None

    @hookimpl
    def luthier_run_started(self, plan: PlanRecord) -> None:
        """Read the run to compare with: a wrong path is found before anything runs.

        Raises InputError where there is no run.
        """
        if self.options.against:
            from core.run.comparison import read_run

            self._earlier = read_run(self.options.against)

    @hookimpl
    def luthier_run_finished(self, record: RunRecord, folder: str) -> None:
        """Write `report.html` into the run folder."""
        from plugins.reporter._html_run import beside, document, files, media_of
        from plugins.reporter._reading import redacted

        options, original, record = self.options, record, redacted(record)
        # The page shows the redacted names; the sounds are read from their true paths.
        named = zip(record.saved, original.saved, strict=True)
        shown = media_of(
            [dataclasses.replace(name, path=file.path) for name, file in named],
            Path(folder),
            seconds=options.preview_seconds,
            limit=options.preview_items,
            codec=options.codec.value,
            stereo=options.stereo,
        )
        compared = _compared(original, record, options) if options.compared_seconds else []
        changed = _changed(self._earlier, record) if self._earlier else None
        again = files(
            beside(original, Path(folder)),
            record.command,
            shortened=record.command != original.command,
        )
        write_whole(Path(folder, FILE), document(record, shown, compared, again, changed).encode())

    @hookimpl
    def luthier_sweep_finished(self, record: SweepRecord, folder: str) -> None:
        """Write `sweep.html` beside the run folders of the points, to whose reports it links."""
        from plugins.reporter._html_sweep import document
        from plugins.reporter._reading import presentable

        write_whole(Path(folder, SWEEP_FILE), document(presentable(record)).encode())


def _changed(before: Run, record: RunRecord) -> Html:
    """Return the comparison with an earlier run; both without the paths of this machine."""
    from core.run.comparison import compare, run_of
    from plugins.reporter._html_run import earlier

    return earlier(compare(before, run_of(record, FILE)))


def _compared(
    original: RunRecord, record: RunRecord, options: HtmlReportOptions
) -> Sequence[Comparison] | None:
    """Return the comparisons with FP32 under the redacted names; none without sound.

    None where the store has no longer what was played.
    """
    if not record.items or not any(spec.rates for spec in record.signature.outputs):
        return []
    # numpy and libsndfile are only loaded for a run with sound.
    from plugins.reporter._html_run.difference import comparisons

    return comparisons(
        original,
        [item.name for item in record.items[: options.preview_items]],
        seconds=options.compared_seconds,
        codec=options.codec.value,
        stereo=options.stereo,
    )


@hookimpl
def luthier_plugins() -> list[type[HtmlReport]]:
    """Return the reporter plugin of this file."""
    return [HtmlReport]
