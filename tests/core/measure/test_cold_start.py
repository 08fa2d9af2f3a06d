"""The cold start: timed by a run on a clock that a test moves, reported, judged by a contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core import Artifact, Session
from core.cli import main
from core.config import discovery
from core.inference import player, windows
from core.measure.cold_start import facts_of, metrics_of
from core.steps import compare
from tests import runtimes, toy
from tests.conftest import Command

ALONE = ("~runtime@host", "runtime=slow_start")
LINE = "cold start 412 ms: open 380, first window 32, second 18, on a pocket calculator"


@pytest.fixture
def slow(
    command: Command,  # it installs the toys first
    monkeypatch: pytest.MonkeyPatch,
) -> Command:
    """Return `command` with runtimes that start slowly, and with a clock that only they move."""
    plugins = {"toy": toy, "runtimes": runtimes}
    monkeypatch.setattr(main, "discover", lambda: discovery.discover(plugins))
    for module in (player, windows, compare):
        monkeypatch.setattr(module, "time", runtimes.CLOCK)
    return command


def report(tmp_path: Path) -> Any:
    """Return the one report that a run left."""
    (file,) = (tmp_path / "outputs" / "toy").glob("*/report.json")
    return json.loads(file.read_text())


def cold(found: Any) -> dict[str, float]:
    """Return the metrics of the cold start in a report, by their statistic."""
    metrics = [one for one in found["metrics"] if one["name"] == "cold_start"]
    assert {(one["unit"], one["device"], one["item"]) for one in metrics} <= {
        ("ms", "a pocket calculator", "")
    }
    return {one["statistic"]: round(one["value"], 6) for one in metrics}


def probed(found: Any) -> dict[str, float]:
    """Return the facts of the cold start that the step `probe` noted."""
    (probe,) = [one for one in found["stages"] if one["name"] == "probe"]
    facts = probe["artifact"]["facts"]
    return {name: round(s, 9) for name, s in facts.items() if name.startswith("cold_")}


def test_a_run_reports_the_times_that_the_runtime_took(
    slow: Command, recipe: Path, tmp_path: Path
) -> None:
    """Opening, first and second window come out as they were; the sum is of the first two."""
    done = slow(f"recipe={recipe}", *ALONE, "reporter=[terminal,json,html]")
    assert (done.code, done.err) == (0, "")
    expected = {"": 412.0, "open": 380.0, "first window": 32.0, "second window": 18.0}
    assert cold(report(tmp_path)) == expected
    assert LINE in done.out
    (page,) = (tmp_path / "outputs" / "toy").glob("*/report.html")
    assert LINE.partition(", on")[0] in page.read_text(encoding="utf-8")


def test_the_first_window_counts_in_the_latency(
    slow: Command, recipe: Path, tmp_path: Path
) -> None:
    """The first window is no warm-up that the latency leaves out: it is the slowest of it."""
    assert slow(f"recipe={recipe}", *ALONE).code == 0
    found = report(tmp_path)["metrics"]
    latency = {m["statistic"]: m["value"] for m in found if m["name"] == "latency"}
    assert latency["median"] == pytest.approx(18)
    assert latency["p95"] == pytest.approx(32)


@pytest.mark.parametrize(("bound", "code"), [(412.001, 0), (411.999, 3)])
def test_a_contract_bounds_opening_and_first_window(
    bound: float, code: int, slow: Command, recipe: Path, tmp_path: Path
) -> None:
    """The limit is compared with the sum of the opening and of the first window."""
    done = slow(f"recipe={recipe}", *ALONE, f"contract.max_cold_start_ms={bound}")
    assert done.code == code, done.err
    (judged,) = report(tmp_path)["contract"]
    assert judged["value"] == pytest.approx(412)
    assert judged["device"] == "a pocket calculator"


def test_the_clock_of_this_machine_says_nothing_of_another(
    slow: Command, recipe: Path, tmp_path: Path
) -> None:
    """A session elsewhere has no cold start, and cannot hold a limit on it."""
    words = (*ALONE, "runtime.here=false", "contract.max_cold_start_ms=1000")
    done = slow(f"recipe={recipe}", *words)
    assert done.code == 3
    assert cold(report(tmp_path)) == {}
    assert "`max_cold_start_ms` asks for at most 1000 ms, and nothing measured it" in done.err


def test_a_device_elsewhere_may_measure_its_own(
    slow: Command, recipe: Path, tmp_path: Path
) -> None:
    """The times that a session elsewhere measured are the cold start."""
    words = (*ALONE, "runtime.here=false", "runtime.measures=[0.5,0.25]")
    assert slow(f"recipe={recipe}", *words).code == 0
    assert cold(report(tmp_path)) == {"": 750.0, "open": 500.0, "first window": 250.0}


def test_a_probe_notes_the_cold_start_of_the_device(
    slow: Command, recipe: Path, tmp_path: Path
) -> None:
    """The device that ran a few windows is timed; an emulator of it is not."""
    assert slow(f"recipe={recipe}", "runtime=slow_device").code == 0
    assert probed(report(tmp_path)) == {
        "cold_open_s": 0.38,
        "cold_first_window_s": 0.032,
        "cold_second_window_s": 0.018,
    }
    # The host played the input: its own cold start, on a clock that it did not move, is reported.
    assert set(cold(report(tmp_path)).values()) == {0.0}


def test_a_probe_on_an_emulator_notes_none(slow: Command, recipe: Path, tmp_path: Path) -> None:
    """How fast an emulator starts says nothing of the device."""
    assert slow(f"recipe={recipe}", "runtime=slow_device", "runtime.emulated=true").code == 0
    assert probed(report(tmp_path)) == {}


def test_a_device_that_only_probes_cannot_be_held_to_it(slow: Command, recipe: Path) -> None:
    """The plan refuses the limit where the host plays, as it refuses the other limits on time."""
    done = slow(f"recipe={recipe}", "runtime=slow_device", "contract.max_cold_start_ms=1000")
    assert done.code == 2
    assert "`contract.max_cold_start_ms` cannot be judged: runtime `slow_device`" in done.err


class Anything(Session):
    """A session of which only the description counts."""

    device = "an abacus"

    def run(self, feeds: Any) -> Any:
        """Return what it was given."""
        return feeds


def test_an_input_of_one_window_has_no_second_one() -> None:
    """With one window there is a cold start without a second window; without any there is none."""

    def names(*windows_s: float) -> list[str]:
        facts = facts_of(Anything(), 1.0, windows_s)
        artifact = Artifact("", "", "tensors", "fp32", "", 0, facts=facts)
        return [metric.statistic for metric in metrics_of(artifact, "an abacus")]

    assert names(0.1) == ["", "open", "first window"]
    assert names() == []
    assert names(0.1, 0.1, 0.1, 0.1) == ["", "open", "first window", "second window"]
