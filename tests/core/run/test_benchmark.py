"""Artifacts are timed in turn, after a round that warms up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from core import StageContext
from core.machine.machine_load import Load
from core.plugin.progress import Progress
from core.run import benchmark
from core.run.benchmark import BenchmarkResult, Runner


class Opened:
    """A runner whose windows take the given seconds, round by round."""

    def __init__(self, name: str, rounds: Sequence[list[float]], *, here: bool = True) -> None:
        self.name, self.rounds, self.here = name, iter(rounds), here
        self.device, self.closed = f"device of {name}", False

    def runner(self) -> Runner:
        """Return it as the benchmark takes it."""
        context = SimpleNamespace(
            open=lambda model: f"{model} opened",
            transform=lambda _: SimpleNamespace(forward=lambda piece: (piece, None)),
        )
        return Runner(
            self.name, cast("Any", context), cast("Any", SimpleNamespace(open=self.open)),
            cast("Any", f"artifact of {self.name}"), cast("Any", f"model of {self.name}"),
            cast("Any", "sample"),
        )  # fmt: skip

    @contextlib.contextmanager
    def open(self, artifact: str, model: Callable[[], str], work: StageContext) -> Iterator[Opened]:
        """Give the session; its model must be its own, whenever it is opened."""
        assert (artifact, model()) == (f"artifact of {self.name}", f"model of {self.name} opened")
        assert list(work.folder.iterdir()) == []
        (work.folder / "file").touch()
        yield self
        self.closed = True


def timed(
    opened: Sequence[Opened], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> tuple[dict[str, Any], list[str], list[tuple[float, float, str]]]:
    """Return the facts of a benchmark, in which order the runners played, and what it told."""
    order: list[str] = []
    told: list[tuple[float, float, str]] = []

    def run_group(
        session: Opened, feeds: list[str], _: Progress, seconds: list[float]
    ) -> list[Any]:
        assert feeds == ["one", "two"]
        order.append(session.name)
        seconds += next(session.rounds)
        return []

    monkeypatch.setattr(benchmark, "run_group", run_group)
    monkeypatch.setattr(benchmark, "sampled", lambda _: (["one", "two"], []))
    work = StageContext(tmp_path, Progress(lambda *one: told.append(one)))
    facts = benchmark._timed([one.runner() for one in opened], work)
    assert all(one.closed for one in opened)
    return facts, order, told


def test_the_first_round_warms_up_and_does_not_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Runners play round by round in turn, and the times of the first round are left out."""
    slow = Opened("slow", [[90.0, 90.0], *[[4.0, 4.0]] * 4])
    fast = Opened("fast", [[80.0, 80.0], [1.0, 1.0], [2.0, 2.0], [2.0, 2.0], [3.0, 3.0]])
    facts, order, told = timed([slow, fast], monkeypatch, tmp_path)
    assert order == ["slow", "fast"] * 5
    assert [facts[f"slow.{which}"] for which in ("seconds", "low", "high")] == [4.0, 4.0, 4.0]
    assert facts["fast.seconds"] == 2.0
    assert 1.0 <= facts["fast.low"] < 2.0 < facts["fast.high"] <= 3.0
    assert (facts["slow.device"], facts["fast.device"]) == ("device of slow", "device of fast")
    assert facts["here"] is True
    assert told[0] == (0, 5, "slow")
    assert told[-1] == (4, 5, "fast")


def test_one_device_elsewhere_is_enough_to_say_nothing_of_the_load(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The load of this machine counts only if all runners compute on it."""
    rounds = [[1.0]] * 5
    two = [Opened("a", rounds), Opened("b", rounds, here=False)]
    assert timed(two, monkeypatch, tmp_path)[0]["here"] is False


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0104, "10 ms per window (5 to 21)"),
        (0.0100, "10 ms per window (5 to 20)"),
        (0.0099, "9.9 ms per window (5.0 to 19.8)"),
        (0.0010, "1.0 ms per window (0.5 to 2.0)"),
        (0.0009, "0.900 ms per window (0.450 to 1.800)"),
    ],
)
def test_a_time_has_the_digits_that_it_needs(seconds: float, said: str) -> None:
    """Whole milliseconds from 10, one decimal from 1, three below."""
    result = BenchmarkResult(seconds, seconds / 2, 2 * seconds, "CPU")
    assert result.said == f"{said} on CPU, timed in turn"


def test_a_time_is_told_with_its_spread_and_its_load() -> None:
    """A time is shown with its spread and its load, because a median shows no uncertainty."""
    quiet = BenchmarkResult(0.0704, 0.0651, 0.0921, "CPU", Load(0.01, 2, heavy=False))
    assert quiet.said == "70 ms per window (65 to 92) on CPU, timed in turn"
    busy = BenchmarkResult(0.00123, 0.00119, 0.0031, "CPU", Load(1.3, 2, heavy=True))
    assert busy.said == (
        "1.2 ms per window (1.2 to 3.1) on CPU, timed in turn under load "
        "(other processes kept 1.3 of 2 cores busy)"
    )
