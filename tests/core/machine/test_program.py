"""Lines that a person can type again, whatever characters their words hold."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.machine.program import quoted, unquoted

#: Words of a command line: any bytes but the NUL, of which some are dear to shells.
WORDS = st.lists(
    st.one_of(
        st.binary(max_size=8).map(os.fsdecode),
        st.text(alphabet="a $'\\\"\n\t\u202e\x85é", max_size=8),
    ).map(lambda word: word.replace("\0", "")),
    min_size=1,
    max_size=4,
)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has another shell")


@given(WORDS)
def test_a_line_is_read_as_it_was_written(words: list[str]) -> None:
    """The words come back, and the line is one line."""
    line = quoted(words)
    assert len(line.splitlines()) == 1
    assert unquoted(line) == words


def test_a_shell_reads_the_line_as_it_was_written() -> None:
    """Bash gives the program the very bytes of each word."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    words = ["a\nb", 'it\'s\t"$HOME"', "\u202egnp", "caf\udce9", "x\x85y", "back\\slash\n"]
    done = subprocess.run(
        [bash, "-c", f"printf '%s\\0' {quoted(words)}"],
        capture_output=True,
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]] == words
