"""The terminal reporter with a standard output that is closed, full, absent or limited."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from plugins.reporter.terminal import Terminal, TerminalOptions

CODE = """
    import sys
    from plugins.reporter.terminal import Terminal, TerminalOptions
    reporter = Terminal(TerminalOptions())
    for number in range(3):
        reporter.console.print("SNR −3 dB, 6.1× real time, 5 µs " * 1000)
    reporter.luthier_run_placed(folder="outputs")
    print("more, by another hand, buffered until the process ends")
    print("the result is kept", file=sys.stderr)
"""
ROOT = Path(__file__).parents[3]


def run(stdout: int | None, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run `CODE` with its standard output on a descriptor."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CODE)],
        env={**os.environ, **environment},
        cwd=ROOT,
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
    )


def test_a_reader_that_went_away_costs_nothing() -> None:
    """If the reader closes the pipe, as `| head` does, the process ends with 0 and no message."""
    reading, writing = os.pipe()
    os.close(reading)
    done = run(writing)
    os.close(writing)
    assert (done.returncode, done.stderr.strip()) == (0, b"the result is kept")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
def test_a_full_disk_costs_nothing() -> None:
    """If the output goes to a full disk, the process ends with 0, without a message."""
    with Path("/dev/full").open("wb") as full:
        done = run(full.fileno())
    assert (done.returncode, done.stderr.strip()) == (0, b"the result is kept")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1:strict"])
def test_characters_that_are_missing_are_replaced(encoding: str) -> None:
    """Characters that stdout cannot show, such as a minus, get a plain replacement."""
    done = run(subprocess.PIPE, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr.strip()) == (0, b"the result is kept")
    # If one character of a text is missing, the whole text is plain.
    assert b"SNR -3 dB, 6.1x real time, 5 us" in b" ".join(done.stdout.split())


def test_no_standard_output_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a stdout, as under `>&-`, the reporter writes nothing and raises no error."""
    monkeypatch.setattr(sys, "stdout", None)
    reporter = Terminal(TerminalOptions())
    reporter.luthier_run_placed(folder="outputs")
    assert not reporter.console.is_terminal
