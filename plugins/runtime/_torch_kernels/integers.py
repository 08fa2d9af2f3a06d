"""Replaces simulated integers in a program by PyTorch's integer kernels (oneDNN).

A quantised program quantises and dequantises around float operators: as it is, it rounds like
integers and computes in float. The kernels compute on the integers themselves. PyTorch's own way
to them is its compiler; these are the same kernels, without a compiler.
"""

from __future__ import annotations

import platform
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.formats.torch_export import constant, operator, pruned

if TYPE_CHECKING:
    import torch

    from core.plugin.values import Row

__all__ = ["Integers", "fuse", "quantised", "why_not"]

#: The processors whose kernels take uint8 activations and int8 weights.
X86 = ("x86_64", "AMD64")
#: Activations up to this keep the sum of two products of 8 bits within 16 bits.
NARROW = 127
#: A kernel and its operator with a lower SNR compute different things.
NEAR_DB = 60.0
CONVOLUTIONS = {"conv1d": 1, "conv2d": 2}


@dataclass(frozen=True)
class Integers:
    """The kernels of a program's quantised operators: by operator, such as `conv1d 28`.

    `wrong` are kernels of this machine that compute something else; their operators are
    simulated.
    """

    kernels: Row
    simulated: int
    with_relu: int
    wrong: Row


def quantised(module: torch.fx.GraphModule) -> list[torch.fx.Node]:
    """Return the operators whose input and weights come from integers."""
    return [
        node
        for node in module.graph.nodes
        if operator(node) in (*CONVOLUTIONS, "linear")
        and operator(node.args[0]) == "dequantize_per_tensor"
        and operator(node.args[1]).startswith("dequantize_per_")
    ]


def why_not(module: torch.fx.GraphModule) -> str:
    """Return why this machine's kernels would compute other results; empty if they would not.

    x86 without VNNI adds two products of 8 bits in 16, where they saturate: 13 dB were left of a
    convolution. Activations of 7 bits fit.
    """
    import torch

    if platform.machine() not in X86:
        return f"the kernels are used on x86 only, and this is {platform.machine()}"
    nodes = [node for node in quantised(module) if _fits(node)]
    if not nodes:
        return (
            "no operator has the form that the kernels need: uint8 activations with a batch axis, "
            "weights per channel"
        )
    able = torch.cpu.get_capabilities()
    if able.get("avx512_vnni") or able.get("avx_vnni"):
        return ""
    if any(_largest(node) > NARROW for node in nodes):
        return "this processor has no VNNI, and its kernels saturate with activations of 8 bits"
    return ""


def fuse(module: torch.fx.GraphModule) -> Integers:
    """Replace, in place, every quantised operator by a kernel on integers; weights are packed.

    A ReLU that is the operator's only reader goes into the kernel. Each kernel is tried on noise
    first, and left out where it computes something else.
    """
    kernels, wrong = Counter[str](), Counter[str]()
    nodes, with_relu = quantised(module), 0
    for node in nodes:
        if not _fits(node):
            continue
        relu = next(iter(node.users)) if len(node.users) == 1 else None
        last = relu if relu is not None and operator(relu) == "relu" else node
        call = _tried(module, node, last)
        if call is None:
            wrong[operator(node)] += 1
            continue
        with_relu += last is not node
        last.replace_all_uses_with(call)
        kernels[operator(node)] += 1
    pruned(module)
    return Integers(_named(kernels), len(nodes) - kernels.total(), with_relu, _named(wrong))


def _tried(module: torch.fx.GraphModule, node: torch.fx.Node, last: torch.fx.Node) -> Any:
    """Return the kernel for `node`, in front of `last`; None where it fails or is wrong here."""
    call: Any = None
    try:
        with module.graph.inserting_before(last):
            call = _call(module, node, "none" if last is node else "relu")
        if _agrees(module, node, call, relu=last is not node):
            return call
    except RuntimeError:
        # oneDNN has no kernel for this shape, which it reports when it packs or computes.
        pass
    if call is not None:
        module.graph.erase_node(call)
    return None


def _named(counts: Counter[str]) -> Row:
    return dict(counts.most_common())


def _agrees(module: torch.fx.GraphModule, node: torch.fx.Node, call: Any, *, relu: bool) -> bool:
    """Return whether a kernel computes what the operator does, on one window of noise.

    With AMX, PyTorch 2.13.0's kernel for a convolution of the bundled model (16 to 32 channels, 8
    taps, stride 4) is off by more than its result; all others agree to 130 dB.
    """
    import torch

    given: Any = node.args[0]
    weights: Any = node.args[1]
    integers, scale, zero, least, most = given.args[:5]
    noise = torch.randint(
        int(least),
        int(most) + 1,
        tuple(integers.meta["val"].shape),
        dtype=torch.uint8,
        generator=torch.Generator().manual_seed(0),
    )
    known = {integers: noise}
    if isinstance(scale, torch.fx.Node):
        known |= {scale: torch.tensor(0.01), zero: torch.tensor(NARROW)}

    def value(argument: Any) -> Any:
        if isinstance(argument, list | tuple):
            return [value(one) for one in argument]
        if not isinstance(argument, torch.fx.Node):
            return argument
        return known[argument] if argument in known else constant(module, argument)

    values, scales = value(weights.args[0]), value(weights.args[1])
    signal = (noise.float() - value(zero)) * value(scale)
    kernel = values.float() * scales.reshape(-1, *[1] * (values.dim() - 1))
    with torch.no_grad():
        expected = node.target(signal, kernel, *value(node.args[2:]))  # type: ignore[operator]  # an operator of torch
        if relu:
            expected = expected.relu()
        actual = call.target(*value(call.args))
    # In FP64: with scales of 1e-20, squares are zero in FP32, and any kernel would agree.
    error = (actual.double() - expected).square().sum()
    return bool(error * 10 ** (NEAR_DB / 10) <= expected.double().square().sum())


def _fits(node: torch.fx.Node) -> bool:
    """Return whether the kernels take the types: uint8 activations, int8 weights per channel.

    The kernels also reject an input without a batch axis, or without elements.
    """
    import torch

    given: Any = node.args[0]
    weight: Any = node.args[1]
    plain = all(not isinstance(option, str) for option in node.args[3:])
    window = given.args[0].meta["val"]
    axes = CONVOLUTIONS.get(operator(node))
    return (
        plain
        and window.numel() > 0
        and (axes is None or window.dim() == axes + 2)
        and given.args[5] is torch.uint8
        and operator(weight) == "dequantize_per_channel"
        and weight.args[3] == 0
        and weight.args[6] is torch.int8
    )


def _largest(node: torch.fx.Node) -> int:
    """Return the largest integer that an operator's activations take."""
    given: Any = node.args[0]
    return int(given.args[4])


def _call(module: torch.fx.GraphModule, node: torch.fx.Node, after: str) -> Any:
    """Replace `node` by the kernel, with `after` applied to its result."""
    import torch

    onednn = torch.ops.onednn
    given: Any = node.args[0]
    weights: Any = node.args[1]
    integers, scale, zero = given.args[:3]
    # A dynamic scale is known only at run time; packing does not depend on it.
    dynamic = isinstance(scale, torch.fx.Node)
    values, scales = constant(module, weights.args[0]), constant(module, weights.args[1])
    shape = list(integers.meta["val"].shape)
    bias = node.args[2] if len(node.args) > 2 else None  # noqa: PLR2004  # input, weight, bias
    if operator(node) == "linear":
        packed = onednn.qlinear_prepack(values, shape)
        geometry: tuple[Any, ...] = ()
        kernel = onednn.qlinear_pointwise
    else:
        geometry = _geometry(node)
        fixed = (1.0, 0) if dynamic else (scale, zero)
        packed = onednn.qconv_prepack(values, scales, *fixed, *geometry, shape)
        kernel = onednn.qconv_pointwise
    module.register_buffer(f"packed_{node.name}", packed, persistent=False)
    store = module.graph.get_attr(f"packed_{node.name}")
    output: tuple[Any, ...] = (1.0, 0, torch.float32, after, [], "")
    constants = (store, *weights.args[1:3], bias)
    arguments = (integers, scale, zero, *constants, *geometry, *output)
    return module.graph.call_function(kernel.tensor if dynamic else kernel.default, arguments)


def _geometry(node: torch.fx.Node) -> tuple[list[int], list[int], list[int], int]:
    """Return stride, padding, dilation and groups of a convolution, with their defaults."""
    axes = CONVOLUTIONS[operator(node)]
    given: Any = [*node.args[3:], *([1], [0], [1], 1)[len(node.args[3:]) :]]
    stride, padding, dilation = ([*v] * axes if len(v) == 1 else [*v] for v in given[:3])
    return stride, padding, dilation, given[3]
