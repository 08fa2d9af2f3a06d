"""The quantizer `fp16`: 16-bit arithmetic that does not overflow, FP32 at both ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator
from torch import nn

from core import (
    Artifact,
    ArtifactSpec,
    Calibration,
    ModelInfo,
    Signature,
    StageError,
    TensorSpec,
    TorchModel,
)
from core.measure import snr_db
from plugins.exporter.graph_file import ExternalData
from plugins.quantizer.fp16 import Fp16
from tests.plugins.networks import (
    artifact,
    exported,
    feeds,
    hybrid,
    outputs,
    played,
    separator,
    work_in,
)

if TYPE_CHECKING:
    from core.values import Array, Tensors


def _converted(source: Artifact, folder: Path, **options: object) -> Artifact:
    made = Fp16(Fp16.Options(**options)).run(source, Calibration(0, lambda: ()), work_in(folder))
    return artifact(made, source.info)


@pytest.mark.parametrize("network", [separator, hybrid])
def test_result_is_that_of_16_bits(network: type, tmp_path: Path) -> None:
    """Near PyTorch, but no nearer than a mantissa of 11 bits allows."""
    model = network()
    made = _converted(exported(model, tmp_path / "export"), tmp_path / "fp16")
    given = feeds(model, seed=9)
    actual, expected = played(made, given), outputs(model, given)
    for name in expected:
        assert 55 < snr_db(expected[name], actual[name]) < 90


def test_inputs_and_outputs_stay_fp32(tmp_path: Path) -> None:
    """The host feeds the graph as before; weights take half the room."""
    source = exported(separator(), tmp_path / "export")
    made = _converted(source, tmp_path / "fp16")
    graph = onnx.load(made.path)
    onnx.checker.check_model(graph, full_check=True)
    ends = (*graph.graph.input, *graph.graph.output)
    assert {v.type.tensor_type.elem_type for v in ends} == {TensorProto.FLOAT}
    halves = [t for t in graph.graph.initializer if t.data_type == TensorProto.FLOAT16]
    assert sum(np.prod(t.dims) for t in halves) > 1_000
    assert made.spec == ArtifactSpec("onnx", "fp16")


def test_norms_and_softmax_stay_fp32(tmp_path: Path) -> None:
    """What sums or squares is left alone, and counted."""
    made = _converted(exported(separator(), tmp_path / "export"), tmp_path / "fp16")
    assert made.facts["float32_nodes"] == 1
    assert made.facts["float16_nodes"] > 5
    plain = _converted(exported(separator(), tmp_path / "2"), tmp_path / "all", keep_float32=[])
    assert plain.facts["float32_nodes"] == 0


class Variance(nn.Module):
    """Divides by a variance that it computes the long way, of values around 400."""

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        """Normalise."""
        loud = mix * 400
        centred = loud - loud.mean(-1, keepdim=True)
        return centred / torch.sqrt((centred * centred).mean(-1, keepdim=True) + 1e-5)


def _variance() -> TorchModel:
    specs = [TensorSpec(name, ("channel", "time"), (2, "time")) for name in ("mix", "out")]
    info = ModelInfo(Signature((specs[0],), (specs[1],)), ("mix",), ("out",))
    return TorchModel(info, Variance(), separator().reference)


def test_a_variance_does_not_overflow_between_two_kept_nodes(tmp_path: Path) -> None:
    """Its squares pass 65,504; a cast to FP16 between square and mean would make them infinite."""
    model = _variance()
    source = exported(model, tmp_path / "export")
    given = feeds(model)
    expected = outputs(model, given)["out"]
    kept = _computed(_converted(source, tmp_path / "kept"), given)
    assert snr_db(expected, kept) > 55
    lost = _computed(_converted(source, tmp_path / "lost", keep_float32=[]), given)
    assert snr_db(expected, lost) < 10


def _computed(made: Artifact, given: Tensors) -> Array:
    """Compute a graph in the very types that it names.

    ONNX Runtime's CPU has few FP16 kernels: it runs their neighbours in FP32 without a cast
    between them, where nothing overflows.
    """
    with np.errstate(all="ignore"):
        values: list[Array] = ReferenceEvaluator(made.path).run(None, dict(given))
    return values[0]


def test_keeping_everything_changes_nothing(tmp_path: Path) -> None:
    """Not even the ends of the graph are rounded."""
    model = hybrid()
    made = _converted(exported(model, tmp_path / "export"), tmp_path / "fp16", keep_float32=["*"])
    given = feeds(model)
    for name, expected in outputs(model, given).items():
        assert snr_db(expected, played(made, given)[name]) > 100
    assert made.facts["casts"] == 0


def test_clipped_weights_are_told(tmp_path: Path) -> None:
    """FP16 ends at 65,504."""
    model = separator()
    with torch.no_grad():
        model.core.up.bias[:] = 1e6
    source = exported(model, tmp_path / "export")
    made = Fp16(Fp16.Options()).run(source, Calibration(0, lambda: ()), work_in(tmp_path / "fp16"))
    assert [n.text for n in made.notices] == [
        "4 weight(s) beyond ±65,504 were clipped to it by FP16"
    ]


def test_weights_beside_the_graph_are_converted(tmp_path: Path) -> None:
    """A model of two files is read whole."""
    model = separator()
    source = exported(model, tmp_path / "export", external_data=ExternalData.always)
    made = _converted(source, tmp_path / "fp16")
    given = feeds(model)
    assert snr_db(outputs(model, given)["stems"], played(made, given)["stems"]) > 55


def test_a_pattern_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    """A misspelt operator would silently be converted."""
    source = exported(separator(), tmp_path / "export")
    with pytest.raises(StageError, match="`keep_float32` has `Sigmoidd`") as caught:
        _converted(source, tmp_path / "fp16", keep_float32=["Sigmoidd"])
    assert "did you mean `Sigmoid`" in str(caught.value)
