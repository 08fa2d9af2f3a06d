"""A device's profile is read from flat facts, shown by layer, and summed up in one line."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from core import Fact
from core.plugin.records import RunRecord
from plugins.reporter._reading import profile_of, unit_shares
from plugins.reporter._terminal.run import show
from plugins.reporter.html import HtmlReport, HtmlReportOptions

PHONE = "Samsung Galaxy S24 (14, Qualcomm AI Hub)"
FACTS: dict[str, Fact] = {
    "device": PHONE,
    "queue_s": 75.0,
    "profile_inference_ms": 8.25,
    "profile_first_load_ms": 640.0,
    "profile_inference_peak_mb": 210.5,
    "profile_layer_count": 14,
    "profile_layer_unit": "ms",
    "profile_units": [
        {"unit": "NPU", "layers": 12, "cost": 6.0},
        {"unit": "CPU", "layers": 2, "cost": 2.0},
    ],
    "profile_layers": [
        {"name": f"/layer<{n}>/Conv", "type": "Conv", "unit": unit, "cost": cost}
        for n, (unit, cost) in enumerate([("CPU", 1.5), *[("NPU", 0.5)] * 11])
    ],
}


@pytest.fixture
def profiled(record: RunRecord) -> RunRecord:
    """Return the run with a device's profile in its step `play`."""
    return with_facts(record, "play", FACTS)


def with_facts(record: RunRecord, stage: str, facts: dict[str, Fact]) -> RunRecord:
    stages = [
        dataclasses.replace(one, artifact=dataclasses.replace(one.artifact, facts=facts))
        if one.name == stage
        else one
        for one in record.stages
    ]
    return dataclasses.replace(record, stages=tuple(stages))


def test_shares_are_of_the_whole_cost(profiled: RunRecord) -> None:
    """Units and layers have their share of the whole cost."""
    profile = profile_of(profiled)
    assert profile is not None
    assert [(u.name, u.layers, u.share) for u in profile.units] == [
        ("NPU", 12, 0.75),
        ("CPU", 2, 0.25),
    ]
    assert (profile.slowest[0].unit, profile.slowest[0].cost) == ("CPU", "1.5 ms")
    assert profile.slowest[0].share == 1.5 / 8
    assert ("in the queue", "1 min 15 s") in profile.said


def test_the_whole_input_comes_before_a_few_windows(profiled: RunRecord) -> None:
    """The profile of the whole input is shown, or that of a few windows if there is no other."""
    both = with_facts(profiled, "budget.quantizer", {**FACTS, "device": "of a few windows"})
    found = profile_of(both)
    assert found is not None
    assert found.device == PHONE
    few = with_facts(both, "play", {})
    found = profile_of(few)
    assert found is not None
    assert found.device == "of a few windows"


def test_cycles_are_not_called_milliseconds(record: RunRecord) -> None:
    """Costs in an NPU's cycles are shown as cycles."""
    profile = profile_of(with_facts(record, "play", {**FACTS, "profile_layer_unit": "cycles"}))
    assert profile is not None
    assert profile.slowest[0].cost == "2 cycles"


def test_a_run_without_a_profile_says_nothing(record: RunRecord) -> None:
    """A run without a profile has no section and no line about one."""
    assert profile_of(record) is None
    assert unit_shares(record) == ""


def test_the_page_has_a_row_for_every_slow_layer(profiled: RunRecord, tmp_path: Path) -> None:
    """The page has a row for every slow layer, and the layers' names are plain text."""
    reporter = HtmlReport(HtmlReportOptions())
    reporter.luthier_run_finished(record=profiled, folder=str(tmp_path))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Layer by layer" in page
    assert page.count("/layer&lt;") == 12
    assert "/layer<" not in page
    assert "NPU: 75 % of the time, 12 layers" in page
    assert "The next 2" in page


def test_the_terminal_says_it_in_one_line(profiled: RunRecord) -> None:
    """The terminal shows the units' shares and the slowest layer in one line."""
    console = Console(width=200, record=True, file=io.StringIO())
    show(profiled, console)
    assert (
        "layers: 75 % on NPU (12 layers) and 25 % on CPU (2 layers); slowest /layer<0>/Conv (Conv)"
        in console.export_text()
    )
