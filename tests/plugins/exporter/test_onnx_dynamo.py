"""The exporter `onnx_dynamo`, where its library onnxscript is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from core import Artifact, TorchModel
from plugins.exporter.onnx_dynamo import OnnxDynamo
from tests.plugins.networks import (
    artifact,
    feeds,
    hybrid,
    outputs,
    played,
    separator,
    work_in,
)

pytest.importorskip("onnxscript", reason="dynamo's exporter needs onnxscript")


def _exported(model: TorchModel, folder: Path, **options: object) -> Artifact:
    made = OnnxDynamo(OnnxDynamo.Options(**options)).run(model, feeds(model), work_in(folder))
    return artifact(made, model.info)


def test_graph_computes_what_pytorch_does(tmp_path: Path) -> None:
    """The graph computes the same as PyTorch, with the names and the order of its outputs."""
    model = hybrid()
    made = _exported(model, tmp_path / "export")
    given = feeds(model, seed=5)
    actual, expected = played(made, given), outputs(model, given)
    assert list(actual) == ["time_out", "spec_out"]
    for name in expected:
        np.testing.assert_allclose(actual[name], expected[name], atol=1e-5)


def test_notes_of_the_exporter_are_removed(tmp_path: Path) -> None:
    """The exporter's metadata is removed, because it crashes ONNX Runtime's preparation for QNN."""
    graph = onnx.load(_exported(separator(), tmp_path / "export").path)
    assert not graph.metadata_props
    assert not graph.graph.metadata_props
    assert not any(node.metadata_props for node in graph.graph.node)


def test_dynamic_graph_serves_another_length(tmp_path: Path) -> None:
    """A dynamic graph takes another length along the axis that the signature leaves open."""
    model = separator()
    made = _exported(model, tmp_path / "export", dynamic=True)
    assert played(made, feeds(model, samples=1024))["stems"].shape == (1, 2, 2, 1024)


def test_the_terminal_stays_clean(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The libraries print nothing to the terminal."""
    _exported(separator(), tmp_path / "export")
    assert capfd.readouterr() == ("", "")
