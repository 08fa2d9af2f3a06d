"""Ranges from a stream of windows: their values, refusals, and memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from core import Calibration, InputError, StageError
from core.plugin.progress import silent
from plugins.quantizer._onnx.calibration.collect import Method, Ranges, collect

SHAPE = (1, 4, 64)
#: Collects ranges over a given number of windows, and prints its peak memory in MB.
MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np
from core import Calibration
from core.plugin.progress import silent
from plugins.quantizer._onnx.calibration.collect import Method, collect
path, windows, method = Path(sys.argv[1]), int(sys.argv[2]), Method[sys.argv[3]]
def window(seed):
    return {"x": np.random.default_rng(seed).random((1, 4, 100_000), np.float32) - 0.5}
stream = Calibration(windows, lambda: map(window, range(windows)))
collect(path, stream, ["Relu", "Neg"], method, 99.9, silent())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
"""


def chain(path: Path, operators: list[str], shape: tuple[int | str, ...] = SHAPE) -> Path:
    """Write operators of one input, one after the other, from `x` to `y`; returns the path."""
    names = ["x", *(f"t{index}" for index in range(1, len(operators))), "y"]
    nodes = [
        helper.make_node(operator, [names[i]], [names[i + 1]])
        for i, operator in enumerate(operators)
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


def windows(count: int, shape: tuple[int, ...] = SHAPE) -> list[dict[str, np.ndarray]]:
    """Return windows of noise, each louder than the one before."""
    random = np.random.default_rng(0)
    return [
        {"x": (random.standard_normal(shape) * (index + 1)).astype(np.float32)}
        for index in range(count)
    ]


def ranges(
    path: Path, given: list[dict[str, np.ndarray]], method: Method = Method.minmax
) -> Ranges:
    """Collect the ranges around Relu and Neg."""
    stream = Calibration(len(given), lambda: given)
    return collect(path, stream, ["Relu", "Neg"], method, 99.9, silent())


def ends(found: Ranges, name: str) -> list[float]:
    """Return the two ends of a range."""
    return [float(end[0]) for end in found.tensors[name].range_value]


def test_extremes_are_those_of_all_windows(tmp_path: Path) -> None:
    """Ranges are the exact extremes of all windows, for inputs, computed and rearranged tensors."""
    given = windows(3)
    found = ranges(chain(tmp_path / "m.onnx", ["Neg", "Transpose", "Relu"]), given)
    values = np.concatenate([feeds["x"] for feeds in given])
    assert ends(found, "x") == [values.min(), values.max()]
    assert ends(found, "t1") == ends(found, "t2") == [-values.max(), -values.min()]
    assert ends(found, "y") == [0, -values.min()]
    assert found.windows == 3


@pytest.mark.parametrize("method", [Method.percentile, Method.mse])
def test_other_methods_leave_the_outermost_values_out(method: Method, tmp_path: Path) -> None:
    """Percentile and MSE leave out the rare outermost values of noise."""
    shape = (1, 4, 16_000)
    path = chain(tmp_path / "m.onnx", ["Neg"], shape)
    given = [windows(1, shape)[0]] * 4
    least, most = ends(ranges(path, given), "y")
    low, high = ends(ranges(path, given, method), "y")
    assert least < low < 0 < high < most
    assert high - low < 0.95 * (most - least)


def test_a_graph_of_any_length_takes_windows_of_one(tmp_path: Path) -> None:
    """A graph with free axes takes their lengths from the first window."""
    path = chain(tmp_path / "m.onnx", ["Neg", "Relu"], (1, 4, "time"))
    assert ends(ranges(path, windows(2), Method.mse), "y")[1] > 1


def test_a_window_of_another_shape_is_refused(tmp_path: Path) -> None:
    """The error for a window of another shape has the window, the tensor and both shapes."""
    given = [*windows(1), *windows(1, (1, 4, 65))]
    with pytest.raises(InputError) as caught:
        ranges(chain(tmp_path / "m.onnx", ["Neg"]), given)
    assert caught.value.what == (
        "calibration window 2 gives `x` the shape 1×4×65, but the graph takes 1×4×64"
    )


def test_a_window_without_an_input_is_refused(tmp_path: Path) -> None:
    """The error for a window without an input names the missing and the given inputs."""
    given = [{"mixture": windows(1)[0]["x"]}]
    with pytest.raises(InputError, match="window 1 lacks the graph's input `x`") as caught:
        ranges(chain(tmp_path / "m.onnx", ["Neg"]), given)
    assert caught.value.lines[:2] == ("it gives: mixture", "the graph takes: x")


def test_an_input_that_the_graph_lacks_is_left_out(tmp_path: Path) -> None:
    """An input that the graph lacks is ignored, because exporters drop unused inputs."""
    given = [{**windows(1)[0], "unused": np.zeros(3, np.float32)}]
    assert ends(ranges(chain(tmp_path / "m.onnx", ["Neg"]), given), "y")[1] > 1


def test_a_nan_in_the_middle_of_a_tensor_is_found(tmp_path: Path) -> None:
    """A NaN inside a tensor is found, although ONNX Runtime's extremes skip it.

    Here it is the logarithm of a negative value.
    """
    given = [{"x": np.linspace(1, -1, 256, dtype=np.float32).reshape(SHAPE)}]
    given[0]["x"][given[0]["x"] == 0] = 0.5
    with pytest.raises(StageError, match="overflows on calibration data, first in the tensor `t1`"):
        ranges(chain(tmp_path / "m.onnx", ["Log", "Neg"]), given)


@pytest.mark.parametrize("method", [Method.minmax, Method.mse])
def test_memory_does_not_grow_with_the_windows(method: Method, tmp_path: Path) -> None:
    """60 more windows, with 1.2 GB of activations, take under 60 MB more memory.

    Each of 13 tensors has 1.6 MB.
    """
    path = chain(tmp_path / "m.onnx", ["Neg", "Relu"] * 6, (1, 4, 100_000))
    few, many = (
        float(
            subprocess.run(  # this Python, with our own program
                [sys.executable, "-c", MEMORY, str(path), str(count), method.name],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for count in (4, 64)
    )
    assert many < few + 60
