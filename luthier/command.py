"""The command `luthier`: `luthier separate ...`, and all that `python -m core` takes."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from core.cli.main import ending_in_one_message
from core.cli.main import main as core_main
from core.errors import ConfigError, InputError, did_you_mean
from core.machine.program import line
from core.text.screen import screen
from core.text.shown import in_one_line
from luthier.separate_options import OPTIONS, SEPARATE

if TYPE_CHECKING:
    from luthier.separation import Separated

__all__ = ["main"]

#: A word of a recipe among the songs: `model=htdemucs`, `chunker.overlap=0.5`.
OVERRIDE = re.compile(r"[+~]{0,2}[A-Za-z_][\w./@]*=.*", re.DOTALL)


def main(arguments: Sequence[str]) -> None:
    """Run the command and exit: 0 done, 130 Ctrl-C, else the code of core/errors.py."""
    if not arguments or arguments[0] != SEPARATE:
        core_main(arguments)
        return
    ending_in_one_message(_separate, list(arguments[1:]))


class _Parser(argparse.ArgumentParser):
    """A parser whose errors look like all others."""

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError."""
        raise ConfigError(message.removeprefix("argument "), f"see: {line([SEPARATE, '--help'])}")


class _Once(argparse.Action):
    """An option that is given once: argparse takes the last one, and says nothing."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Keep the value; raise ConfigError for a second one."""
        before = getattr(namespace, self.dest)
        if before not in (self.default, values):
            raise ConfigError(
                f"`{option_string}` is given twice: {before} and {values}",
                "several stems are one value: --stems drums,bass" if self.dest == "stems" else "",
            )
        setattr(namespace, self.dest, values)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="luthier separate",
        description="Separate songs into stems: each song is played once, nothing is measured.",
        epilog="Words of a recipe may stand among the songs: model=htdemucs target=intel "
        "precision=int8 chunker.overlap=0.5. With recipe=... that recipe plays.",
        allow_abbrev=False,
    )
    parser.add_argument("songs", nargs="*", metavar="SONG", help="a file, a folder or a pattern")
    for flag, (shown, told) in OPTIONS.items():
        parser.add_argument(flag, metavar=shown, help=told, action=_Once)
    return parser


def _known(arguments: Sequence[str]) -> list[str]:
    """Return the words before `--`; raises ConfigError for an option that does not exist."""
    for word in arguments:
        flag = word.partition("=")[0]
        if word.startswith("--") and flag not in (*OPTIONS, "--help"):
            raise ConfigError(
                f"there is no option `{flag}`",
                did_you_mean(flag, OPTIONS),
                f"options: {', '.join(OPTIONS)}",
                f"if it is a song: {line([SEPARATE, '--', word])}" if os.path.lexists(word) else "",
            )
    return list(arguments)


def _separate(arguments: Sequence[str]) -> None:
    from luthier.calls import called
    from luthier.separation import Choice, Job, choice_of, separated
    from luthier.songs import songs_in
    from luthier.stem_folders import folder_of
    from plugins.reporter._terminal.progress_bar import moving

    # argparse takes no `--` where songs and options may be mixed.
    end = arguments.index("--") if "--" in arguments else len(arguments)
    given = _parser().parse_intermixed_args(_known(arguments[:end]))
    given.songs += arguments[end + 1 :]
    words = [a for a in given.songs if OVERRIDE.fullmatch(a) and not os.path.lexists(a)]
    named = [a for a in given.songs if a not in words]
    if not named:
        raise ConfigError("no song is given", "for example: luthier separate song.mp3")
    stems = tuple(one.strip() for one in (given.stems or "").split(",") if one.strip())
    choice = Choice(given.format or "wav", stems, given.two_stems or "")
    failed: list[Separated] = []
    told: set[str] = set()
    with called(show=True):
        folder = folder_of("separated" if given.out is None else given.out)
        songs = songs_in(named, folder)
        job = Job(choice_of({}, words, songs), songs, folder, choice)
        with moving(screen(err=True)) as bar:
            task = bar.add_task("", total=None, stage="", message="")

            def tell(stage: str, done: float, total: float, message: str) -> None:
                said = " ".join(message.split())
                bar.update(task, completed=done, total=total or None, stage=stage, message=said)

            for one in separated(job, tell):
                _show(one, told)
                if one.error is not None:
                    failed.append(one)
    if failed:
        raise InputError(
            f"{len(failed)} of {len(songs)} songs could not be separated",
            *(f"{in_one_line(one.song.name)}: {one.error.what}" for one in failed[:5] if one.error),
        )


def _show(one: Separated, told: set[str]) -> None:
    """Print a line for a song, after notices that were not shown before."""
    console = screen()
    if one.error is not None:
        console.print(f"{in_one_line(one.song.name)}: {one.error}", style="red", soft_wrap=True)
        return
    for notice in one.notices:
        if notice.text not in told:
            told.add(notice.text)
            style = {"danger": "bold red", "warning": "yellow"}.get(notice.severity, "dim")
            console.print(f"{notice.severity}: {notice.text}", style=style, soft_wrap=True)
    minutes, seconds = divmod(round(one.seconds), 60)
    console.print(
        f"{in_one_line(one.song.name)}  {minutes}:{seconds:02} in {one.took:.1f} s, "
        f"{one.seconds / one.took:.1f} × real time on {one.device}; {one.lufs:.1f} LUFS"
        + ("" if math.isnan(one.residual_db) else f", residual {one.residual_db:.1f} dB"),
        soft_wrap=True,
    )
    console.print(f"  {one.folder}", soft_wrap=True)
