"""HTDemucs's form for an NPU is the same function, in a graph that an NPU takes whole."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import onnxsim
import pytest
import torch
from demucs.htdemucs import HTDemucs
from demucs.transformer import LayerScale
from torch import nn

from plugins.model._hybrid.layout import NpuCore
from plugins.model._hybrid.split import HybridCore, core_shapes

LENGTH = 22050


def small(**options: object) -> HTDemucs:
    """Return a small HTDemucs whose residuals and norms are far from the identity.

    Initial layer scales are 1e-3 or less, so a wrong residual would have no audible effect.
    """
    generator = torch.manual_seed(0)
    common = {"sources": ["drums", "bass", "other", "vocals"], "channels": 12, "t_layers": 2}
    model = HTDemucs(**{**common, "t_heads": 4, "use_train_segment": False, **options}).eval()
    for module in model.modules():
        if isinstance(module, LayerScale):
            nn.init.uniform_(module.scale, 0.2, 0.5, generator=generator)
        elif isinstance(module, nn.GroupNorm | nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.7, 1.3, generator=generator)
            nn.init.normal_(module.bias, std=0.2, generator=generator)
        elif isinstance(module, nn.MultiheadAttention):
            nn.init.normal_(module.in_proj_bias, std=0.1, generator=generator)
    return model


def inputs(model: HTDemucs, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return normalised noise in the shapes of the core's inputs."""
    shapes = core_shapes(model, length)
    return torch.randn(shapes["mix"]), torch.randn(shapes["mag"])


def snr_db(expected: torch.Tensor, actual: torch.Tensor) -> float:
    """Return the ratio of the power of `expected` to that of the difference, in dB."""
    error = (expected - actual).double().square().sum()
    return float(10 * torch.log10(expected.double().square().sum() / error))


@pytest.mark.parametrize("length", [44100, 45056, 11264, 30001])
def test_it_is_the_plain_core(length: int) -> None:
    """The NPU's core equals the plain core by over 120 dB.

    Lengths fold into columns, long and short, or need padding at some level.
    """
    model = small()
    arguments = inputs(model, length)
    with torch.no_grad():
        expected = HybridCore(model)(*arguments)
        actual = NpuCore(model, length)(*arguments)
    for one, other in zip(expected, actual, strict=True):
        assert one.shape == other.shape
        assert snr_db(one, other) > 120


@pytest.mark.parametrize(
    "options",
    [
        {"bottom_channels": 64, "dconv_mode": 3},
        {"sources": list("abcdef"), "t_cross_first": True, "t_norm_in": False},
        {"freq_emb": 0, "t_layers": 0, "rewrite": False},
    ],
    ids=["wide-transformer", "six-stems", "bare"],
)
def test_other_members_of_the_family(options: dict[str, object]) -> None:
    """The NPU's core equals the plain core for published variants of the architecture."""
    model = small(**options)
    arguments = inputs(model, LENGTH)
    with torch.no_grad():
        expected = HybridCore(model)(*arguments)
        actual = NpuCore(model, LENGTH)(*arguments)
    for one, other in zip(expected, actual, strict=True):
        assert snr_db(one, other) > 120


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"multi_freqs": [0.25]}, "multi_freqs"),
        ({"norm_starts": 2}, "norm_starts"),
        ({"t_norm_first": False}, "t_norm_first"),
    ],
)
def test_a_form_that_it_lacks_is_refused(options: dict[str, object], reason: str) -> None:
    """An unsupported option of the model is refused by name, with the plain core as replacement."""
    with pytest.raises(ValueError, match=reason) as refused:
        NpuCore(small(**options), LENGTH)
    assert "plugins.model._hybrid.split" in str(refused.value)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export the small model with the TorchScript-based exporter and simplify it."""
    path = tmp_path_factory.mktemp("onnx") / "core.onnx"
    model = small()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        # torch writes a `Pad` in its own form; onnxsim then folds this form.
        warnings.filterwarnings("ignore", message="Constant folding - Only steps=1")
        # A branch on a traced shape would be frozen silently; this form has no such branch.
        warnings.simplefilter("error", torch.jit.TracerWarning)
        torch.onnx.export(
            NpuCore(model, LENGTH).eval(),
            inputs(model, LENGTH),
            path,
            dynamo=False,
            opset_version=20,
            input_names=["mix", "mag"],
            output_names=["time_out", "spec_out"],
        )
    simplified, _ = onnxsim.simplify(onnx.load(path))
    onnx.save(simplified, path)
    return path


def test_the_graph_is_made_of_what_an_npu_takes(exported: Path) -> None:
    """GELU is one operator, convolutions are 2-D, and no unsuitable operator is left."""
    graph = onnx.load(exported).graph
    operators = Counter(node.op_type for node in graph.node)
    assert operators["Gelu"] == 34
    assert not {"Erf", "InstanceNormalization", "Gather", "Shape"} & set(operators)
    ranks = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type.startswith("Conv")]
    assert {ranks[node.input[1]] for node in convolutions} == {4}


def test_onnx_runtime_computes_the_same(exported: Path) -> None:
    """The exported graph gives the plain core's result in PyTorch."""
    model = small()
    mix, mag = inputs(model, LENGTH)
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    feeds = {"mix": mix.numpy(), "mag": mag.numpy()}
    outputs = session.run(["time_out", "spec_out"], feeds)
    with torch.no_grad():
        expected = HybridCore(model)(mix, mag)
    for one, other in zip(expected, outputs, strict=True):
        assert snr_db(one, torch.from_numpy(np.asarray(other))) > 100
