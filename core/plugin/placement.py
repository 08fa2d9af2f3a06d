"""What computed the nodes of a session's graph: on which device, and at which precision.

A runtime can put nodes on another device than the recipe asks for, or compute them at another
precision, with the same result and without a word. So each runtime gives counts from its own trace.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Placed", "Placement"]


@dataclass(frozen=True)
class Placed:
    """The number of `nodes` that one device computed at one precision.

    `device` is in words: "CPU", "HTP (emulated)", "NVIDIA RTX 4090". `precision` is "fp32", "bf16",
    "int8" or the like, and "" where the trace does not say. `asked` says whether the recipe asks
    for this device, and the graph for this precision.
    """

    device: str
    nodes: int
    precision: str = ""
    asked: bool = True


@dataclass(frozen=True)
class Placement:
    """What computed the nodes of a graph.

    `source` names the trace: "ONNX Runtime's profile", "OpenVINO's runtime model", "TensorRT's
    engine inspector". `left` are nodes that did not run as asked, each as its name and its
    operator; a few dozen at most.
    """

    source: str
    placed: tuple[Placed, ...]
    left: tuple[tuple[str, str], ...] = ()

    @property
    def nodes(self) -> int:
        """Return the number of all nodes."""
        return sum(one.nodes for one in self.placed)

    @property
    def unasked(self) -> tuple[Placed, ...]:
        """Return what did not run as asked."""
        return tuple(one for one in self.placed if one.nodes and not one.asked)

    @property
    def coverage(self) -> float:
        """Return the share of the nodes that ran as asked, 0 to 1; of no nodes it is 0."""
        asked = sum(one.nodes for one in self.placed if one.asked)
        return asked / self.nodes if self.nodes else 0.0
