"""A network that loses one of two outputs at 8 bits: contract, ladder and `auto` see the loss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core import Metric
from core.cli import main
from core.config import discovery
from core.measure.contract import lowest_parity
from tests import two_outputs
from tests.conftest import Command

RECIPE = """\
target: cpu
model: parted
dataset: noise
calibration: noise
exporter: {plugin: onnx, dynamic: true}
graph: [onnxsim]
dsp: none
chunker: whole
runtime: onnxruntime
reporter: [json]
"""


@pytest.fixture
def parted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: Command,  # noqa: ARG001  # sets its own plugins, before this fixture does
) -> Path:
    """Return a recipe for the network, whose plugins are the only ones beside the box's own."""
    monkeypatch.setattr(main, "discover", lambda: discovery.discover({"two": two_outputs}))
    file = tmp_path / "parted.yaml"
    file.write_text(RECIPE)
    return file


def report(tmp_path: Path) -> dict[str, Any]:
    """Return the report of the newest run."""
    newest = max((tmp_path / "outputs" / "parted").glob("*/report.json"))
    content: dict[str, Any] = json.loads(newest.read_text())
    return content


def test_a_loud_output_hides_no_dead_one(command: Command, parted: Path, tmp_path: Path) -> None:
    """A contract of 30 dB breaks if one output holds it and the other output is lost."""
    done = command(f"recipe={parted}", "precision=a8w8", "contract.min_snr_db=30")
    assert done.code == 3, done.err
    assert "dB for y1 of noise " in done.err
    found = report(tmp_path)
    assert not list((tmp_path / "outputs" / "parted").glob("*/bundle"))
    values = {
        (m["item"], m["label"]): m["value"] for m in found["metrics"] if m["name"] == "parity_snr"
    }
    assert values["noise 0", "y0"] > 30
    assert values["noise 0", "y1"] == pytest.approx(0, abs=3)
    lowest = lowest_parity([Metric(**metric) for metric in found["metrics"]])
    assert lowest is not None
    (one,) = found["contract"]
    assert (one["value"], one["where"]) == (
        lowest.value,
        f"{lowest.label} of {lowest.item}",
    )


def test_a_ladder_goes_on_until_every_output_holds(
    command: Command, parted: Path, tmp_path: Path
) -> None:
    """A ladder passes 8-bit activations, which lose one output, and stops at 16-bit floats."""
    done = command(f"recipe={parted}", "ladder=[a8w8,fp16]", "contract.min_snr_db=30")
    assert (done.code, done.err) == (0, "")
    found = report(tmp_path)
    assert [result["status"] for result in found["candidates"]] == ["missed", "held"]
    assert found["candidates"][0]["snr_db"] == pytest.approx(0, abs=3)
    assert found["precision"] == "fp16"


def test_auto_takes_nothing_that_lost_an_output(
    command: Command, parted: Path, tmp_path: Path
) -> None:
    """`auto` takes the smallest of the precisions that keep both outputs."""
    done = command(
        f"recipe={parted}", "auto=true", "target.precisions=[a8w8,fp16]", "contract.min_snr_db=30",
        "target.objective=smallest",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert report(tmp_path)["precision"] == "fp16"
