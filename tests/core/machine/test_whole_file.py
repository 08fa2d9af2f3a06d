"""A file is there whole or as it was before, whatever ends its writing."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from core.machine.whole_file import write_whole


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_by_a_whole_one(tmp_path: Path, durable: bool) -> None:
    """A file is replaced by a complete one, and no other file is left beside it."""
    file = tmp_path / "a.json"
    for content in (b"one", b"another"):
        write_whole(file, content, durable=durable)
        assert file.read_bytes() == content
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_what_cannot_be_written_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """A full disk and Ctrl-C leave the old file complete."""
    file = tmp_path / "report.json"
    file.write_bytes(b"before")

    def cut(*_: object) -> Path:
        raise error

    monkeypatch.setattr(Path, "replace", cut)
    with pytest.raises(type(error)):
        write_whole(file, b"after")
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert file.read_bytes() == b"before"
