"""Options that are declared with `reaching` say which files, folders and hosts they name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from core import reaching
from core.plugin.reach import reaching_options


@dataclass
class Options:
    """One option that names something, and one that does not."""

    place: object = reaching("")
    other: list[str] = field(default_factory=lambda: ["/etc/passwd"])


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("", []),
        ("pretrained", []),
        ("https://me@example.org:5000/x", [("asks", "example.org:5000")]),
        ("sqlite:///runs.db", [("writes", "{here}/runs.db")]),
        ("sqlite:////srv/runs.db", [("writes", "/srv/runs.db")]),
        ("file:///srv/runs", [("writes", "/srv/runs")]),
        ("songs/a.wav", [("reads", "{here}/songs/a.wav")]),
        (["/music/a", "s3://bucket/b"], [("reads", "/music/a"), ("asks", "bucket")]),
        (7, []),
    ],
)
def test_each_text_of_an_option_is_told_by_where_it_leads(
    place: object, found: list[tuple[str, str]]
) -> None:
    """A URL gives its host, a path its absolute form; a word that is no file gives nothing."""
    told = [(reach.how, reach.where) for reach in reaching_options(Options(place))]
    assert told == [(how, where.format(here=Path.cwd())) for how, where in found]
