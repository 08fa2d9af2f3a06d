"""Plays a float graph in which some nodes are as quantised graphs have them.

A trial takes from a wholly quantised graph what surrounds a node there: the scale of each tensor
that it reads or gives, and its weights with their rounding. Its integers are computed in float,
which rounds the same values; so a trial costs a second, where quantising anew costs many.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.onnx_file import save

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from core.values import Tensors
    from plugins.quantizer.mixing.levels import Level

    Noise = NDArray[np.float64]

__all__ = ["Bench", "played"]


@dataclass(frozen=True)
class _Pair:
    """How a tensor is quantised: the operator's domain and type, scale and zero point."""

    domain: str
    scale: onnx.TensorProto
    zero: onnx.TensorProto

    def nodes(self, tensor: str, target: str) -> list[onnx.NodeProto]:
        """Return the nodes that round `tensor` into `target`."""
        from onnx import helper

        middle = f"{target}/integers"
        ends = [self.scale.name, self.zero.name]
        return [
            helper.make_node("QuantizeLinear", [tensor, *ends], [middle], domain=self.domain),
            helper.make_node("DequantizeLinear", [middle, *ends], [target], domain=self.domain),
        ]


class _Surroundings:
    """What surrounds each node in a quantised graph, by the node's name and the tensor's place."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.made_by = {name: node for node in graph.node for name in node.output}
        self.nodes = {node.name: node for node in graph.node}
        self.quantised = {n.input[0]: n for n in graph.node if n.op_type == "QuantizeLinear"}

    def pair(self, node: onnx.NodeProto) -> _Pair:
        """Return what a QuantizeLinear or DequantizeLinear does."""
        return _Pair(node.domain, self.constants[node.input[1]], self.constants[node.input[2]])

    def read(self, node: str, place: int) -> _Pair | NDArray[Any] | None:
        """Return how an input is quantised, or the weights that it is; None for neither."""
        own = self.nodes.get(node)
        maker = self.made_by.get(own.input[place]) if own is not None else None
        if maker is None or maker.op_type != "DequantizeLinear":
            return None
        if maker.input[0] in self.constants:
            return _weights(maker, self.constants)
        return self.pair(maker)

    def given(self, node: str, place: int) -> _Pair | None:
        """Return how an output is quantised; None where it is not."""
        own = self.nodes.get(node)
        quantise = self.quantised.get(own.output[place]) if own is not None else None
        return None if quantise is None else self.pair(quantise)


def _weights(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> NDArray[Any]:
    """Return what a DequantizeLinear of constants gives, FP32."""
    import numpy as np
    from onnx import numpy_helper

    integers, scale, zero = (
        numpy_helper.to_array(constants[name]).astype(np.float32) for name in node.input[:3]
    )
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    if scale.size > 1:
        shape = [1] * integers.ndim
        shape[axis] = scale.size
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    rounded: NDArray[Any] = ((integers - zero) * scale).astype(np.float32)
    return rounded


class Bench:
    """The float graph, the graphs that are quantised at one level each, and a few windows.

    The weights of the float graph are written once, into `folder`; every trial is a small file
    beside them. `windows` are held in memory, with what the float graph gives for them.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        quantised: Mapping[Level, onnx.ModelProto],
        windows: Sequence[Tensors],
        folder: Path,
    ) -> None:
        import onnx

        self.path = folder / "trial.onnx"
        save(copy.deepcopy(model), self.path, beside=True)
        self.base = onnx.load(str(self.path), load_external_data=False)
        self.surroundings = {level: _Surroundings(graph) for level, graph in quantised.items()}
        self.windows = windows
        self.reference = list(played(self.path, windows))

    def noise(self, levels: Mapping[str, Level]) -> Noise:
        """Return the noise of a trial over the signal, in power, for every output of the graph.

        `levels` gives the nodes that are not float, by name.
        """
        import onnx

        onnx.save(self._trial(levels), self.path)
        return self._relative(played(self.path, self.windows))

    def noise_of(self, path: Path) -> Noise:
        """Return the same of a graph in a file."""
        return self._relative(played(path, self.windows, optimised=True))

    def _relative(self, results: Any) -> Noise:
        import numpy as np

        signal = np.zeros(len(self.base.graph.output))
        noise = np.zeros_like(signal)
        for expected, got in zip(self.reference, results, strict=True):
            for place, (a, b) in enumerate(zip(expected, got, strict=True)):
                signal[place] += np.sum(np.square(a, dtype=np.float64))
                noise[place] += np.sum(np.square(a.astype(np.float64) - b))
        # Silence that stays silent has no noise; silence that does not is all noise.
        relative: Noise = np.where(noise == 0, 0.0, noise / np.maximum(signal, 1e-30))
        return relative

    def _trial(self, levels: Mapping[str, Level]) -> onnx.ModelProto:
        """Return the float graph with the nodes of `levels` as they are at their level."""
        from onnx import helper, numpy_helper

        model = copy.deepcopy(self.base)
        graph = model.graph
        nodes = list(graph.node)
        constants: dict[str, onnx.TensorProto] = {}
        rounded: dict[str, list[onnx.NodeProto]] = {}
        del graph.node[:]
        for node in nodes:
            level = levels.get(node.name)
            around = self.surroundings.get(level) if level is not None else None
            if around is None:
                graph.node.append(node)
                continue
            for place, name in enumerate(node.input):
                found = around.read(node.name, place) if name else None
                if isinstance(found, _Pair):
                    target = f"{name}/{found.scale.name}/{level}"
                    if target not in rounded:
                        rounded[target] = _own(found, level, constants).nodes(name, target)
                        graph.node.extend(rounded[target])
                    node.input[place] = target
                elif found is not None:
                    target = f"{node.name}/{place}/weights"
                    constants[target] = numpy_helper.from_array(found, target)
                    node.input[place] = target
            after: list[onnx.NodeProto] = []
            for place, name in enumerate(node.output):
                given = around.given(node.name, place) if name else None
                if given is not None:
                    node.output[place] = f"{name}/float"
                    after += _own(given, level, constants).nodes(node.output[place], name)
            graph.node.extend([node, *after])
        graph.initializer.extend(constants.values())
        if all(entry.domain != "com.microsoft" for entry in model.opset_import):
            model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        return model


def _own(pair: _Pair, level: Level | None, constants: dict[str, onnx.TensorProto]) -> _Pair:
    """Return the pair with constants of its own names, which are added to `constants`."""
    named = []
    for tensor in (pair.scale, pair.zero):
        own = copy.deepcopy(tensor)
        own.name = f"{tensor.name}/{level}"
        constants[own.name] = own
        named.append(own)
    return _Pair(pair.domain, named[0], named[1])


def played(path: Path, windows: Sequence[Tensors], *, optimised: bool = False) -> Any:
    """Yield the outputs of a graph for every window, in the graph's order.

    Unoptimised, a session opens soonest, and computes integers in float; optimised, it computes
    as the runtime does, and adds exactly on processors without VNNI.
    """
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.add_session_config_entry("session.x64quantprecision", "1")
    # A session lives for a few windows: threads that wait by spinning would cost more than they do.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not optimised:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        str(path), sess_options=settings, providers=["CPUExecutionProvider"]
    )
    taken = [value.name for value in session.get_inputs()]
    for window in windows:
        yield session.run(None, {name: window[name] for name in taken})
