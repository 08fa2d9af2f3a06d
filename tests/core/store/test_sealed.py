"""A sealed file is read as it was written, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import Notice
from core.store.sealed import DamagedError, read_sealed, sealed, unsealed, write_sealed

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text('ab"\\é\0'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab", max_size=3), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abc", max_size=4), values, max_size=4))
def test_what_is_sealed_is_read_back(value: dict[str, object]) -> None:
    """Any sealed value is read back unchanged."""
    assert unsealed(sealed(value), dict) == value


def test_every_flip_is_noticed() -> None:
    """A flip of any bit is noticed, in the digest, the content, and the text around both."""
    whole = sealed(Notice("warning", "a rate of 44100 Hz"))
    for bit in range(len(whole) * 8):
        spoilt = bytearray(whole)
        spoilt[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedError):
            unsealed(bytes(spoilt), Notice)


@given(st.binary(max_size=80))
def test_nothing_else_is_sealed(data: bytes) -> None:
    """Other bytes, and a seal cut at any place, are not accepted."""
    with pytest.raises(DamagedError):
        unsealed(data, dict)
    with pytest.raises(DamagedError):
        unsealed(sealed({"a": 1})[: len(data) % 60], dict)


def test_what_is_deep_is_no_crash() -> None:
    """Deeply nested data, and sealed data of another type, count as damaged without a crash."""
    for data in (b"[" * 100_000, b'{"sha256":"x","content":' + b"[" * 100_000, sealed([1])):
        with pytest.raises(DamagedError):
            unsealed(data, dict)


def test_names_that_are_no_text_are_spelt_out() -> None:
    """Keys and values that are no text are spelt out; others stay unchanged."""
    (key, value), *_ = unsealed(sealed({os.fsdecode(b"caf\xe9"): ["é", 1]}), dict).items()
    assert key.isprintable()
    assert key.startswith("caf")
    assert value == ["é", 1]


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed write leaves the old file and no other one, wherever it fails."""
    file = tmp_path / "a.json"
    write_sealed(file, {"n": 1}, durable=True)

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(Path if name == "replace" else os, name, fails)
            with pytest.raises(OSError, match="No space"):
                write_sealed(file, {"n": 2}, durable=True)
        assert read_sealed(file, dict) == {"n": 1}
        assert list(tmp_path.iterdir()) == [file]


def test_only_files_are_read(tmp_path: Path) -> None:
    """Links, folders and pipes, which may never end, are not read."""
    file = tmp_path / "a.json"
    with pytest.raises(FileNotFoundError):
        read_sealed(file, dict)
    write_sealed(tmp_path / "real", {})
    for make in (Path.mkdir, os.mkfifo, lambda f: f.symlink_to("real")):
        make(file)
        with pytest.raises(DamagedError, match=r"`a\.json` is no file"):
            read_sealed(file, dict)
        file.rmdir() if file.is_dir() else file.unlink()
