"""PyTorch's quantisers stay near float on networks of any shape, or say why they do not.

Each network is small and has one property that some quantiser handles wrongly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core import Artifact, Calibration, ModelInfo, Quantizer, Signature, StageError, StageResult
from core.formats.torch_export import load, save
from core.measure.metrics import snr_db
from plugins.quantizer._torchao import Backend
from plugins.quantizer.torch_dynamic import TorchDynamic
from plugins.quantizer.torch_half import Half, TorchHalf
from plugins.quantizer.torch_static import TorchStatic
from tests.optional import needs
from tests.plugins.networks import artifact, work_in

pytestmark = needs("torchao")

WINDOWS = 3


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Compute tiny networks in one thread, because threads wait long on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _window(shape: tuple[int, ...], size: float = 1.0, seed: int = 0) -> np.ndarray:
    values = size * np.random.default_rng(seed).standard_normal(shape)
    return np.asarray(values, np.float32)


class Network(nn.Module):
    """Some layers, and a function that computes with them."""

    def __init__(self, compute: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.compute = compute
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: torch.Tensor) -> Any:
        """Compute."""
        return self.compute(self, x)


def _conv(scale: float = 1.0, *, bias: bool = True) -> nn.Conv1d:
    torch.manual_seed(0)
    layer = nn.Conv1d(4, 4, 3, padding=1, bias=bias)
    layer.weight.data *= scale
    return layer


def _linear(scale: float = 1.0, *, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    layer = nn.Linear(16, 16, bias=bias)
    layer.weight.data *= scale
    return layer


def _norm(kind: Callable[..., nn.Module] = nn.BatchNorm1d, channels: int = 4) -> nn.Module:
    torch.manual_seed(1)
    norm: Any = kind(channels)
    nn.init.uniform_(norm.weight, 0.5, 2)
    nn.init.normal_(norm.bias)
    norm.running_mean, norm.running_var = torch.randn(channels), torch.rand(channels) + 0.1
    return norm


def _given(core: nn.Module, window: np.ndarray, folder: Path) -> Artifact:
    """Return a program of `core` as an artifact."""
    folder.mkdir(parents=True)
    program = torch.export.export(core.eval(), (torch.from_numpy(window),))
    save(program, folder / "model.pt2")
    names = ("y", "places")[: len(program.graph_signature.user_outputs)]
    info = ModelInfo(Signature((), ()), ("x",), names)
    return artifact(StageResult(folder / "model.pt2", "torch_export", "fp32"), info)


def _made(
    quantizer: Quantizer[Any], core: nn.Module, folder: Path, size: float = 1.0, *axes: int
) -> StageResult:
    shape = axes or (1, 4, 16)
    given = _given(core, _window(shape), folder / "float")
    windows = Calibration(
        WINDOWS, lambda: ({"x": _window(shape, size, seed)} for seed in range(WINDOWS))
    )
    return quantizer.run(given, windows, work_in(folder / "integers"))


def _snr(made: StageResult, core: nn.Module, size: float = 1.0, *axes: int) -> float:
    """Return the SNR of the result against the network, on one of its own windows."""
    window = torch.from_numpy(_window(axes or (1, 4, 16), size))
    with torch.no_grad():
        expected = core(window.clone())
        (actual,) = torch.utils._pytree.tree_leaves(load(made.path).module()(window))
    return snr_db(expected.numpy(), actual.numpy())


def _static(backend: Backend = Backend.x86, **options: Any) -> TorchStatic:
    return TorchStatic(TorchStatic.Options(windows=WINDOWS, backend=backend, **options))


def _both(net: Any, x: torch.Tensor) -> Any:
    return net.b(torch.relu(net.a(x)))


@pytest.mark.parametrize("backend", [Backend.x86, Backend.arm])
@pytest.mark.parametrize("size", [1e-20, 1e-8, 1e8, 1e18])
def test_no_size_is_too_small_or_too_large(size: float, backend: Backend, tmp_path: Path) -> None:
    """Activations of any size with weights of the inverse size keep the SNR of 8 bits."""
    core = Network(_both, a=_conv(1 / size), b=_conv(bias=False))
    made = _made(_static(backend), core, tmp_path, size)
    assert _snr(made, core, size) > 28
    assert not made.notices
    inner = Network(_both, a=_conv(bias=False), b=_conv(1 / size, bias=False))
    made = _made(_static(backend), inner, tmp_path / "inner", size)
    assert _snr(made, inner, size) > 28


@pytest.mark.parametrize("size", [1e-20, 1e18])
def test_dynamic_ranges_know_no_size_either(size: float, tmp_path: Path) -> None:
    """Dynamic ranges take activations and weights of any size."""
    core = Network(_both, a=_linear(1 / size), b=_linear(size, bias=False))
    made = _made(TorchDynamic(TorchDynamic.Options(backend=Backend.x86)), core, tmp_path, size)
    assert _snr(made, core, size) > 28


def _small_channel(net: Any, x: torch.Tensor) -> Any:
    return nn.functional.instance_norm(net.a(x), eps=1e-20)


def test_a_channel_has_a_range_of_its_own(tmp_path: Path) -> None:
    """A channel a million times weaker than the others keeps its precision before a norm.

    With one scale for all channels it is lost; a warning names the layer and the option to keep it.
    """
    core = Network(_small_channel, a=_conv(bias=False))
    core.a.weight.data[::2] *= 1e-6  # type: ignore[union-attr, operator, index]
    assert _snr(_made(_static(), core, tmp_path / "x86"), core) > 28
    made = _made(_static(Backend.arm), core, tmp_path / "arm")
    assert _snr(made, core) < 10
    (notice,) = made.notices
    assert notice.severity == "warning"
    assert notice.text.startswith("output `y` of the quantised program has")
    assert "quantizer.exclude=[a]" in notice.text


def test_a_layer_that_8_bits_do_not_hold_is_named(tmp_path: Path) -> None:
    """A layer that 8 bits do not hold is named in a warning.

    Here one weight is much larger than all others and reads zeros, so the output is lost.
    """
    core = Network(lambda net, x: net.a(x * net.loud), a=_linear())
    core.register_buffer("loud", torch.tensor([0.0, *[1.0] * 15]))
    core.a.weight.data[:, 0] = 1e4  # type: ignore[union-attr, operator, index]
    quantizer = TorchDynamic(TorchDynamic.Options(backend=Backend.x86))
    assert not _made(quantizer, core, tmp_path / "dynamic", 1.0, 1, 8, 16).notices
    made = _made(_static(), core, tmp_path / "static", 1.0, 1, 8, 16)
    assert made.notices[0].severity == "warning"
    assert made.notices[0].text.startswith("8 bits are too few for a: ")
    assert str(made.facts["weakest_layers"]).startswith("['a: ")


def _in_place(net: Any, x: torch.Tensor) -> Any:
    hidden = net.a(x)
    hidden[:, :2] *= 4
    hidden[:, 2:].clamp_(-0.1, 0.1)
    return net.b(hidden)


def test_what_is_written_into_a_tensor_is_not_read_too_early(tmp_path: Path) -> None:
    """A change in place after a layer is kept.

    The tool rounds a tensor where it is made, so a later `mul_` was lost.
    """
    core = Network(_in_place, a=_conv(), b=_conv())
    assert _snr(_made(_static(), core, tmp_path), core) > 28


def _read_twice(net: Any, x: torch.Tensor) -> Any:
    hidden = net.a(x)
    return net.norm(hidden) + hidden


@pytest.mark.parametrize(
    ("core", "axes"),
    [
        (
            Network(lambda net, x: net.norm(net.a(x)) + net.a(x), a=_conv(), norm=_norm()),
            (1, 4, 16),
        ),
        (
            Network(_read_twice, a=_conv(), norm=_norm()),
            (1, 4, 16),
        ),
        (
            Network(_read_twice, a=_linear(), norm=_norm(channels=16)),
            (4, 16),
        ),
        (
            Network(
                lambda net, x: net.norm(net.a(x)),
                a=_conv(),
                norm=nn.BatchNorm1d(4, track_running_stats=False),
            ),
            (1, 4, 16),
        ),
    ],
    ids=["two convolutions", "convolution", "linear", "no statistics"],
)
def test_a_batch_norm_stays_out_of_a_layer_that_others_read(
    core: nn.Module, axes: tuple[int, ...], tmp_path: Path
) -> None:
    """A batch norm is not folded into a layer with other readers, although the tool does so."""
    assert _snr(_made(_static(), core, tmp_path, 1.0, *axes), core, 1.0, *axes) > 28


def _product(net: Any, x: torch.Tensor) -> Any:
    return torch.addmm(net.bias, x, net.matrix, beta=0.5, alpha=2.0)


@pytest.mark.parametrize("shape", [(), (1,), (8,), (1, 8), (3, 8), (3, 1)])
def test_a_product_with_a_matrix_of_weights_is_a_linear_layer(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    """A product with a weight matrix is quantised with a bias of any shape, as a Gemm has it."""
    core = Network(_product)
    core.register_buffer("matrix", torch.from_numpy(_window((16, 8))))
    core.register_buffer("bias", torch.from_numpy(_window(shape, seed=1)))
    made = _made(_static(), core, tmp_path, 1.0, 3, 16)
    assert made.facts["quantised_nodes"] == 1
    assert _snr(made, core, 1.0, 3, 16) > 28


def test_a_product_of_two_windows_stays(tmp_path: Path) -> None:
    """Products of two windows, or with weights on the left, are refused by their names."""
    core = Network(lambda net, x: net.matrix @ x @ x.transpose(1, 2))
    core.register_buffer("matrix", torch.from_numpy(_window((4, 4))))
    with pytest.raises(StageError, match="nothing to quantise") as caught:
        _made(_static(), core, tmp_path)
    assert "its multiplications: `matmul` (matmul), `matmul_1` (matmul)" in caught.value.lines


def test_what_has_no_elements_stays_in_float(tmp_path: Path) -> None:
    """A layer that reads no elements has no range and stays in float."""
    core = Network(lambda net, x: net.b(x) + net.a(x[:, :0]).sum(), a=_linear(), b=_linear())
    for index, quantizer in enumerate([_static(), TorchDynamic(TorchDynamic.Options())]):
        made = _made(quantizer, core, tmp_path / str(index))
        assert made.facts["quantised_nodes"] == 1
        assert _snr(made, core) > 28


def test_what_is_no_fp32_stays_as_it_is(tmp_path: Path) -> None:
    """A layer in double precision stays as it is between other layers."""
    core = Network(lambda net, x: net.b(net.a(x.double()).float()), a=_conv().double(), b=_conv())
    made = _made(_static(), core, tmp_path)
    assert made.facts["quantised_nodes"] == 1
    assert _snr(made, core) > 28


def test_a_layer_that_was_never_reached_stays_in_float(tmp_path: Path) -> None:
    """A layer that reads only zeros in calibration stays in float, with a notice."""
    core = Network(lambda net, x: net.a(x) + net.b(torch.relu(x - 50)), a=_conv(), b=_conv())
    made = _made(_static(), core, tmp_path)
    assert made.facts["quantised_nodes"] == 1
    assert made.notices[0].text.startswith("`b`: read nothing but zeros in all calibration windows")
    silent = Network(lambda net, x: net.a(x * 0), a=_conv())
    with pytest.raises(StageError, match="reads nothing but zeros"):
        _made(_static(), silent, tmp_path / "silent")


def test_a_layer_that_reads_nan_is_named(tmp_path: Path) -> None:
    """A layer that reads NaN, as after a row that is masked whole, is refused by its name."""
    mask = torch.zeros(4, 4)
    mask[1] = -math.inf
    core = Network(
        lambda net, x: net.a(torch.softmax(x @ x.transpose(1, 2) + net.mask, -1) @ x), a=_linear()
    )
    core.register_buffer("mask", mask)
    with pytest.raises(StageError, match="`a` reads NaN for finite calibration data"):
        _made(_static(), core, tmp_path)


def _masked(fill: float) -> nn.Module:
    """Return attention whose rows see the rows before them."""

    def attention(net: Any, x: torch.Tensor) -> torch.Tensor:
        scores = net.a(x) @ x.transpose(1, 2) / 4
        later = torch.ones(4, 4, dtype=torch.bool).triu(1)
        return net.b(torch.softmax(scores.masked_fill(later, fill), -1) @ x)

    return Network(attention, a=_linear(), b=_linear())


FILLS = [-math.inf, torch.finfo(torch.float32).min, -1e9]


@pytest.mark.parametrize("fill", FILLS)
def test_a_mask_takes_no_range(fill: float, tmp_path: Path) -> None:
    """Any mask value leaves the ranges intact, because the softmax stays in float."""
    core = _masked(fill)
    assert _snr(_made(_static(), core, tmp_path), core) > 28


def test_a_size_that_depends_on_values_is_refused(tmp_path: Path) -> None:
    """A size that depends on values is refused with its node and a replacement."""
    core = Network(lambda net, x: net.a(x)[x > 0], a=_conv())
    with pytest.raises(StageError, match="the size of the output of `index`") as caught:
        _made(_static(), core, tmp_path)
    assert any("torch.where" in line for line in caught.value.lines)


def _half(dtype: Half, **options: Any) -> TorchHalf:
    return TorchHalf(TorchHalf.Options(dtype=dtype, windows=WINDOWS, **options))


#: The least SNR in dB of a network in 16 bits: 8 and 11 bits of mantissa.
LEFT = {Half.bf16: 38, Half.fp16: 55}
both = pytest.mark.parametrize("dtype", Half)


@both
@pytest.mark.parametrize("fill", FILLS)
def test_a_mask_beyond_16_bits_stays_in_float(dtype: Half, fill: float, tmp_path: Path) -> None:
    """A mask value beyond 16 bits stays in float.

    FP16 holds neither -1e9 nor FP32's minimum; bfloat16 does not hold FP32's minimum.
    """
    core = _masked(fill)
    assert _snr(_made(_half(dtype), core, tmp_path), core) > LEFT[dtype]


@both
@pytest.mark.parametrize("size", [1e-20, 1e-6, 1e6, 1e18])
def test_no_size_is_too_small_or_too_large_for_16_bits(
    dtype: Half, size: float, tmp_path: Path
) -> None:
    """Activations and weights of any size keep the SNR of 16 bits.

    FP16 ends at 65,504, and below 6.1e-5 it has fewer bits.
    """
    core = Network(_both, a=_conv(1 / size), b=_conv(bias=False))
    assert _snr(_made(_half(dtype), core, tmp_path, size), core, size) > LEFT[dtype]
    inner = Network(_both, a=_conv(bias=False), b=_conv(1 / size, bias=False))
    made = _made(_half(dtype), inner, tmp_path / "inner", size)
    assert _snr(made, inner, size) > LEFT[dtype]


def _normed(net: Any, x: torch.Tensor) -> Any:
    hidden = net.a(x)
    return hidden / (hidden.pow(2).mean(-1, keepdim=True) + 1e-9).sqrt()


@pytest.mark.parametrize("size", [1e-3, 300])
def test_a_square_leaves_fp16_before_its_root_does(size: float, tmp_path: Path) -> None:
    """A square that overflows FP16 stays in float.

    A division by its infinity gave zeros without an error.
    """
    core = Network(_normed, a=_conv(bias=False))
    assert _snr(_made(_half(Half.fp16), core, tmp_path, size), core, size) > LEFT[Half.fp16]


def test_weights_of_a_channel_that_fp16_rounds_away(tmp_path: Path) -> None:
    """Weights of a channel too small for FP16 stay in float if a norm follows."""
    core = Network(_small_channel, a=_conv(bias=False))
    core.a.weight.data[::2] *= 1e-6  # type: ignore[union-attr, operator, index]
    made = _made(_half(Half.fp16), core, tmp_path)
    assert _snr(made, core) > LEFT[Half.fp16]
    assert "a_weight (weight): is nowhere above" in str(made.facts["kept_because"])


def _scattered(net: Any, x: torch.Tensor) -> Any:
    places = torch.tensor([0, 1, 1, 0]).reshape(1, 4, 1).expand(1, 4, 16)
    return net.b(torch.zeros(1, 2, 16).scatter_add(1, places, net.a(x)))


def _branched(net: Any, x: torch.Tensor) -> Any:
    return net.b(torch.cond(x.sum() > 0, net.a, torch.neg, (x,)))


@both
@pytest.mark.parametrize("compute", [_scattered, _branched])
def test_what_wants_one_type_computes_in_float(
    compute: Callable[..., Any], dtype: Half, tmp_path: Path
) -> None:
    """Operators that need equal types, and branches of a condition, compute in float."""
    core = Network(compute, a=_linear(), b=_linear())
    assert _snr(_made(_half(dtype), core, tmp_path), core) > LEFT[dtype]


@both
def test_outputs_keep_their_types(dtype: Half, tmp_path: Path) -> None:
    """Outputs in doubles and whole numbers keep their types."""
    core = Network(lambda net, x: (net.a(x).double(), net.a(x).argmax(-1)), a=_linear())
    made = _made(_half(dtype), core, tmp_path)
    window = torch.from_numpy(_window((1, 4, 16)))
    values, places = load(made.path).module()(window)
    assert (values.dtype, places.dtype) == (torch.float64, torch.int64)
    assert snr_db(core(window)[0].detach().numpy(), values.numpy()) > LEFT[dtype]


def test_what_is_not_finite_in_16_bits_is_refused(tmp_path: Path) -> None:
    """An output that is not finite in FP16 is refused with the first such node and a remedy.

    Here a channel far below the others becomes zero.
    """

    def compute(net: Any, x: torch.Tensor) -> Any:
        hidden = net.a(x).pow(3)
        return hidden / hidden.abs().amax(-1, keepdim=True)

    core = Network(compute, a=_conv(bias=False))
    core.a.weight.data[::2] *= 1e-3  # type: ignore[union-attr, operator, index]
    with pytest.raises(StageError, match="`y` is not finite in 16 bits") as caught:
        _made(_half(Half.fp16), core, tmp_path / "fp16")
    assert caught.value.lines[0] == "first not finite: `div` (div)"
    assert any("precision=bf16" in line for line in caught.value.lines)
    assert _snr(_made(_half(Half.bf16), core, tmp_path / "bf16"), core) > LEFT[Half.bf16]
