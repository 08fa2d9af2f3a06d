"""Standard output and error that are closed, full, or limited."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.text.screen import say, screen
from core.text.stream import Outlet

ROOT = Path(__file__).parents[3]
CODE = """
import sys
from core.cli.main import ending_in_one_message
from core.text.screen import say, screen
def work(words):
    for number in range(3):
        {line}
    say("the work goes on", err=True)
ending_in_one_message(work, [])
"""
#: How text gets to standard output: ours, rich's, and that of others, which waits in a buffer.
WAYS = ("say('x' * 9000)", "screen().print('x' * 9000)", "print('x')")


def run(line: str, stdout: int, unbuffered: str = "") -> subprocess.CompletedProcess[bytes]:
    """Run a command whose work is a line of `WAYS`, with its standard output on a descriptor."""
    return subprocess.run(
        [sys.executable, "-c", CODE.format(line=line)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered},
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
    )


@pytest.mark.parametrize("line", WAYS)
def test_a_command_ends_quietly_if_nobody_reads_on(line: str) -> None:
    """If the reader closes the pipe, as `| head` does, the work goes on and ends without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    done = run(line, writing)
    os.close(writing)
    assert (done.returncode, done.stderr.strip()) == (0, b"the work goes on")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot ask a pipe for its reader")
def test_the_print_of_others_ends_the_command_quietly() -> None:
    """If the text of others is refused at once, there is no more work, and no message."""
    reading, writing = os.pipe()
    os.close(reading)
    done = run("print('x')", writing, unbuffered="1")
    os.close(writing)
    assert (done.returncode, done.stderr.strip()) == (141, b"")


def test_another_pipe_that_breaks_is_an_error() -> None:
    """A pipe to a child is not taken for standard output."""
    with Path(os.devnull).open("wb") as nowhere:
        done = run("raise BrokenPipeError(32, 'Broken pipe')", nowhere.fileno())
    assert done.returncode != 0
    assert b"Broken pipe" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
@pytest.mark.parametrize("line", WAYS)
def test_a_full_disk_is_an_error(line: str) -> None:
    """If the answer of a command does not fit the disk, a message says so."""
    with Path("/dev/full").open("wb") as full:
        done = run(line, full.fileno())
    assert done.returncode != 0
    assert os.strerror(errno.ENOSPC) in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_errors_are_said_to_a_reader_that_went_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message to a closed standard error costs nothing, either."""
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    say("error: x", err=True)
    screen(err=True).print("x")


@pytest.mark.parametrize("forgiving", [False, True])
def test_only_a_forgiving_outlet_bears_a_full_disk(*, forgiving: bool) -> None:
    """A run loses some lines to a full disk; the answer of a mode is not lost in silence."""

    class Full(io.StringIO):
        def write(self, text: str, /) -> int:
            raise OSError(errno.ENOSPC, text)

    outlet = Outlet(Full(), forgiving=forgiving)
    if forgiving:
        assert outlet.write("x") == 1
    else:
        with pytest.raises(OSError, match="x"):
            outlet.write("x")


def test_a_stream_that_failed_is_left_alone() -> None:
    """After its first failure, a stream gets no more output, even if it works again."""

    class Flaky(io.StringIO):
        failing = True

        def flush(self) -> None:
            if self.failing:
                raise BrokenPipeError

    stream = Flaky()
    outlet = Outlet(stream)
    outlet.write("first")
    outlet.flush()
    stream.failing = False
    outlet.write("second")
    outlet.flush()
    assert stream.getvalue() == "first"
    assert not outlet.isatty()


def test_a_closed_stream_is_left_alone() -> None:
    """A closed stream, for which Python raises ValueError, gets no output and no error."""
    stream = io.StringIO()
    outlet = Outlet(stream)
    stream.close()
    assert outlet.write("lost") == 4
    assert not outlet.isatty()


def test_boxes_follow_the_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an ASCII stream, Rich's own lines are ASCII too."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert screen().options.ascii_only
