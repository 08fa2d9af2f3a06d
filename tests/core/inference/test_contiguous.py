"""Every session gets arrays whose memory has their values in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from core import Progress, Session, Tensors
from core.cli import main
from core.config import discovery
from core.inference.windows import run_group
from core.plugin.progress import silent
from tests import runtimes, toy
from tests.conftest import Command


class Kept(Session):
    """Keeps what it was given."""

    device = "a shelf"

    def __init__(self) -> None:
        self.given: list[Tensors] = []

    def run(self, feeds: Tensors) -> Tensors:
        """Give it back."""
        return feeds

    def run_many(self, feeds: Sequence[Tensors], progress: Progress) -> Iterator[Tensors]:
        """Keep the group."""
        self.given += feeds
        yield from super().run_many(feeds, progress)


def test_a_group_is_in_order_and_not_copied_without_need() -> None:
    """A view becomes an array of its own; an array in order stays the same object."""
    session, ordered = Kept(), np.ones((2, 3), np.float32)
    feeds = [{"x": np.broadcast_to(np.float32(1), (2, 3))}, {"x": ordered}]
    list(run_group(session, feeds, silent(), []))
    first, second = (one["x"] for one in session.given)
    assert first.flags.c_contiguous
    assert np.array_equal(first, ordered)
    assert second is ordered


@pytest.mark.parametrize(
    "words",
    [["runtime=strict", "~runtime@host"], ["runtime=distant", "host=strict"]],
    ids=["plays", "is the host of a probe"],
)
def test_windows_that_are_views_reach_no_engine(
    command: Command, recipe: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """A runtime that refuses views computes every window of a chunker that gives views."""
    plugins = {"toy": toy, "runtimes": runtimes}
    monkeypatch.setattr(main, "discover", lambda: discovery.discover(plugins))
    done = command(f"recipe={recipe}", "chunker=views", *words)
    assert done.code == 0, done.err
