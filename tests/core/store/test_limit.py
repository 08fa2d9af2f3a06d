"""At the end of a run the longest unused entries go, until the store is small enough."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from core.errors import ConfigError, StageError, StoreError
from core.store import limit
from core.store.inventory import Held, entries
from core.store.limit import at_work, limit_bytes, oldest_beyond
from core.store.local import Store
from tests.core.store.test_removal import put

SIZE = 10_000
#: Room for two results and what describes them.
TWO = (2 * SIZE + 5_000) / 1e9


def filled(root: Path, count: int = 4) -> Store:
    """Return a store of results, the first of which was unused for longest."""
    store = Store(root)
    for number in range(count):
        place = put(store, number, "x" * SIZE)
        os.utime(place / "artifact.json", (number + 1, number + 1))
    return store


def left(store: Store, count: int = 4) -> list[int]:
    """Return which results are left."""
    return [n for n in range(count) if store.find("graph", {"n": n}) is not None]


def test_the_longest_unused_go_first() -> None:
    """Only as many go as are needed, and none that is used."""
    held = [Held(name, 10, used) for name, used in (("a", 3), ("b", 1), ("c", 2), ("d", 0))]
    gone = oldest_beyond(held, frozenset("d"), 25)
    assert [one.name for one in gone] == ["b", "c"]
    assert oldest_beyond(held, frozenset(), 40) == []


def test_a_run_leaves_the_store_below_its_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A use counts, not the making: the result that the run used stays, in one line."""
    store = filled(tmp_path)
    with at_work(store, "run", "toy", TWO):
        store.find("graph", {"n": 0})
    assert left(store) == [0, 3]
    out = capsys.readouterr().out
    assert out.startswith("store: removed 2 results, the longest unused, ")
    assert out.count("\n") == 1
    with at_work(store, "run", "toy", TWO):
        pass
    assert capsys.readouterr().out == ""


def test_what_the_run_used_stays_above_the_limit_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next identical command finds all that it needs."""
    store = filled(tmp_path)
    with at_work(store, "run", "toy", 0):
        for number in range(3):
            store.find("graph", {"n": number})
    assert left(store) == [0, 1, 2]
    assert (
        "stay, above store_limit_gb=0: the same command needs them again" in capsys.readouterr().out
    )


def test_a_failed_run_is_brought_below_the_limit_too(tmp_path: Path) -> None:
    """A run that fails each time would fill the disk otherwise; Ctrl-C removes nothing."""
    store = filled(tmp_path)
    with pytest.raises(KeyboardInterrupt), at_work(store, "run", "toy", TWO):
        raise KeyboardInterrupt
    assert len(entries(tmp_path)) == 4
    with pytest.raises(StageError), at_work(store, "run", "toy", TWO):
        raise StageError("it failed")
    assert left(store) == [2, 3]


def test_null_is_no_limit_and_nonsense_is_refused() -> None:
    """A limit is a number of GB from 0 on."""
    assert limit_bytes(None) == math.inf
    assert limit_bytes(1.5) == 1.5e9
    for wrong in (-1.0, math.nan):
        with pytest.raises(ConfigError, match="store_limit_gb"):
            limit_bytes(wrong)


def test_a_store_that_cannot_be_cleaned_costs_no_run_its_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run has ended well by then: the line says what is wrong."""

    def refuse(*_: object) -> None:
        raise StoreError("the bucket does not answer")

    store = filled(tmp_path)
    monkeypatch.setattr(limit, "remove", refuse)
    with at_work(store, "run", "toy", TWO):
        pass
    assert ": it cannot be cleaned: the bucket does not answer\n" in capsys.readouterr().out
    assert left(store) == [0, 1, 2, 3]
