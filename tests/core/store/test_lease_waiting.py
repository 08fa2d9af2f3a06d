"""How long a lease is waited for, by a clock that only waiting moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, cast

import pytest

from core.store import lease
from core.store.lease import Lease
from core.store.sealed import sealed

if TYPE_CHECKING:
    from core.store.object_store import Remote


class Clock:
    """A clock that only sleeping moves; `then` happens at each tick."""

    def __init__(self) -> None:
        self.now, self.slept = 0.0, [0.0]
        self.then: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        """Return the seconds that were slept."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.slept.append(seconds)
        self.now += seconds
        self.then()


class Objects:
    """An object store in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def create(self, path: str, content: bytes) -> bool:
        """Write an object that is not there."""
        return self.kept.setdefault(path, content) is content

    def write(self, path: str, content: bytes) -> None:
        """Write an object."""
        self.kept[path] = content

    def read(self, path: str) -> bytes | None:
        """Return an object."""
        return self.kept.get(path)

    def below(self, folder: str) -> list[str]:
        """Return the objects of a folder."""
        return [path for path in self.kept if path.startswith(f"{folder}/")]

    def remove(self, paths: Iterable[str]) -> None:
        """Remove objects."""
        for path in paths:
            del self.kept[path]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock that a lease looks at."""
    found = Clock()
    monkeypatch.setattr(lease, "time", found)
    return found


def waited(objects: Objects, clock: Clock, seconds: float) -> list[float]:
    """Return when somebody who wanted the lock said that it waits; the clock has the end."""
    told: list[float] = []
    mine = Lease(cast("Remote", objects), "x", seconds)
    mine.acquire(lambda: told.append(clock.now))
    mine.release(done=True)
    return told


@pytest.mark.parametrize("content", [b"no lease at all", sealed(lease._Held("a", 1, False))])
def test_a_silent_holder_keeps_the_lock_for_the_length_of_a_lease(
    content: bytes, clock: Clock
) -> None:
    """A lock is taken over when its lease is over, and not before, even if it cannot be read."""
    objects = Objects()
    objects.write("locks/x/1", content)
    assert waited(objects, clock, 30) == [3.0], "reported once, after more than two seconds"
    assert clock.now == 31.0, "looked at every second, and more than 30 without a change"
    assert objects.kept == {}


def test_a_short_lease_is_looked_at_more_often(clock: Clock) -> None:
    """A sixth of the lease passes between two looks, if that is less than a second."""
    objects = Objects()
    objects.write("locks/x/1", sealed(lease._Held("a", 1, False)))
    waited(objects, clock, 3)
    assert set(clock.slept[1:]) == {0.5}
    assert clock.now == 3.5


def test_each_renewal_begins_the_lease_anew(clock: Clock) -> None:
    """Who renews keeps the lock, and loses it a lease after the last renewal."""
    objects = Objects()

    def renew() -> None:
        if clock.now <= 70:
            beat = int(clock.now) // 10
            objects.write("locks/x/1", sealed(lease._Held("a", beat, False)))

    renew()
    clock.then = renew
    assert waited(objects, clock, 30) == [3.0]
    assert clock.now == 101.0


def test_a_released_lock_is_free_at_once(clock: Clock) -> None:
    """Nobody waits for a lock that its holder has released."""
    objects = Objects()
    objects.write("locks/x/4", sealed(lease._Held("a", 1, True)))
    assert waited(objects, clock, 30) == []
    assert clock.now == 0
