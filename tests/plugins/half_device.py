"""A device that stores every value of a graph in FP16, played by ONNX Runtime in FP32.

ONNX Runtime's CPU has few FP16 kernels. It runs the neighbours of an FP16 node in FP32 and does not
round between them, so an overflow of a real device does not occur there. Here every FP16 tensor is
rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from core import Tensors

__all__ = ["half_device", "played_in_half"]


def half_device(path: str | Path) -> Callable[[Tensors], Tensors]:
    """Open an FP16 graph; every FP16 tensor is rounded to FP16, and sums are in FP32."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        _rounded(onnx.load(path)).SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    inputs = [value.name for value in session.get_inputs()]

    def play(given: Tensors) -> Tensors:
        known = {name: given[name] for name in inputs}
        return dict(zip(names, session.run(names, known), strict=True))

    return play


def played_in_half(path: str | Path, given: Tensors) -> Tensors:
    """Play an FP16 graph once on this device."""
    return half_device(path)(given)


def _rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Compute every FP16 node in FP32, and round its outputs to FP16 and back."""
    graph = model.graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            wide = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    types = {v.name: v.type.tensor_type.elem_type for v in graph.value_info}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        halves = [name for name in node.output if types.get(name) == TensorProto.FLOAT16]
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
        node.output[:] = [f"{name}.exact" if name in halves else name for name in node.output]
        nodes.append(node)
        for name in halves:
            cast = {"to": TensorProto.FLOAT16}
            nodes.append(helper.make_node("Cast", [f"{name}.exact"], [f"{name}.half"], **cast))
            cast = {"to": TensorProto.FLOAT}
            nodes.append(helper.make_node("Cast", [f"{name}.half"], [name], **cast))
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return model
