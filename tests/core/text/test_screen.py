"""The way to the terminal: nothing but it prints, and nothing gets past it."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import pytest
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from core.text.screen import say, screen

ROOT = Path(__file__).parents[3]
#: Programs that ship in bundles, and what children of ours say to us and not to a person.
OWN_WAY = (
    "on_device/",
    "core/text/screen.py",
    "_htp/child.py",
    "_nncf/child.py",
    "_tensorrt/child.py",
    "_hybrid/pretrained.py",
    "conformance/",
)
EVIL = "\x1b]0;evil\x07\x1b[2J\r\u202e\udce9 [bold]x[/] [link=http://h]y[/link] :smile: "
WITH_USER = "https://ana:hunter2@host"


def _shown(*objects: object) -> str:
    out = io.StringIO()
    console = screen(out, 60)
    for one in objects:
        console.print(one)
    return out.getvalue()


def _table() -> Table:
    table = Table(title=EVIL + WITH_USER, caption=EVIL)
    table.add_column(EVIL)
    table.add_row(EVIL)
    table.add_row(Text(EVIL + WITH_USER))
    return table


@pytest.mark.parametrize(
    "given", [EVIL + WITH_USER, Text(EVIL + WITH_USER), Panel(Text(EVIL), title="x"), _table()]
)
def test_whatever_is_printed_is_plain(given: object) -> None:
    """Text, styled text, panels and tables are printed without escape sequences of others."""
    told = _shown(given)
    assert not set(told) & set("\x1b\x07\r\u202e\udce9")
    assert "[bold]" in told
    assert ":smile:" in told
    assert "hunter2" not in told
    assert "\\x1b" in told


def test_colours_of_ours_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal still gets the escape sequences of the styles, and only those."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    told = _shown(Text.assemble(("red", "red"), "\x1b[2J"))
    assert told == "\x1b[31mred\x1b[0m\\x1b[2J\n"


def test_lines_go_where_they_should(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines go to standard output or standard error as plain text."""
    say("a\x1b[2J")
    say("b\r", err=True)
    assert capsys.readouterr() == ("a\\x1b[2J\n", "b\\r\n")


def test_nobody_else_prints() -> None:
    """No other module prints: a `print`, a rich console or markup would bypass the screen."""
    found = []
    for file in [*ROOT.glob("core/**/*.py"), *ROOT.glob("plugins/**/*.py")]:
        name = file.relative_to(ROOT).as_posix()
        if any(own in name for own in OWN_WAY):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Name) and node.id == "print":
                found.append(f"{name}:{node.lineno} print")
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called == "Console" or called.endswith((".from_markup", "print_exception")):
                    found.append(f"{name}:{node.lineno} {called}")
                markup = [k for k in node.keywords if k.arg == "markup"]
                if any(ast.unparse(k.value) == "True" for k in markup):
                    found.append(f"{name}:{node.lineno} markup")
    assert found == []
