"""What is found damaged is said once, to everybody who listens."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import Notice
from core.store.damage import listening, tell


def test_a_line_is_said_once_and_heard_by_those_above(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damage is printed once, and the store of a run records those below its root only."""
    above, beside = listening(tmp_path / "store"), listening(tmp_path / "other")
    for _ in range(2):
        tell(tmp_path / "store" / "state" / "x", "a note is damaged \x1b[2J")
    (notice,) = above
    assert notice.severity == "warning"
    assert "\x1b" not in notice.text
    assert beside == []
    err = capsys.readouterr().err
    assert err.count("warning: a note is damaged") == 1
    assert "\x1b" not in err


def test_the_next_run_hears_only_of_its_own(tmp_path: Path) -> None:
    """The next run opens the store again and records only its own damages."""
    listening(tmp_path)
    tell(tmp_path, "a")
    later = listening(tmp_path)
    tell(tmp_path, "b")
    assert later == [Notice("warning", "b")]


def test_a_line_that_nobody_listens_for_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Damage in a sweep's folder, which belongs to no store, is printed."""
    tell(tmp_path / "points", "a record is damaged")
    assert capsys.readouterr().err == "warning: a record is damaged\n"
