"""Finds the tensors inside a quantised graph that lost most against the graph before.

A runtime of the recipe opens both graphs with some of their inner tensors as the outputs, a few at
a time, so that memory does not grow with the size of the graph. It runs window by window, so that
memory does not grow with their number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.formats.onnx_graph import inferred, loaded, save
from core.formats.tensors import contiguous
from core.measure.metrics import snr_of_powers

if TYPE_CHECKING:
    import onnx

    from core.plugin.progress import Progress
    from core.plugin.stages import Session
    from core.plugin.values import Array, Artifact, Tensors

__all__ = ["Lost", "worst"]

#: Bytes of inner tensors, in FP32, that each of the two graphs gives at once.
AT_ONCE = 256 * 2**20

Opens = Callable[["Artifact"], "Session"]


@dataclass(frozen=True)
class Lost:
    """What a tensor lost: its name and the operator that gives it in the graph before."""

    tensor: str
    operator: str
    snr_db: float


def worst(
    before: Artifact,
    after: Artifact,
    feeds: Sequence[Tensors],
    opens: Opens,
    count: int,
    folder: Path,
    progress: Progress,
) -> list[Lost]:
    """Return the `count` tensors with the lowest SNR over all of `feeds`, the worst first.

    A tensor is found in both graphs by its name. If it is rounded to integers after it was
    computed, its rounded values count. Tensors that only the graph before has (their operator was
    fused with another) are left out. Both artifacts are ONNX; `folder` takes the graphs that are
    opened.
    """
    first, second = inferred(Path(before.path)), loaded(Path(after.path))
    operators = {name: n.op_type for n in first.graph.node for name in n.output if name}
    pairs = _pairs(first, second, operators)
    sizes = {v.name: 4 * math.prod(d.dim_value or 1 for d in v.type.tensor_type.shape.dim)
             for v in first.graph.value_info}  # fmt: skip
    powers: dict[str, tuple[float, float]] = {}
    for names in _portions(list(pairs), sizes):
        progress(len(powers), len(pairs), "comparing tensors inside the graph")
        ours = _with_outputs(first, before, names, folder / "before" / "model.onnx")
        theirs = [pairs[name] for name in names]
        lowered = _with_outputs(second, after, theirs, folder / "after" / "model.onnx")
        powers |= _powers(ours, lowered, {n: pairs[n] for n in names}, feeds, opens)
    found = [Lost(n, operators[n], snr_of_powers(*power)) for n, power in powers.items()]
    return sorted(found, key=lambda lost: lost.snr_db)[:count]


def _pairs(
    before: onnx.ModelProto, after: onnx.ModelProto, operators: Mapping[str, str]
) -> dict[str, str]:
    """Return the tensors to compare: the name of each before, and after."""
    from onnx import TensorProto

    floats = {v.name for v in (*before.graph.value_info, *before.graph.output)
              if v.type.tensor_type.elem_type == TensorProto.FLOAT}  # fmt: skip
    constants = {n.output[0] for n in before.graph.node if n.op_type == "Constant"}
    made = {name for node in after.graph.node for name in node.output}
    rounded = {n.input[0]: n.output[0] for n in after.graph.node if n.op_type == "QuantizeLinear"}
    restored = {n.input[0]: n.output[0] for n in after.graph.node
                if n.op_type == "DequantizeLinear"}  # fmt: skip
    return {
        name: restored.get(rounded.get(name, ""), name)
        for name in operators
        if name in floats and name in made and name not in constants
    }


def _portions(names: list[str], sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield the names in portions of at most `AT_ONCE` bytes, or of one tensor."""
    portion: list[str] = []
    filled = 0
    for name in names:
        size = sizes.get(name, 0)
        if portion and filled + size > AT_ONCE:
            yield portion
            portion, filled = [], 0
        portion.append(name)
        filled += size
    if portion:
        yield portion


def _with_outputs(
    model: onnx.ModelProto, artifact: Artifact, names: Sequence[str], target: Path
) -> Artifact:
    """Write the graph with `names` as its only outputs; returns it as an artifact."""
    import onnx

    chosen = onnx.ModelProto()
    chosen.CopyFrom(model)
    del chosen.graph.output[:]
    # Neither type nor shape: the runtime infers both.
    chosen.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names))
    target.parent.mkdir(exist_ok=True)
    save(chosen, target)
    return replace(artifact, folder=str(target.parent), path=str(target))


def _powers(
    before: Artifact,
    after: Artifact,
    pairs: Mapping[str, str],
    feeds: Sequence[Tensors],
    opens: Opens,
) -> dict[str, tuple[float, float]]:
    """Return the powers of signal and noise of every tensor, summed over all windows."""
    import numpy as np

    powers = dict.fromkeys(pairs, (0.0, 0.0))
    with opens(before) as float_session, opens(after) as other:
        for window in map(contiguous, feeds):
            expected, got = float_session.run(window), other.run(window)
            for name, other_name in pairs.items():
                reference: Array = expected[name]
                # FP16 is widened before it is compared: its squares would overflow.
                noise = reference.astype(np.float64) - got[other_name]
                signal, error = powers[name]
                powers[name] = (
                    signal + float(np.sum(np.square(reference, dtype=np.float64))),
                    error + float(np.sum(np.square(noise))),
                )
    return powers
