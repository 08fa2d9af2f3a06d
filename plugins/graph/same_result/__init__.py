"""Compares two ONNX graphs on random inputs, for plugins that may not change what one computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core import StageError
from core.measure import snr_db
from core.onnx_cpu import session_options

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    import onnx
    import onnxruntime

    from core import Progress

__all__ = ["check_same", "free_axes"]


def free_axes(graph: onnx.GraphProto, sizes: Mapping[str, int]) -> list[str]:
    """Return the axes of the inputs whose length neither the graph nor `sizes` gives."""
    constants = {tensor.name for tensor in graph.initializer}
    return [
        axis.dim_param or f"{value.name}[{index}]"
        for value in graph.input
        if value.name not in constants
        for index, axis in enumerate(value.type.tensor_type.shape.dim)
        if not axis.HasField("dim_value") and axis.dim_param not in sizes
    ]


def check_same(
    before: Path,
    after: Path,
    times: int,
    tolerance_db: float,
    sizes: Mapping[str, int],
    progress: Progress,
) -> float:
    """Return the lowest SNR in dB of any output of `after` against `before`, over `times` inputs.

    Raises StageError, naming the worst output, when that is below `tolerance_db`. One graph is
    open at a time, so that a model of several gigabytes is not in memory twice.
    """
    expected = _play(before, times, sizes, progress, "playing the graph as it was")
    actual = _play(after, times, sizes, progress, "playing the rewritten graph")
    worst_db, worst = float("inf"), ""
    for reference, estimate in zip(expected, actual, strict=True):
        for name, array in reference.items():
            worst_db, worst = min((worst_db, worst), (snr_db(array, estimate[name]), name))
    if worst_db < tolerance_db:
        raise StageError(
            f"the rewritten graph computes something else: output `{worst}` has "
            f"{worst_db:.1f} dB SNR, below {tolerance_db:g} dB",
            f"measured: {times} random input(s), ONNX Runtime's CPU, against the graph before",
            "leave the stage out (graph=[]), or skip the step that is to blame",
        )
    return worst_db


def _play(
    path: Path, times: int, sizes: Mapping[str, int], progress: Progress, message: str
) -> list[dict[str, Any]]:
    """Play seeded random inputs, the same for every graph with the same inputs."""
    import numpy as np
    import onnxruntime

    options = session_options()
    # The optimisers would fuse both graphs to the same and hide what the rewrite did.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        str(path), sess_options=options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    played = []
    for index in range(times):
        progress(index, times, message)
        noise = np.random.default_rng(index)
        feeds = {i.name: _random(i, sizes, noise) for i in session.get_inputs()}
        played.append(dict(zip(names, session.run(names, feeds), strict=True)))
    return played


def _random(given: onnxruntime.NodeArg, sizes: Mapping[str, int], noise: Any) -> Any:
    """Return unit-variance noise, or zeros and ones for an input of whole numbers."""
    import numpy as np

    shape = [axis if isinstance(axis, int) else sizes[axis] for axis in given.shape]
    dtype = given.type.removeprefix("tensor(").removesuffix(")")
    numpy_name = {"float": "float32", "double": "float64"}.get(dtype, dtype)
    if numpy_name.startswith("float"):
        return noise.standard_normal(shape).astype(numpy_name)
    return noise.integers(0, 2, shape).astype(np.dtype(numpy_name))
