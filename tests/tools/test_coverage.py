"""The sweep over small networks: its verdicts, its processes, and the page of its results."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from tools.coverage import page as page_module
from tools.coverage.__main__ import chains
from tools.coverage.cells import Cell, Chain, cells, judged
from tools.coverage.modules import MODULES
from tools.coverage.onnx_models import onnx_models
from tools.coverage.page import tables
from tools.coverage.results import RESULTS, merged, read, written
from tools.coverage.sweep import sweep
from tools.docs import MEASURED, ROOT, _table, renewed

CASES = {case.name: case for case in MODULES}
MODELS = {model.name: model for model in onnx_models()}


def _swept(chain: Chain, *precisions: str) -> dict[str, Cell]:
    return {cell.precision: cell for cell in cells(chain, precisions, lambda *_: None)}


@pytest.mark.parametrize("name", ["residual", "attention", "conv_dynamic", "split_and_joined"])
def test_small_modules_come_near_what_others_reach(name: str) -> None:
    """Small modules come near ONNX Runtime's own tools, at 8 and 16 bits, integers and floats."""
    found = _swept(Chain(CASES[name], "onnx"), "fp32", "a8w8", "w8a16", "fp16")
    assert [cell.verdict for cell in found.values()] == ["near"] * 4, found
    assert found["fp32"].snr_db > 100
    assert found["a8w8"].reference_db is not None
    assert found["a8w8"].snr_db > 25
    assert found["w8a16"].snr_db > found["a8w8"].snr_db


def test_a_recurrent_module_keeps_its_type_in_16_bits() -> None:
    """A recurrent module plays in BF16 and FP16, although its export states wrong 16-bit types."""
    found = _swept(Chain(CASES["rnn"], "torch_export"), "bf16", "torch_fp16")
    assert [cell.verdict for cell in found.values()] == ["near"] * 2, found


def test_a_model_file_is_taken_with_its_own_data() -> None:
    """A model with operators of a too old opset is refused by name, but plays at a newer one."""
    found = _swept(Chain(MODELS["Linear"]), "fp32", "w8a16")
    assert found["fp32"].verdict == "refused"
    assert "Gemm(6)" in found["fp32"].reason
    assert found["fp32"].names
    assert found["w8a16"].snr_db > 40


def test_what_has_nothing_to_quantise_is_refused() -> None:
    """A model from a sequence of tensors to its length is refused: it has nothing to quantise."""
    assert _swept(Chain(MODELS["sequence_model6"]), "a8w8")["a8w8"].verdict == "refused"


@pytest.mark.parametrize(
    ("snr", "reference", "products", "verdict"),
    [
        (24.1, 30.0, None, "near"),
        (23.9, 30.0, None, "loss"),
        (30.1, 150.0, None, "near"),
        (29.9, 150.0, None, "loss"),
        (14.0, 14.0, 35.0, "loss"),
        (20.1, 14.0, 35.0, "near"),
        (6.1, None, None, "near"),
        (5.9, 5.0, None, "loss"),
    ],
)
def test_a_loss_is_what_the_reference_does_not_lose(
    snr: float, reference: float | None, products: float | None, verdict: str
) -> None:
    """A loss is 6 dB below the reference, or 15 dB below the products alone, each capped at 36."""
    cell = Cell("a", "onnx", "a8w8", "near", snr, reference, products)
    assert judged(cell).verdict == verdict


def test_a_loss_that_a_run_warns_of_is_not_silent() -> None:
    """A loss with a warning is `told`, with the warning as its reason; a near cell has none."""
    lost = Cell("a", "onnx", "s24_int8", "near", 10.0, 40.0, reason="the compiled model does not")
    assert judged(lost).verdict == "told"
    near = judged(replace(lost, snr_db=39.0))
    assert (near.verdict, near.reason) == ("near", "")


@pytest.mark.long
def test_a_process_that_dies_takes_nothing_else_down(tmp_path: Path) -> None:
    """When a process dies, its cell is a crash, and all other precisions and networks complete."""
    found: list[Cell] = []

    def told(cell: Cell) -> None:
        found.append(cell)
        if len(found) == 1:
            (child,) = multiprocessing.active_children()
            child.kill()

    sweep([Chain(MODELS["ReLU"]), Chain(MODELS["Tanh"], limit_s=60)], 1, told, tmp_path / "log")
    (crash,) = (cell for cell in found if "died of signal 9" in cell.reason)
    assert (crash.model, crash.verdict) == ("ReLU", "crash")
    each = {(cell.model, cell.precision) for cell in found}
    assert each == {(m, p) for m in ("ReLU", "Tanh") for p in Chain(MODELS["ReLU"]).precisions}


def test_a_cell_that_takes_too_long_is_said_to_be_late(tmp_path: Path) -> None:
    """A cell over its time limit gets the verdict `late`, and its reason states the limit."""
    found: list[Cell] = []
    sweep([Chain(MODELS["ReLU"], limit_s=0.01)], 1, found.append, tmp_path / "log")
    assert found[0].verdict == "late"
    assert "no end within 0.01 s" in found[0].reason


def test_results_survive_the_file(tmp_path: Path) -> None:
    """Results survive the file, and a network that is swept anew replaces only its old cells."""
    old = [
        Cell("a", "onnx", "a8w8", "refused", reason="x", names=False),
        Cell("b", "file", "fp32", "near", 99.0),
    ]
    new = [Cell("a", "onnx", "fp32", "near", 100.0)]
    written(tmp_path / "c.json", merged(old, new), 1.0)
    assert read(tmp_path / "c.json") == [new[0], old[1]]


def test_the_page_is_what_the_results_give() -> None:
    """The page equals the tables of the results, and the sweep knows every network on it."""
    page = ROOT / "docs" / "coverage.md"
    assert page.read_text(encoding="utf-8") == renewed(page, *MEASURED, tables(_table))
    swept = {(cell.model, cell.exporter) for cell in read(RESULTS)}
    assert swept <= {(chain.subject.name, chain.exporter) for chain in chains()}


def test_a_page_shows_figures_losses_and_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row shows Luthier's figure before the reference, losses in bold, and reasons by number."""
    cells = [
        Cell("net", "onnx", "fp32", "near", 140.0),
        Cell("net", "onnx", "a8w8", "near", 38.4, 36.6),
        Cell("net", "onnx", "w8a16", "loss", 12.0, 44.0),
        Cell("net", "onnx", "qat", "refused", reason="the operator `LSTM` has *no* gradient"),
        Cell("net", "onnx", "fp16", "crash", reason="TypeError: x"),
        Cell("net", "onnx", "s24_int8", "told", -3.0, 40.0, reason="it strays"),
    ]
    written(tmp_path / "c.json", cells, 1.0)
    monkeypatch.setattr(page_module, "RESULTS", tmp_path / "c.json")
    text = tables(_table)
    row = next(line for line in text.splitlines() if line.startswith("| `net`"))
    assert [cell.strip() for cell in row.split("|")[2:9]] == [
        "140", "38 / 37", "", "refused (1)", "", "**12 / 44**", ""
    ]  # fmt: skip
    assert "**crash** (2)" in row
    assert "*-3 / 40* (3)" in row
    assert "1. the operator `LSTM` has \\*no\\* gradient" in text
    counts = next(line for line in text.splitlines() if "`exporter=onnx` |" in line)
    assert [int(cell) for cell in counts.split("|")[2:10]] == [1, 6, 2, 1, 1, 1, 1, 0]
