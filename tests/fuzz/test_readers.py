"""Damaged files of every kind: each reader ends in a result or in one message, and nothing else.

Every run reads the same few cases; `make torture` draws thousands (tests/torture/fuzz.py).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.damage import damaged
from tests.fuzz.readers import READERS, Reader, judged

EXAMPLES = 25


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_damaged_file_ends_in_a_result_or_a_message(reader: Reader, tmp_path: Path) -> None:
    """A damaged file ends in a result or a message, runs none of its code, and writes nothing."""
    folder = tmp_path / "work"
    folder.mkdir()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(damaged(reader.true(folder), reader.words))
    def read(content: bytes) -> None:
        assert judged(reader, folder, content) == ""

    read()


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_the_true_file_is_read(reader: Reader, tmp_path: Path) -> None:
    """Every reader reads its valid file, the start of all damage, without an error."""
    folder = tmp_path / "work"
    folder.mkdir()
    reader.read(folder / reader.file, reader.true(folder))


WORDS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(("-m", "--cfg", "--config-dir=/x", "-cd", "--experimental-rerun=x.pkl")),
    st.tuples(
        st.sampled_from(("recipe", "input", "store", "model", "graph", "chunker.length", "hydra")),
        st.text(max_size=40)
        | st.sampled_from(("range(0,1e9)", "choice(a,b)", "${oc.env:HOME}", "[" * 60, "{a:b")),
    ).map("=".join),
)


def test_any_command_line_is_taken_or_refused_by_a_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The checks before Hydra accept any command line, or refuse it with a Luthier error."""
    from core.config import arguments, command_line
    from core.errors import LuthierError

    monkeypatch.chdir(tmp_path)

    @settings(max_examples=100, derandomize=True, database=None, deadline=None)
    @given(st.lists(WORDS, max_size=4))
    def look(words: list[str]) -> None:
        for check in (command_line.check, arguments.rewrite):
            with contextlib.suppress(LuthierError):
                check(words)

    look()
    assert list(tmp_path.iterdir()) == []
