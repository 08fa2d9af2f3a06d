"""Names of files: as text that stands for one name alone, and as every system takes them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.machine.file_names import LONGEST, as_text, file_name
from core.machine.paths import DEVICES, below

#: Any bytes that Linux takes for a name, as Python reads them; the few letters meet often.
NAMES = st.one_of(
    st.binary(min_size=1, max_size=12),
    st.lists(
        st.sampled_from([b"\\", b"x", b"e", b"9", b"\xe9", b"u", b"d", b"\n", b"n"]), max_size=6
    ).map(b"".join),
).map(os.fsdecode)

TEXTS = NAMES | st.text(max_size=20) | st.text(min_size=1, max_size=3).map(lambda text: text * 100)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("caf\udce9.wav", r"caf\xe9.wav"),
        ("café.wav", "café.wav"),
        (r"AC\DC.wav", r"AC\DC.wav"),
        (r"caf\xe9.wav", r"caf\\xe9.wav"),
        ("half \ud83d.wav", r"half \ud83d.wav"),
        ("a\nb\tc.wav", r"a\nb\tc.wav"),
        (r"a\nb.wav", r"a\\nb.wav"),
        ("\u202egnp.wav", r"\u202egnp.wav"),
        ("שלום\u200d.wav", "שלום\u200d.wav"),  # letters and joiners stay
    ],
)
def test_a_name_is_told_as_text(name: str, text: str) -> None:
    """Bytes that are no text are spelt out, and a name that looks like it is kept distinct."""
    assert as_text(name) == text


@given(NAMES, NAMES)
def test_the_text_of_a_name_is_that_of_no_other(one: str, other: str) -> None:
    """The text is valid JSON on one line, and no two names have the same text."""
    assert len(as_text(one).splitlines()) <= 1
    json.dumps(as_text(one), ensure_ascii=False).encode()
    assert (as_text(one) == as_text(other)) == (one == other)


@given(TEXTS)
def test_every_system_takes_a_file_name(text: str) -> None:
    """A file name is one part of a path, no device, short enough, and stable."""
    name = file_name(text)
    assert 0 < len(name.encode()) <= LONGEST + 1
    assert not DEVICES.fullmatch(name)
    assert not set(name) & set('<>:"/\\|?*\x00\n\u202e')
    assert name == name.strip(" .")
    assert file_name(name).rstrip("_") == name.rstrip("_")


@given(TEXTS)
def test_a_file_name_is_a_path_below(text: str) -> None:
    """`below` accepts every name that `file_name` makes."""
    assert below(Path("/home"), file_name(text), "a test") == Path("/home").resolve() / file_name(
        text
    )
