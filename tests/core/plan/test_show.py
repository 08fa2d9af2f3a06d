"""`mode=plan` on terminals of any width, and in a pipe."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import Command

ESCAPE = re.compile(r"\x1b\[[\d;]*m")


def lines_of(text: str) -> list[str]:
    """Return the lines up to the one that ends the list of the steps."""
    return ESCAPE.sub("", text).split("\n\n")[1].splitlines()


def planned(command: Command, recipe: Path) -> list[list[str]]:
    """Return the cells of every step as a pipe gets them, without the heading."""
    lines = lines_of(command(f"recipe={recipe}", "mode=plan").out)
    heading = lines[0]
    starts = [heading.index(word) for word in ("step", "by", "takes", "state", "why")]
    ends = [*starts[1:], None]
    rows = [[line[a:b].strip() for a, b in zip(starts, ends, strict=True)] for line in lines[1:]]
    return [row for row in rows if row[3] in {"cached", "would run"}]


def test_a_pipe_gets_a_whole_line_per_step(
    command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program finds every step on a line of its own, however long, without spaces behind."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    rows = planned(command, recipe)
    names = [name for name, *_ in rows]
    assert {"model", "reference", "evaluate"} <= set(names)
    assert [why for name, *_, why in rows if name == "sample"] == ["after model"]
    out = command(f"recipe={recipe}", "mode=plan").out
    assert all(line == line.rstrip() for line in lines_of(out))


@pytest.mark.parametrize("colour", ["NO_COLOR", "FORCE_COLOR"])
@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_terminal_shows_every_name_whole(
    command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch, width: int, colour: str
) -> None:
    """No line is wider than the terminal, and no name breaks; a narrow one has two lines a step."""
    monkeypatch.delenv("COLUMNS", raising=False)
    rows = planned(command, recipe)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv(colour, "1")
    monkeypatch.setenv("COLUMNS", str(width))
    out = command(f"recipe={recipe}", "mode=plan").out
    assert ("\x1b[33m" in out) == (colour == "FORCE_COLOR")
    lines = lines_of(out)
    assert all(len(line) <= width for line in lines)
    for name, by, _, state, _ in rows:
        first = name if width == 200 else state
        shown = [line for line in lines if line.startswith(f"{first} ") and name in line.split()]
        assert shown, name
        assert state in shown[0]
        assert by in shown[0]
