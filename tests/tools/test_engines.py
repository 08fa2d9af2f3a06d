"""The rows of `make bench-engines`, and their table in `docs/engines.md`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.config import discovery
from core.config.compose import register
from core.config.recipes import read_recipes
from core.inference import windows
from core.store.local import Store
from tests import runtimes, toy
from tests.conftest import Command
from tools import bench_engines, engine_series, engines_page
from tools.docs import _table
from tools.engine_series import Engine, Workshop, series

TWO = ("measure.budget_windows=2",)
ORIGIN = {
    "machine": "x86_64, 2 cores",
    "processor": "a processor",
    "versions": {"torch": "2.13.0+cpu", "demucs": "4.1.0"},
    "command": "make bench-engines",
    "rounds": 12,
    "others_cores": 0.5,
    "cores": 2,
}


@pytest.fixture
def shop(
    command: Command,  # noqa: ARG001  # it sets up the process for the toys
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Workshop:
    """Return what builds toy recipes, on a clock that only a slow runtime moves."""
    registry = discovery.discover({"toy": toy, "runtimes": runtimes})
    recipes = read_recipes([], [str(recipe)])
    register(registry, recipes)
    clock = runtimes.CLOCK.perf_counter
    monkeypatch.setattr(windows, "time", runtimes.CLOCK)
    fake = SimpleNamespace(perf_counter=clock, process_time=clock)
    monkeypatch.setattr(engine_series, "time", fake)
    return Workshop(registry, recipes, Store(tmp_path / "store"), tmp_path)


def test_the_times_of_a_row_are_those_that_the_engine_took(shop: Workshop, tmp_path: Path) -> None:
    """Cold start and windows come out as the runtime took them; the first round does not count."""
    slow = Engine("torch", "fp32", "toy", ("~runtime@host", "runtime=slow_start"))
    (row,) = series([shop.build(slow, TWO)], 3, slow.name, tmp_path)
    assert (row["builds"], row["runs"], row["why"]) == (True, True, "")
    assert row["cold_start_s"] == pytest.approx([0.38, 0.032, 0.018])
    times = [row[name] for name in ("ms", "low_ms", "high_ms", "cpu_ms", "base_ms")]
    assert times == pytest.approx([18.0] * 5)
    assert row["device"] == "a pocket calculator"
    assert row["worst_snr_db"] == 200.0
    assert row["bytes"] > 0


def test_an_emulator_is_compared_and_not_timed(shop: Workshop, tmp_path: Path) -> None:
    """A session that is not on the target has a nearness to FP32, and no time at all."""
    words = ("runtime=slow_device", "runtime.emulated=true", "quantizer.loss=0.1")
    emulated = Engine("qnn_s24", "int8", "toy", words)
    (row,) = series([shop.build(emulated, TWO)], 3, "torch/fp32", tmp_path)
    assert (row["runs"], row["on_target"]) == (True, False)
    assert row["worst_snr_db"] == pytest.approx(20.0, abs=0.01)
    assert not {"ms", "cpu_ms", "cold_start_s", "base_ms"} & set(row)


def test_what_does_not_run_here_is_a_row_with_its_reason(shop: Workshop, tmp_path: Path) -> None:
    """An absent device builds and does not run; a missing recipe and a misfit do not build."""
    rows = series(
        [
            shop.build(Engine("tensorrt", "fp16", "toy", ("runtime=elsewhere",)), TWO),
            shop.build(Engine("tensorrt", "int8", "of_another_version"), TWO),
            shop.build(Engine("torch", "fp32", "toy", ("~runtime@host",)), TWO),
        ],
        1,
        "torch/fp32",
        tmp_path,
    )
    assert [(row["builds"], row["runs"]) for row in rows] == [
        (True, False), (False, False), (False, False),
    ]  # fmt: skip
    assert rows[0]["why"] == "its device is not here"
    assert rows[1]["why"] == "there is no recipe `of_another_version`"
    assert "runtime `distant` cannot play whole inputs here" in rows[2]["why"]


def row(name: str, **more: Any) -> dict[str, Any]:
    """Return a row as `series` gives it."""
    engine, _, precision = name.partition("/")
    about = {"name": name, "engine": engine, "precision": precision}
    return {**about, "builds": False, "runs": False, "why": "", "install": "", **more}


def timed(name: str, ms: float, base_ms: float) -> dict[str, Any]:
    """Return a row of an engine that ran."""
    return row(
        name, builds=True, runs=True, on_target=True, worst_snr_db=25.04, bytes=3_620_000,
        ms=ms, low_ms=ms - 5, high_ms=ms + 5, cpu_ms=2 * ms, base_ms=base_ms,
        cold_start_s=[0.3804, 0.032, 0.018], coverage=0.9996,
    )  # fmt: skip


def test_rows_of_another_environment_stay() -> None:
    """New rows replace those of their name only; a series without a row is dropped."""
    first = bench_engines.merged({}, "a", {"n": 1}, [row("torch/fp32"), row("openvino/fp32")])
    second = bench_engines.merged(first, "b", {"n": 2}, [row("openvino/fp32", runs=True)])
    assert [(one["name"], one["series"]) for one in second["rows"]] == [
        ("torch/fp32", "a"), ("openvino/fp32", "b"),
    ]  # fmt: skip
    assert second["rows"][1]["runs"]
    assert second["series"] == {"a": {"n": 1}, "b": {"n": 2}}
    third = bench_engines.merged(second, "c", {"n": 3}, [row("torch/fp32")])
    assert list(third["series"]) == ["b", "c"]


def test_the_command_of_a_measurement_names_no_place() -> None:
    """The command has the options that were given, and no folder of this machine."""
    given = {**bench_engines.DEFAULTS, "store": "/a/store", "out": Path("/a/file")}
    assert bench_engines.command(argparse.Namespace(**given)) == "make bench-engines"
    given |= {"seconds": "7.8", "only": ["openvino/*"]}
    assert bench_engines.command(argparse.Namespace(**given)) == (
        "python -m tools.bench_engines --seconds 7.8 --only 'openvino/*'"
    )


def test_the_page_compares_with_eager_pytorch_of_the_same_series(tmp_path: Path) -> None:
    """A ratio is to eager PyTorch in the row's own series; what did not run has its reason."""
    file = tmp_path / "engines.json"
    found = bench_engines.merged({}, "a", ORIGIN, [timed("torch/fp32", 100.0, 100.0)])
    rows = [
        timed("openvino/fp32", 60.0, 120.0),
        row("onnxruntime_webgpu/fp32", why="no library", install="pip install webgpu"),
        row("qnn_s24/int8", builds=True, runs=True, on_target=False, worst_snr_db=20.0, bytes=1e6),
    ]
    other = {**ORIGIN, "command": "python -m tools.bench_engines --only 'openvino/*'"}
    file.write_text(json.dumps({"bundled 1": bench_engines.merged(found, "b", other, rows)}))
    page = engines_page.tables(_table, file)
    assert "## The bundled HTDemucs, windows of 1 s" in page
    (eager,) = [line for line in page.splitlines() if line.startswith("| PyTorch, eager (1) ")]
    assert "| 100 ms (95 to 105) | 1.00 × | 200 ms |" in eager
    for line in (
        (
            "| OpenVINO, CPU (2) | `fp32` | yes | yes | 25.0 dB | 60 ms (55 to 65) | 0.50 × "
            "| 120 ms | 380, 32, 18 ms | 3.6 MB | 99.9 % |"
        ),
        (
            "| Qualcomm's HTP of a Galaxy S24 (2) | `int8` | yes | emulated | 20.0 dB | - | - | - "
            "| - | 1.0 MB | - |"
        ),
        "- ONNX Runtime, WebGPU, `fp32`: no library. Install: `pip install webgpu`",
        (
            "1. `make bench-engines`, on a processor; x86_64, 2 cores; torch 2.13.0+cpu; "
            "12 rounds; other processes kept 0.5 of 2 cores busy."
        ),
    ):
        assert line in page.splitlines()


def test_without_figures_the_page_says_how_to_measure(tmp_path: Path) -> None:
    """A checkout without the file of the results still has a page."""
    assert "make bench-engines" in engines_page.tables(_table, tmp_path / "none.json")
