"""The table of licences is the same on every machine, and marks copyleft licences."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

from tools import licences
from tools.docs import _table
from tools.licences import INSIDE, PAGE, UNSEEN, page
from tools.locked import Locked, locked


def test_every_package_of_the_lock_is_in_the_table() -> None:
    """The page has every locked package with its version, and marks copyleft, such as `lameenc`."""
    text = PAGE.read_text(encoding="utf-8")
    for package in locked().values():
        assert f"| `{package.name}` | {package.version} | " in text
    assert re.search(r"\| `lameenc` \| [\d.]+ \| \*\*LGPL-3.0-or-later\*\* \| `base` \|", text)
    assert re.search(
        r"\| `lameenc` \| \*\*LGPL-3.0-or-later\*\* \|  \| `demucs` \| `base` \|", text
    )


def test_the_page_is_the_same_where_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page stays the same where no package is installed: every package keeps its row."""

    def absent(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    assert page(_table) == PAGE.read_text(encoding="utf-8")


def test_another_version_is_not_taken_for_the_locked_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked version that is not installed here is marked as not looked at."""
    unseen = Locked("numpy", "999.0", via=["luthier"])
    monkeypatch.setattr(licences, "locked", lambda: {"numpy": unseen})
    assert f"| `numpy` | 999.0 | {UNSEEN} | `base` |" in page(_table)


@pytest.mark.parametrize("name", sorted(INSIDE))
def test_what_is_said_of_a_wheel_stands_in_its_files(name: str) -> None:
    """The copyleft licences that the page names inside a wheel are named by files of the wheel."""
    if name not in locked():
        pytest.fail(f"`{name}` is no longer locked: take it out of tools/licences.py")
    try:
        files = metadata.distribution(name).files or []
    except metadata.PackageNotFoundError:
        pytest.skip(f"{name} is for another platform")
    texts = [
        Path(str(file.locate())).read_text(encoding="utf-8", errors="replace")
        for file in files
        # FFmpeg's libraries state their licence themselves.
        if re.match(r"(?i)(licen[sc]e|copying|thirdparty|libavdevice)", file.name)
        and file.suffix != ".py"
    ]
    texts.append(" ".join(file.name for file in files))
    kinds = re.findall(r"\b(GPL|LGPL|MPL)-", INSIDE[name])
    said = {
        # x264 and x265 come without a licence text; their names show that they are under the GPL.
        "GPL": r"GNU GENERAL PUBLIC LICENSE|GPL-3|libx264",
        "LGPL": r"GNU LESSER GENERAL PUBLIC|LGPL",
        "MPL": r"Mozilla Public License|MPL",
    }
    assert kinds
    for kind in kinds:
        assert any(re.search(said[kind], text, re.IGNORECASE) for text in texts), kind
