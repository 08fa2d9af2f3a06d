"""Bytes that are nearly a valid file: hypothesis edits its bits, bytes, blocks and words.

@given(damaged(content, words=(b'"depth":1000000', b"../../x")))
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

__all__ = ["WORDS", "damaged"]

#: Words that break readers: extreme numbers, ends of texts, paths out of a folder, escapes.
WORDS = (
    b"\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\x00\x00\x00\x00",
    b"\xff" * 8, b"-1", b"0", b"1e999", b"NaN", b"Infinity", b"-Infinity", b"9" * 400, b"null",
    b"../../../../x", b"/etc/passwd", b"C:\\x", b"\\\\host\\share", b"\x1b[31m", b"\xc3\x28",
    b"\xed\xa0\x80", b"${oc.env:LUTHIER_CANARY}", b"_target_", b"[" * 5000, b'{"a":' * 3000,
    b"'", b'"', b"\n", b"\r", b"\t", b"{}", b"[]", b"[", b"}", b":", b",", b"&a *a", b"<<: *a",
)  # fmt: skip
MOST_EDITS = 4
Edit = tuple[str, float, int, bytes]


def damaged(content: bytes, words: Sequence[bytes] = ()) -> st.SearchStrategy[bytes]:
    """Return a strategy of the bytes that `content` becomes by one to four edits."""
    edit = st.tuples(
        st.sampled_from(("flip", "cut", "insert", "overwrite", "repeat", "drop")),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 200),
        st.sampled_from((*WORDS, *words)),
    )
    edits = st.lists(edit, min_size=1, max_size=MOST_EDITS)
    return edits.map(lambda drawn: _edited(content, drawn))


def _edited(content: bytes, edits: Sequence[Edit]) -> bytes:
    for what, where, size, word in edits:
        at = int(where * len(content))
        if what == "flip" and content:
            flipped = content[at] ^ 1 << size % 8
            content = content[:at] + bytes([flipped]) + content[at + 1 :]
        elif what == "cut":
            content = content[:at]
        elif what == "insert":
            content = content[:at] + word + content[at:]
        elif what == "overwrite":
            content = content[:at] + word + content[at + len(word) :]
        elif what == "repeat":
            content = content[:at] + content[at : at + size] * 3 + content[at + size :]
        elif what == "drop":
            content = content[:at] + content[at + size :]
    return content
