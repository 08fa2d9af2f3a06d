"""What is timed of a play in a sweep, and what is played beside other jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

from core import Item, Session, Tensors
from core.inference import player as module
from core.inference.player import Player, Timing
from core.inference.windows import Opened
from core.machine import cores
from core.machine.machine_load import Load
from core.plugin.progress import silent
from tests.toy import SIGNATURE, Even, EvenOptions, Ramp, RampOptions, Straight


class Doubling(Session):
    """Doubles, and remembers for every window whether others may have run beside it."""

    device = "an abacus"

    def __init__(self, *, here: bool) -> None:
        self.here = here
        self.beside: list[bool] = []
        self.closed = False

    def run(self, feeds: Tensors) -> Tensors:
        """Double one window."""
        self.beside.append(cores.beside())
        return {"y": feeds["x"] * np.float32(2)}

    def close(self) -> None:
        """Note it."""
        self.closed = True


class Workshop:
    """Opens sessions, and keeps them to be looked at."""

    def __init__(self, *, here: bool = True) -> None:
        self.here = here
        self.sessions: list[Doubling] = []

    @contextmanager
    def player(self) -> Iterator[Player]:
        """Open one more."""
        with Doubling(here=self.here) as session:
            self.sessions.append(session)
            transform = Straight(None).bind(None)  # type: ignore[arg-type]  # it reads nothing of a model
            yield Player(Opened(session, transform), Even(EvenOptions(length=4)), SIGNATURE)

    def timing(self) -> AbstractContextManager[Timing]:
        """Play with it; nobody is here to be waited for."""
        return Timing(self.player, pytest.fail)

    @property
    def windows(self) -> list[list[bool]]:
        """Return, for every session, which of its windows were beside others."""
        return [session.beside for session in self.sessions]


def line(windows: int) -> Item:
    """Return an item of so many windows."""
    return next(Ramp(RampOptions(places=4 * windows)).items("evaluation", SIGNATURE))


@pytest.fixture
def divided(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let this process have one core of a machine that it shares."""
    monkeypatch.setattr(cores, "_share", cores.CoreShare())
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    cores.take(cores.CoreShare(1, tmp_path / "lock"))


def test_a_run_by_itself_times_every_window() -> None:
    """A run by itself times every window and opens the model once."""
    shop = Workshop()
    with shop.timing() as player:
        for _ in range(2):
            player.play(line(30), silent())
    assert shop.windows == [[False] * 60]
    assert len(player.seconds) == 60


@pytest.mark.usefixtures("divided")
def test_the_first_windows_are_timed_alone_and_the_others_are_not() -> None:
    """Only the first windows, across items, are timed alone; then the model opens anew."""
    shop = Workshop()
    with cores.shared(pytest.fail), shop.timing() as player:
        made = [player.play(line(10), silent()) for _ in range(3)]
        assert [session.closed for session in shop.sessions] == [True, False]
        assert player.opened.session is shop.sessions[1]
    assert shop.windows == [[False] * 16, [True] * 14]
    assert len(player.seconds) == 16
    assert shop.sessions[1].closed
    with Workshop().timing() as undivided:
        assert np.array_equal(made[2]["y"], undivided.play(line(10), silent())["y"])


@pytest.mark.usefixtures("divided")
def test_a_few_windows_are_enough_when_they_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer windows are timed where they are slow, because all other jobs wait meanwhile."""
    monkeypatch.setattr(module, "SECONDS", 0.0)
    shop = Workshop()
    with cores.shared(pytest.fail), shop.timing() as player:
        player.play(line(10), silent())
    assert shop.windows == [[False] * 5, [True] * 5]
    assert len(player.seconds) == 5


class Busy:
    """A watch that always sees a load, and counts how often it is looked at."""

    looked = 0

    def load(self) -> Load:
        """Return it."""
        Busy.looked += 1
        return Load(1.0, 2, heavy=True)


@pytest.mark.usefixtures("divided")
def test_the_load_is_that_of_the_windows_that_were_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The load is that of the timed windows; windows beside other jobs later do not count."""
    monkeypatch.setattr(module, "Watch", Busy)
    monkeypatch.setattr(Busy, "looked", 0)
    shop = Workshop()
    with cores.shared(pytest.fail), shop.timing() as player:
        player.play(line(16), silent())
        assert player.load is None
        player.play(line(1), silent())
        assert (player.load, Busy.looked) == (Load(1.0, 2, heavy=True), 1)
        player.timed()
        assert Busy.looked == 1


def test_this_machines_load_says_nothing_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The load of this machine is not reported for a device elsewhere."""
    monkeypatch.setattr(module, "Watch", Busy)
    with Workshop(here=False).timing() as player:
        player.play(line(1), silent())
        player.timed()
        assert player.load is None


@pytest.mark.usefixtures("divided")
def test_what_another_machine_computes_holds_up_nobody() -> None:
    """Windows for another machine take no exclusive lock and are submitted once."""
    shop = Workshop(here=False)
    with cores.shared(pytest.fail), shop.timing() as player:
        player.play(line(20), silent())
    assert shop.windows == [[True] * 20]


@pytest.mark.usefixtures("divided")
def test_a_play_that_fails_leaves_nothing_open() -> None:
    """A failed play leaves no session open, and the lock is free without a wait."""
    shop = Workshop()

    def fails() -> None:
        with cores.shared(pytest.fail), shop.timing() as player:
            player.play(line(1), silent())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert shop.sessions[0].closed
    with cores.exclusive(pytest.fail):
        pass


@pytest.mark.usefixtures("divided")
def test_what_cannot_be_opened_keeps_nobody_waiting() -> None:
    """After a failed open the lock is free, and the process has its share of the cores again."""

    @contextmanager
    def broken() -> Iterator[Player]:
        raise ZeroDivisionError
        yield

    with (
        cores.shared(pytest.fail),
        pytest.raises(ZeroDivisionError),
        Timing(broken, pytest.fail) as _,
    ):
        pass
    assert cores.threads() == 1
    with cores.exclusive(pytest.fail):
        pass
