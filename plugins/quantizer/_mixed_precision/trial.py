"""Plays a float graph in which some nodes are quantised.

A trial copies the surroundings of a node from a wholly quantised graph: the scale of each tensor
that the node reads or writes, and its weights with their rounding. Integers are computed in float,
which rounds the same values; so a trial costs a second, where quantising anew costs many.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import Tensors
from core.formats.onnx_graph import save
from core.formats.onnx_session import session_options
from plugins.quantizer._mixed_precision.surroundings import Pair, Surroundings
from plugins.quantizer._onnx.graph.powers import powers

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from plugins.quantizer._mixed_precision.levels import Level

    Noise = NDArray[np.float64]

__all__ = ["Bench", "played"]

#: The least power that an output counts with, relative to the loudest: 60 dB below it.
QUIET = 1e-6


class Bench:
    """The float graph, the graphs that are quantised at one level each, and a few windows.

    The weights of the float graph are written once, into `folder`; every trial is a small file
    beside them. `windows` are held in memory, with the outputs of the float graph.
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
        # Before IR version 4 every constant was an input as well; those of a trial are none.
        self.base.ir_version = max(self.base.ir_version, 4)
        self.surroundings = {level: Surroundings(graph) for level, graph in quantised.items()}
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
        """Return the same noise for a graph in a file."""
        return self._relative(played(path, self.windows, optimised=True))

    def _relative(self, results: Any) -> Noise:
        import numpy as np

        signal = np.zeros(len(self.base.graph.output))
        noise = np.zeros_like(signal)
        for expected, got in zip(self.reference, results, strict=True):
            for place, (a, b) in enumerate(zip(expected, got, strict=True)):
                own, error = powers(a, b)
                signal[place] += own
                noise[place] += error
        # An output that happens to be silent has no SNR of its own: it counts as a quiet one.
        relative: Noise = noise / np.maximum(signal, max(QUIET * signal.max(), 1e-30))
        return relative

    def _trial(self, levels: Mapping[str, Level]) -> onnx.ModelProto:
        """Return the float graph with the nodes of `levels` quantised at their level."""
        from onnx import helper

        model = copy.deepcopy(self.base)
        nodes = list(model.graph.node)
        del model.graph.node[:]
        surrounded = _Surrounded()
        for node in nodes:
            level = levels.get(node.name)
            around = self.surroundings.get(level) if level is not None else None
            model.graph.node.extend(
                [node] if around is None else surrounded.nodes(node, around, str(level))
            )
        model.graph.initializer.extend(surrounded.constants.values())
        if all(entry.domain != "com.microsoft" for entry in model.opset_import):
            model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        return model


class _Surrounded:
    """Puts nodes of one graph into their surroundings; a tensor is rounded once per level."""

    def __init__(self) -> None:
        self.constants: dict[str, onnx.TensorProto] = {}
        self._rounded: set[str] = set()

    def nodes(self, node: onnx.NodeProto, around: Surroundings, level: str) -> list[onnx.NodeProto]:
        """Return the node, changed in place, between the nodes that round its tensors."""
        from onnx import numpy_helper

        before: list[onnx.NodeProto] = []
        after: list[onnx.NodeProto] = []
        for place, name in enumerate(node.input):
            found = around.read(node.name, place) if name else None
            if isinstance(found, Pair):
                node.input[place] = target = f"{name}/{found.scale.name}/{level}"
                if target not in self._rounded:
                    self._rounded.add(target)
                    before += found.renamed(level, self.constants).nodes(name, target)
            elif found is not None:
                node.input[place] = target = f"{node.name}/{place}/weights"
                self.constants[target] = numpy_helper.from_array(found, target)
        for place, name in enumerate(node.output):
            given = around.given(node.name, place) if name else None
            if given is not None:
                node.output[place] = f"{name}/float"
                after += given.renamed(level, self.constants).nodes(node.output[place], name)
        return [*before, node, *after]


def played(path: Path, windows: Sequence[Tensors], *, optimised: bool = False) -> Any:
    """Yield the outputs of a graph for every window, in the graph's order.

    An unoptimised session opens soonest, and computes integers in float; an optimised one computes
    as the runtime does, and adds exactly on processors without VNNI.
    """
    import onnxruntime

    settings = session_options()
    settings.add_session_config_entry("session.x64quantprecision", "1")
    if not optimised:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        str(path), sess_options=settings, providers=["CPUExecutionProvider"]
    )
    taken = [value.name for value in session.get_inputs()]
    for window in windows:
        yield session.run(None, {name: window[name] for name in taken})
