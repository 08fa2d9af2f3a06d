"""ONNX Runtime's quantiser, with scales that follow from what they scale, whatever its size.

Imported late, since it derives from a class of ONNX Runtime, which (1.31.1) silently loses:

* values smaller than 1e-4, by the settings for QNN, which give every tensor at least that range.
  QNN needs none: with ranges down to 1e-13, onnxruntime-qnn 2.7.0 (QNN 2.51) compiles and emulates
  two convolutions with the same 38 dB in 8 bits and 47 in 16; with the floor 0 to 15 dB are left,
  or nothing compiles;
* the weights of a softmax over many keys, as it assumes a range to 1 (`calibration/softmaxes.py`);
* the bias of a norm whose input is loud. The bias gets the scale of the input times that of the
  gain, though a norm divides by that loudness: at 1e5, 4.3 dB are left in 8 bits, and 36.7 with a
  scale of its own, on the CPU and on the HTP. A batch norm is wrong on the HTP at any loudness:
  5.7 dB, and 39.6 with a scale of its own;
* a bias that exceeds 32 bits, where weights are unsigned or have 4 bits, or are all zero;
* on the HTP, a channel whose weights are tiny beside the others, in a layer from 16 bits to 16
  bits. Its multiplier, the scale of the input times that of the weights by that of the output, must
  be more than 2^-25: below, the result is the end of the range. One such channel of 128, as a layer
  scale near zero leaves when it is folded into the weights, took the bundled model from 42 to 11
  dB. From 8 bits or to 8 bits, and in sums and products of two signals, any multiplier works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import numpy_helper
from onnxruntime.quantization import QDQQuantizer
from onnxruntime.quantization.calibrate import TensorData

from plugins.quantizer._onnx.graph.operands import captured
from plugins.quantizer._onnx.qdq.qnn_ranges import LAYERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["FLOOR", "SMALLEST", "Quantiser"]

#: The range of a tensor that is zero throughout, or too small for a scale in FP32.
FLOOR = 1e-4
#: The smallest range whose step of 16 bits FP32 holds with all its digits.
SMALLEST = 2.0**-126 * 2**16
NORMS = frozenset({"BatchNormalization", "InstanceNormalization", "LayerNormalization"})
#: The largest bias in its steps; and that of a norm, and beside weights that are zero, where it is
#: free: as fine as FP32.
MOST_STEPS, FREE_STEPS = 2.0**31 / 1.0001, 2.0**24
#: The smallest multiplier of a layer from 16 bits to 16: twice the smallest that the HTP takes. The
#: largest input, times the rounding of a weight, is then 1/256 of the output's step.
LEAST_MULTIPLIER = 2.0**-23


class Quantiser(QDQQuantizer):  # type: ignore[misc]  # onnxruntime has no types
    """Puts QuantizeLinear and DequantizeLinear into a graph, given ranges."""

    def adjust_tensor_ranges(self) -> None:
        """Change ranges before scales follow from them.

        A softmax keeps its own range, and so does a tensor that has readers beside a Relu or Clip:
        ONNX Runtime gives it the range of their result.
        """
        kept = {node.output[0] for node in self.model.nodes() if node.op_type == "Softmax"}
        kept |= {value.name for value in self.model.graph().output} | captured(self.model.model)
        given = {name: self.tensors_range[name] for name in kept if name in self.tensors_range}
        super().adjust_tensor_ranges()
        for name, data in given.items():
            self.tensors_range[name] = data
        for name in self.tensors_range:
            low, high = (float(np.squeeze(end)) for end in self.tensors_range[name].range_value)
            if max(high, 0.0) - min(low, 0.0) < SMALLEST:
                self.tensors_range[name] = _range(0.0, FLOOR)

    def _calc_initializer_quant_params(self) -> dict[str, Any]:
        """Return the scales of constants; a zero constant has the scale of its neighbour."""
        found: dict[str, Any] = super()._calc_initializer_quant_params()
        for name, given in found.items():
            zero = self._zero(name, given)
            scale = np.array(given["scale"])
            if zero.any():
                living = scale[~zero]
                scale[zero] = np.median(living) if living.size else FLOOR / 255
                given["scale"] = scale
        return found

    def _zero(self, name: str, given: Any) -> NDArray[np.bool_]:
        """Return, for every scale of a constant, whether all its values are too small for it."""
        sizes = np.abs(self._values(name))
        if given["scale"].ndim:
            sizes = np.moveaxis(sizes, given["axis"], 0).reshape(given["scale"].size, -1).max(1)
        else:
            sizes = sizes.max(initial=0.0)
        return np.asarray(sizes < SMALLEST)

    def _values(self, name: str) -> NDArray[Any]:
        return numpy_helper.to_array(self.model.get_initializer(name))

    def _adjust_weight_quant_params_for_bias_tensors(self) -> None:
        """Give weights scales that leave their bias room in 32 bits, and multipliers that work."""
        for name, info in self._biases():
            step = float(self.quantization_params[info.input_name]
                         .get_for_consumer(info.node_name)["scale"])  # fmt: skip
            given = self.initializer_quant_params[info.weight_name]
            scale, bias = given["scale"], np.abs(self._values(name).astype(np.float64))
            if not scale.ndim:
                bias = bias.max(initial=0.0)
            zero = self._zero(info.weight_name, given) & (bias > 0)
            wanted = np.where(zero, bias / step / FREE_STEPS,
                              np.maximum(scale, bias / step / MOST_STEPS))  # fmt: skip
            given["scale"] = np.maximum(wanted, SMALLEST / 2**16).astype(scale.dtype)
        for given, least in self._multipliers():
            given["scale"] = np.maximum(given["scale"], least).astype(given["scale"].dtype)

    def _multipliers(self) -> Iterator[tuple[Any, float]]:
        """Yield the weights of layers from 16 bits to 16 bits, and the least scale of each."""
        for node in self.model.nodes():
            places = [name for name in node.input[:2] if name in self.initializer_quant_params]
            if node.op_type not in LAYERS or len(places) != 1:
                continue
            signal = next(name for name in node.input[:2] if name != places[0])
            if signal in self.quantization_params and node.output[0] in self.quantization_params:
                read = self.quantization_params[signal].get_for_consumer(node.name)
                written = self.quantization_params[node.output[0]].original
                if {read["zero_point"].dtype.itemsize, written["zero_point"].dtype.itemsize} == {2}:
                    least = LEAST_MULTIPLIER * float(written["scale"]) / float(read["scale"])
                    yield self.initializer_quant_params[places[0]], least

    def _biases(self) -> Iterator[tuple[str, Any]]:
        """Yield the biases of products with constant weights, and their quantisation parameters."""
        for name, info in self.bias_to_quantize.items():
            if (
                info.input_name in self.quantization_params
                and info.weight_name in self.initializer_quant_params
                and self._operator(info.node_name) not in NORMS
            ):
                yield name, info

    def _operator(self, node: str) -> str:
        return str(next(n.op_type for n in self.model.nodes() if n.name == node))

    def quantize_bias_static_impl(
        self, bias_name: str, input_scale: Any, weight_scale: Any, beta: float = 1.0, **more: Any
    ) -> Any:
        """Quantise one bias; that of a norm to a scale of its own.

        `more` is passed on: ONNX Runtime 1.32 added the type of the scale, for graphs in FP16.
        """
        if self._operator(self.bias_to_quantize[bias_name].node_name) in NORMS:
            most = float(np.abs(self._values(bias_name)).max(initial=0.0))
            scale = np.array((most if most > SMALLEST else FLOOR) / FREE_STEPS, np.float32)
            input_scale, weight_scale, beta = scale, np.array(1, np.float32), 1.0
        return super().quantize_bias_static_impl(bias_name, input_scale, weight_scale, beta, **more)


def _range(low: float, high: float) -> TensorData:
    return TensorData(lowest=np.float32(low), highest=np.float32(high))
