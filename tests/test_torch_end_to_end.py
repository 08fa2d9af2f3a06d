"""The recipe that quantises and plays with PyTorch alone, on the bundled model."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Command

RECIPE = "recipe=cpu_torch_int8"


# On an idle machine the test takes a fifth of this limit.
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.skipif(find_spec("torchao") is None, reason="PyTorch's own quantiser is torchao")
def test_the_bundled_model_plays_in_int8_without_onnx(command: Command, tmp_path: Path) -> None:
    """Without ONNX the bundled model plays in INT8; its convolutions and linear layers do."""
    # 7 bits, so that integer kernels run on any x86 processor.
    done = command(
        RECIPE, f"store={tmp_path / 'store'}", f"output={tmp_path / 'out'}", "dataset.seconds=2",
        "quantizer.windows=4", "quantizer.backend=x86", "quantizer.reduce_range=true",
        "exporter.verify=false", "measure.budget_windows=1", "reporter=[json]",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    (file,) = tmp_path.glob("out/cpu_torch_int8/*/report.json")
    report: dict[str, Any] = json.loads(file.read_text())
    made = {stage["name"]: stage["artifact"] for stage in report["stages"]}
    facts = made["quantizer"]["facts"]
    # Quantised: 28 + 12 convolutions and 26 linear layers, with the split matrices of attention.
    # In float: 8 transposed convolutions, and the products of 6 attentions.
    assert (facts["quantised_nodes"], facts["float_nodes"]) == (66, 14)
    assert made["quantizer"]["bytes"] < made["exporter"]["bytes"] / 2
    budget = {line["stage"]: line for line in report["budget"]}
    assert budget["exporter"]["snr_db"] > 100
    assert budget["quantizer"]["snr_db"] > 12
    assert "INT8" in budget["quantizer"]["device"]
    assert (file.parent / "bundle" / "model.pt2").is_file()
    assert "torch.export.load" in (file.parent / "bundle" / "README.md").read_text()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["runtime=onnxruntime"], "runtime `onnxruntime` accepts onnx"),
        (["exporter=onnx"], "quantizer `torch_static` accepts torch_export"),
        (["precision=int8"], "quantizer `qdq` accepts onnx"),
        (["exporter=none"], "quantizer `torch_static` accepts torch_export"),
        (["chunker=whole"], "makes a graph of one fixed length"),
        (["target=s24"], "target `s24` does not run precision `torch_int8`"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(
    overrides: list[str], said: str, command: Command
) -> None:
    """A plan refuses a stage that cannot take the artifact of the stage before it."""
    done = command(RECIPE, "mode=plan", *overrides)
    assert done.code == 2
    assert said in done.err


@pytest.mark.parametrize("precision", ["bf16", "torch_fp16", "torch_dynamic", "torch_int8"])
def test_every_precision_of_pytorch_can_be_named(precision: str, command: Command) -> None:
    """PyTorch's recipe accepts each precision of PyTorch by its name."""
    assert command(RECIPE, "mode=plan", f"precision={precision}").code == 0
