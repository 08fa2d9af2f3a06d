"""An ONNX graph as a PyTorch network, with gradients and learnable rounding.

QuantizeLinear followed by DequantizeLinear becomes one rounding in float (`rounding.py`), so the
network rounds exactly where the graph that ships does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from onnx import helper, numpy_helper
from torch import Tensor

from core import StageError
from plugins.quantizer._qat.operators import OPERATORS
from plugins.quantizer._qat.rounding import Bias, Ranges, Weight, rounded

if TYPE_CHECKING:
    import onnx

__all__ = ["Network"]

#: The remedy for an operator that is not known.
WITHOUT = "quantise without learning (quantizer=qdq), or add it to plugins/quantizer/_qat"
#: Their outputs hold nothing but values of their first input: rounding twice changes nothing.
MOVERS = frozenset(
    {"Reshape", "Transpose", "Slice", "Split", "Squeeze", "Unsqueeze", "Gather", "Identity"}
)
#: Their values lie between -1 and 1 by definition: that range is not learned.
BOUNDED = frozenset({"Sigmoid", "Softmax", "Tanh"})


@dataclass(frozen=True)
class _Step:
    """One node: from which tensors to which, and the function that computes it."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    apply: Callable[[list[Any]], tuple[Tensor, ...]]
    name: str = ""
    operator: str = ""


class Network:
    """A graph opened in PyTorch; one in float has no `ranges`, `weights` or `biases`.

    `ranges` go by the name of their scale, `weights` and `biases` by that of the constant.
    `originals` are constants in float by name, from before they were rounded; a weight that is
    not among them starts from its rounded values. Raises StageError for an operator that is not
    known here.
    """

    def __init__(
        self, model: onnx.ModelProto, originals: Mapping[str, np.ndarray] | None = None
    ) -> None:
        graph = model.graph
        self.outputs = [value.name for value in graph.output]
        self.ranges = Ranges()
        self.weights: dict[str, Weight] = {}
        self.biases: dict[str, Bias] = {}
        self._originals = originals or {}
        self._arrays = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        for node in (n for n in graph.node if n.op_type == "Constant"):
            self._arrays[node.output[0]] = _constant_of(node)
        self._made_by = {name: node for node in graph.node for name in node.output}
        self._read_by = {name: node for node in graph.node for name in node.input}
        nodes = [n for n in graph.node if n.op_type != "Constant"]
        self._steps = [self._step(nodes[index]) for index in _in_order(nodes)]
        self.ranges.freeze()
        self._scales: tuple[Tensor, ...] = ()
        self._zeros: tuple[Tensor, ...] = ()
        self._constants = {n: torch.from_numpy(np.array(a)) for n, a in self._arrays.items()}
        self._last = {name: i for i, step in enumerate(self._steps) for name in step.inputs}

    def run(self, feeds: Mapping[str, Tensor], wanted: Iterable[str] = ()) -> dict[str, Tensor]:
        """Return the outputs of the graph and the tensors called `wanted`."""
        kept = {*self.outputs, *wanted}
        scales, zeros = self.ranges.scales_and_zeros()
        self._scales, self._zeros = scales.unbind(), zeros.unbind()
        values: dict[str, Tensor] = {**self._constants, **feeds}
        for index, step in enumerate(self._steps):
            given = _applied(step, [values[name] if name else None for name in step.inputs])
            values.update(zip(step.outputs, given, strict=False))
            for name in step.inputs:  # without gradients this frees what nobody reads any more
                if self._last.get(name) == index and name not in kept:
                    values.pop(name, None)
        return {name: values[name] for name in kept}

    def _step(self, node: onnx.NodeProto) -> _Step:
        inputs, outputs = tuple(node.input), tuple(node.output)
        if node.op_type == "QuantizeLinear":
            return self._rounding(node)
        if node.op_type == "DequantizeLinear":
            if node.input[0] not in self._arrays:
                return _Step(inputs[:1], outputs, _same)
            return _Step((), outputs, self._constant(node))
        operator = OPERATORS.get(node.op_type)
        if operator is None or (node.domain, node.op_type) not in _known(node):
            raise StageError(
                f"the operator `{node.op_type}` has no gradient here",
                f"node: {node.name}",
                f"operators that have one: {', '.join(sorted(OPERATORS))}",
                WITHOUT,
            )
        attributes = {a.name: _value(a) for a in node.attribute} | {"_outputs": len(outputs)}
        return _Step(
            inputs, outputs, lambda given: operator(attributes, given), node.name, node.op_type
        )

    def _rounding(self, node: onnx.NodeProto) -> _Step:
        name, scale, zero = node.input
        maker = self._made_by.get(name)
        bounds = np.iinfo(self._arrays[zero].dtype)
        self.ranges.add(
            scale,
            float(self._arrays[scale]),
            int(self._arrays[zero]),
            (int(bounds.min), int(bounds.max)),
            fixed=maker is not None and maker.op_type in BOUNDED,
        )
        source = self._made_by.get(maker.input[0]) if maker and maker.input else None
        outputs = tuple(node.output)
        if (
            maker is not None
            and source is not None
            and maker.op_type in MOVERS
            and source.op_type == "DequantizeLinear"
            and list(source.input[1:]) == [scale, zero]
        ):
            return _Step((name,), outputs, _same)
        index = self.ranges.index[scale]
        least, most = self.ranges.bounds[index]

        def round_(given: list[Any]) -> tuple[Tensor]:
            return (rounded(given[0], self._scales[index], self._zeros[index], least, most),)

        return _Step((name,), outputs, round_)

    def _constant(self, node: onnx.NodeProto) -> Callable[[list[Any]], tuple[Tensor]]:
        """Return a function that gives a constant which the graph holds as integers."""
        name, integers = node.input[0], self._arrays[node.input[0]]
        shape = [1] * integers.ndim
        if self._arrays[node.input[1]].size > 1:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            shape[axis] = -1
        scale = self._arrays[node.input[1]].reshape(shape)
        zero = np.zeros_like(scale)
        if len(node.input) > 2:  # noqa: PLR2004  # the zero point may be left out
            zero = self._arrays[node.input[2]].reshape(shape).astype(scale.dtype)
        original = self._originals.get(re.sub(r"_quantized(_\d+)?$", "", name))
        # A bias of 32 bits is as fine as in float, and may hold what a correction added to it.
        if original is None or integers.dtype == np.int32:
            original = (integers - zero) * scale
        value = torch.tensor(
            original.reshape(integers.shape).astype(np.float32), requires_grad=True
        )
        if integers.dtype == np.int32:
            reader = self._read_by[node.output[0]]
            data, weight_scale = (self._made_by[n].input[1] for n in reader.input[:2])
            self.biases[name] = Bias(value, data, weight_scale)
            return lambda _: (value,)
        bounds = np.iinfo(integers.dtype)
        symmetric = bounds.min < 0 and not zero.any()
        self.weights[name] = weight = Weight(
            value,
            torch.tensor(scale),
            torch.tensor(zero),
            -int(bounds.max) if symmetric else int(bounds.min),
            int(bounds.max),
            torch.zeros(scale.shape, requires_grad=True),
        )
        return lambda _: (weight(),)


def _known(node: onnx.NodeProto) -> set[tuple[str, str]]:
    """Return the names that an operator is known by."""
    # ONNX Runtime's own Gelu, which it makes of Erf, is that of opset 20.
    return {("", node.op_type), ("ai.onnx", node.op_type), ("com.microsoft", "Gelu")}


def _applied(step: _Step, given: list[Any]) -> tuple[Tensor, ...]:
    """Return the outputs of a step; raises StageError, naming the node, where PyTorch fails."""
    try:
        result = step.apply(given)
    except Exception as error:  # PyTorch raises a class per reason
        reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
        raise _unknown_form(step, reason[:200]) from error
    if any(step.outputs[len(result) :]):
        raise _unknown_form(step, f"it gives {len(result)} of its {len(step.outputs)} outputs")
    return result


def _unknown_form(step: _Step, reason: str) -> StageError:
    return StageError(
        f"the operator `{step.operator}` has no gradient here in this form: {reason}",
        f"node: {step.name}",
        WITHOUT,
    )


def _value(attribute: onnx.AttributeProto) -> Any:
    """Return the value of an attribute, in the types that the operators expect."""
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if attribute.type == attribute.TENSOR:
        return torch.from_numpy(np.array(numpy_helper.to_array(value)))
    return value


def _constant_of(node: onnx.NodeProto) -> np.ndarray:
    """Return the value of a node `Constant`, in its type: an attribute's floats are of 32 bits."""
    (attribute,) = node.attribute
    value = _value(attribute)
    floats = attribute.name in ("value_float", "value_floats")
    return np.asarray(value, np.float32) if floats else np.asarray(value)


def _same(given: list[Any]) -> tuple[Tensor]:
    return (given[0],)


def _in_order(nodes: list[onnx.NodeProto]) -> list[int]:
    """Return the indices of `nodes`, each after those whose tensors it reads."""
    makers = {name: index for index, node in enumerate(nodes) for name in node.output}
    needs = {
        index: [makers[name] for name in node.input if name in makers]
        for index, node in enumerate(nodes)
    }
    return list(TopologicalSorter(needs).static_order())
