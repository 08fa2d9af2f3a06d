"""YAML of others: plain data comes out, within bounds, and everything else is one clear error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.config.yaml_file import ALIASES, DEPTH, LARGEST, LONGEST, NODES, read_mapping
from core.errors import ConfigError

#: Nine lists of nine of the one before: 9^8 values, if anybody wrote them out.
BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)


def read(folder: Path, content: str | bytes) -> dict[str, object]:
    file = folder / "x.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_mapping(file, "recipe `x`")


def test_plain_data_comes_out_as_written(tmp_path: Path) -> None:
    """YAML 1.2 numbers, dates and times as text, anchors and merges come out as written."""
    text = """\
a: [1, -2, 0x1f, 1e-3, .5, .inf, 1_000, true, null, 2020-01-01, 12:30:45, '${x}']
b: &b {c: é}
d: {<<: *b, e: "1"}
"""
    inf = float("inf")
    assert read(tmp_path, text) == {
        "a": [1, -2, 31, 0.001, 0.5, inf, 1000, True, None, "2020-01-01", "12:30:45", "${x}"],
        "b": {"c": "é"},
        "d": {"c": "é", "e": "1"},
    }
    assert read(tmp_path, b"\xef\xbb\xbfa: 1") == {"a": 1}
    assert read(tmp_path, "# nothing\n") == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param("a: !!python/object/apply:os.system [ls]", "not plain data", id="object"),
        pytest.param("a: !!binary aGVsbG8=", "not plain data", id="binary"),
        pytest.param("a: !!set {x, y}", "not plain data", id="set"),
        pytest.param("a: !!timestamp 2020-01-01", "not plain data", id="timestamp"),
        pytest.param("a: !include other.yaml", "not plain data", id="include"),
        pytest.param("a: 1\na: 2", "is there twice", id="double key"),
        pytest.param("a: 1\n---\nb: 2", "more than one document", id="documents"),
        pytest.param("1: 2", "is no text", id="number as key"),
        pytest.param("on: 2", "is no text", id="truth as key"),
        pytest.param("? [a]\n: 2", "a key is no text", id="list as key"),
        pytest.param("a: &a [*a]", "names itself or nothing", id="alias of itself"),
        pytest.param("a: *b", "names itself or nothing", id="alias of nothing"),
        pytest.param(BOMB, f"more than {NODES:,} values", id="alias bomb"),
        pytest.param("\n".join(f"k{n}: 1" for n in range(NODES)), "more than", id="keys"),
        pytest.param(f"a: &a x\nb: [{'*a,' * (ALIASES + 1)}]", "aliases", id="aliases"),
        pytest.param("a: " + "[" * 5000, f"more than {DEPTH} levels", id="deep"),
        pytest.param(
            "\n".join(" " * n + "a:" for n in range(DEPTH + 1)), "levels", id="deep block"
        ),
        pytest.param("a: " + "x" * (LONGEST + 1), "characters", id="long"),
        pytest.param("a: " + "9" * 6000, "a value is not valid", id="digits"),
        pytest.param("a: 0x" + "f" * 17, "64 bits", id="bits"),
        pytest.param('a: !!int ""', "is not valid", id="empty number"),
        pytest.param("a: !!bool maybe", "is not valid", id="no truth"),
        pytest.param("#" * (LARGEST + 1), "larger than", id="large"),
        pytest.param("a: 1".encode("utf-16"), "no UTF-8", id="UTF-16"),
        pytest.param(b'a: "\\0"', "NUL", id="NUL"),
        pytest.param(b"a: \x07", "not allowed", id="bell"),
        pytest.param("[1]", "no mapping", id="list"),
        pytest.param("a: [", "line", id="no YAML"),
        pytest.param("a: {<<: 5}", "merging", id="merge of a number"),
        pytest.param("a: %x", "cannot start any token", id="percent"),
    ],
)
def test_what_is_more_is_refused_before_it_is_built(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    """YAML beyond plain data gives one error with the file and, where known, the line."""
    with pytest.raises(ConfigError, match="recipe `x` cannot be read") as error:
        read(tmp_path, content)
    assert said in str(error.value)
    assert "x.yaml" in str(error.value)


def test_what_never_ends_is_not_read(tmp_path: Path) -> None:
    """A pipe without a writer, a device and a folder are not read."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(ConfigError, match="no regular file"):
            read_mapping(path, "recipe `x`")


def test_nested_aliases_count_with_their_depth(tmp_path: Path) -> None:
    """Nested aliases count with their full depth, though each alias is shallow."""
    deep = "".join(f"a{n}: &a{n} [{f'*a{n - 1}' if n else ''}]\n" for n in range(DEPTH + 1))
    with pytest.raises(ConfigError, match="levels deep"):
        read(tmp_path, deep)
