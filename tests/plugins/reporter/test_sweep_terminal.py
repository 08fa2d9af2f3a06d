"""The summary of a sweep in a terminal: a table that fits, the winner, and lines to copy."""

from __future__ import annotations

import dataclasses
import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from core.plugin.records import Axis, SweepRecord
from plugins.reporter.terminal import Terminal, TerminalOptions
from tests.plugins.reporter import sweeps

MANY = Axis("chunker.length", tuple(str(22050 + 4096 * step) for step in range(50)))
LONG = Axis("model.checkpoint_of_the_last_training_run", ("a" * 60, "b/" * 40))


def shown(record: SweepRecord, folder: Path, width: int = 80, *, tty: bool = False) -> str:
    """Return the output to a pipe, or to a stream that says it is a terminal."""
    reporter, out = Terminal(TerminalOptions()), io.StringIO()
    reporter._console = Console(
        file=out, force_terminal=tty, highlight=False, width=width,
        _environ={"TERM": "xterm-256color"},
    )  # fmt: skip
    reporter.luthier_sweep_finished(record=record, folder=str(folder))
    return out.getvalue()


def table(text: str) -> list[str]:
    """Return the lines of the table, from its header to the empty line below."""
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if line.split()[:1] == ["#"])
    return lines[start : lines.index("", start)]


@pytest.mark.parametrize("width", [30, 40, 80, 120])
@pytest.mark.parametrize(
    "axes",
    [
        (sweeps.LENGTH,),
        (sweeps.LENGTH, sweeps.PRECISION),
        (sweeps.LENGTH, sweeps.PRECISION, sweeps.SEED, LONG),
        (MANY, sweeps.PRECISION),
    ],
)
def test_the_table_fits_whatever_is_in_it(
    tmp_path: Path, axes: tuple[Axis, ...], width: int
) -> None:
    """The table fits the width with one line per point; columns that do not fit are left out."""
    lines = table(shown(sweeps.sweep(axes), tmp_path, width))
    assert max(map(len, lines)) <= width
    points = [line for line in lines[1:] if line.split()[0].rstrip("*").isdigit()]
    assert len(points) == min(40, len(sweeps.grid(*axes)))


def test_every_point_says_how_it_ended(tmp_path: Path) -> None:
    """Every point shows its status; the front has a mark, and a missing figure is a dash."""
    lines = [line.split() for line in table(shown(sweeps.sweep(), tmp_path))]
    assert lines[5][:5] == ["5*", "44100", "fp16", "taken", "7.37"]
    assert lines[11] == ["11", "88200", "w8a16", "failed", "-", "-", "-"]
    assert lines[13][3] == "refused"


def test_what_found_no_room_is_named(tmp_path: Path) -> None:
    """A line names the columns that do not fit."""
    assert "no room here for size" in shown(sweeps.sweep(), tmp_path)
    assert "no room here" not in shown(sweeps.sweep(), tmp_path, 120)


def test_a_reason_is_said_once_for_all_its_points(tmp_path: Path) -> None:
    """A shared reason is said once by its first line, after the points that share it."""
    points = [
        dataclasses.replace(p, why=f"{p.why}\n  at: somewhere\n  do this") if p.why else p
        for p in sweeps.sweep().points
    ]
    text = shown(dataclasses.replace(sweeps.sweep(), points=tuple(points)), tmp_path)
    assert text.count(sweeps.REFUSED) == 1
    assert f"refused 13, 15: {sweeps.REFUSED}" in text
    assert "somewhere" not in text


def test_command_and_place_can_be_copied(tmp_path: Path) -> None:
    """The command and the path have unbroken lines of their own, the path last."""
    folder = tmp_path / ("long " * 30)
    folder.mkdir()
    (folder / "sweep.html").touch()
    text = shown(sweeps.sweep(), folder, 40, tty=True)
    lines = text.splitlines()
    assert sweeps.sweep().points[4].command in lines
    assert lines[-1] == f"sweep   {folder / 'sweep.html'}"


def test_no_winner_is_said_in_words(tmp_path: Path) -> None:
    """A sweep without a winner says so with the reason and without a command."""
    text = shown(sweeps.sweep(winner=None), tmp_path)
    assert "No point is taken: no point holds the contract" in text
    assert "is taken: length" not in text


def test_markup_in_words_is_text(tmp_path: Path) -> None:
    """Brackets in a value are plain text and no style."""
    axis = Axis("graph", ("[onnxsim]", "[/bold][red]x"))
    text = shown(sweeps.sweep((axis,), sweeps.grid(axis), winner=1), tmp_path)
    assert "[onnxsim]" in text
    assert "[/bold][red]x" in text


def test_a_large_sweep_shows_its_front_and_counts_the_rest(tmp_path: Path) -> None:
    """A large sweep shows forty points, the winner among them, and counts the others."""
    record = sweeps.sweep((MANY, sweeps.PRECISION), winner=198)
    text = shown(record, tmp_path)
    assert "160 more points are in the files below" in " ".join(text.split())
    assert any(line.startswith("198") for line in text.splitlines())


def test_no_point_at_all_is_no_error(tmp_path: Path) -> None:
    """A sweep without points says `0 points`."""
    text = shown(sweeps.sweep((), (), winner=None), tmp_path)
    assert "0 points" in text


def test_an_ascii_pipe_and_no_color_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With NO_COLOR and an ASCII stream, the output has no escape sequence and only ASCII."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    monkeypatch.setenv("NO_COLOR", "1")
    record = sweeps.sweep((sweeps.LENGTH, LONG))
    Terminal(TerminalOptions(width=80)).luthier_sweep_finished(record=record, folder=str(tmp_path))
    text = raw.getvalue().decode("ascii")
    assert "16 points" not in text
    assert "8 points" in text
    assert "\x1b" not in text


def test_times_have_their_spread_beside_them(tmp_path: Path) -> None:
    """Times have their spread, and a mark for load that the caption explains."""
    record = sweeps.timed(sweeps.sweep(), loaded=(5,))
    lines = table(shown(record, tmp_path, 120))
    assert "25 ms (22 to 30 ms)" in lines[1]
    loaded = next(line for line in lines if line.startswith("5*"))
    assert " ms) !" in loaded
    assert lines[1].count("!") == 0
    assert "! measured under load" in lines[-1]


def test_where_a_column_finds_no_room_the_spread_gives_way(tmp_path: Path) -> None:
    """If the columns do not fit, the spread is left out and named as left out."""
    text = shown(sweeps.timed(sweeps.sweep()), tmp_path, 60)
    assert " to " not in "".join(table(text)[1:17])
    assert "how far times spread" in " ".join(text.split())
