"""Some networks of the sweep through the command line: a run and the sweep give one figure."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.cli import main
from core.config import discovery
from tests.tools import small_networks
from tools.coverage.cells import Chain, cells
from tools.coverage.modules import MODULES
from tools.coverage.torch_reference import computed
from tools.coverage.worst import worst_db

RECIPE = """\
title: a small network
target: cpu
precision: a8w8
model: {{plugin: small_network, network: {name}}}
dataset: {{plugin: small_windows, network: {name}}}
calibration: {{plugin: small_windows, network: {name}}}
exporter: onnx
graph: [onnxsim]
dsp: none
chunker: whole
runtime: onnxruntime
reporter: [json]
"""
CASES = {case.name: case for case in MODULES}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that runs a network and returns its run folder."""
    found = {"small networks": small_networks}
    monkeypatch.setattr(main, "discover", lambda: discovery.discover(found))
    monkeypatch.chdir(tmp_path)

    def once(name: str, *words: str) -> Path:
        file = tmp_path / f"{name}.yaml"
        file.write_text(RECIPE.format(name=name))
        monkeypatch.setattr(sys, "argv", ["pytest"])
        main.main([f"recipe={file}", "store=store", "output=out", *words])
        (report,) = (tmp_path / "out").rglob("report.json")
        return report.parent

    return once


@pytest.mark.parametrize("name", ["embedded_tokens", "gru", "dict_outputs"])
def test_a_run_ends_in_the_figure_of_the_sweep(name: str, run: Callable[..., Path]) -> None:
    """A run of the command line gives the sweep's SNR: for whole numbers, and for two outputs."""
    case = CASES[name]
    folder = run(name)
    tests = [case.feeds(seed) for seed in (1000, 1001)]
    expected = [computed(case, feeds) for feeds in tests]
    played = [
        {out: np.load(next(folder.rglob(f"{name}_{seed}_{out}.npy")))[None] for out in case.outputs}
        for seed in (1000, 1001)
    ]
    swept = {cell.precision: cell for cell in cells(Chain(case, "onnx"), ["a8w8"], lambda *_: None)}
    assert worst_db(expected, played) == pytest.approx(swept["a8w8"].snr_db, abs=0.1)
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    assert [row["stage"] for row in report["budget"]][:2] == ["exporter", "graph.onnxsim"]
