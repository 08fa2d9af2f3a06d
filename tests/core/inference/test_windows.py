from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from core import Progress, Session, Tensors
from core.inference.windows import Opened, play
from tests.toy import SIGNATURE, Even, EvenOptions, Ramp, RampOptions, Straight


class Counting(Session):
    """Doubles, and remembers how many windows came at once."""

    device = "an abacus"

    def __init__(self, at_once: int = 1) -> None:
        self.at_once = at_once
        self.groups: list[int] = []

    def run(self, feeds: Tensors) -> Tensors:
        """Double one window."""
        return {"y": feeds["x"] * np.float32(2)}

    def run_many(self, feeds: Sequence[Tensors], progress: Progress) -> Iterator[Tensors]:
        """Note the group."""
        self.groups.append(len(feeds))
        progress(5, 0, "in the queue")
        yield from super().run_many(feeds, progress)


class Elsewhere(Counting):
    """Computes on another machine, whose clock it may know."""

    here = False


def take(
    session: Session, told: list[tuple[float, float, str]] | None = None
) -> tuple[Tensors, list[float]]:
    one = next(Ramp(RampOptions(places=20)).items("evaluation", SIGNATURE))
    chunker, transform = Even(EvenOptions(length=4)), Straight(None).bind(None)  # type: ignore[arg-type]  # it reads nothing of a model
    said = told if told is not None else []
    opened = Opened(session, transform)
    progress = Progress(lambda *a: said.append(a))
    return play(one, SIGNATURE, chunker, lambda: opened, progress), opened.seconds


@pytest.mark.parametrize(
    ("at_once", "groups"), [(1, [1, 1, 1, 1, 1]), (2, [2, 2, 1]), (5, [5]), (99, [5])]
)
def test_a_session_gets_as_many_windows_as_it_wants(at_once: int, groups: list[int]) -> None:
    """A session never gets more windows than it wants, and every grouping gives the same result."""
    session = Counting(at_once)
    outputs, seconds = take(session)
    assert session.groups == groups
    assert np.array_equal(outputs["y"], take(Counting())[0]["y"])
    assert len(seconds) == 5


def test_what_a_session_says_is_passed_on_with_how_far_the_item_is() -> None:
    """A queue's message is passed on with the number of windows that are done."""
    told: list[tuple[float, float, str]] = []
    take(Counting(2), told)
    assert told[0] == (0, 5, "in the queue")
    assert (4, 5, "in the queue") in told
    assert told[-1] == (5, 5, "line, an abacus")


def test_seconds_are_those_of_the_device() -> None:
    """A session's own times are used first; the local clock does not time another machine."""
    session = Elsewhere(5)
    assert take(session)[1] == []
    session.seconds = [0.25] * 5
    assert take(session)[1] == [0.25] * 5
