"""Optimisation profiles: from a recipe's ranges to those of every axis, and back to a window."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from core import StageError
from core.conformance.converter import onnx_artifact
from plugins.runtime._tensorrt.profiles import fitting, free_axes, resolved, shapes
from plugins.runtime.tensorrt import Flavour, TensorRtOptions

PATH = Path("model.onnx")
SHAPES: dict[str, list[int | str]] = {"mix": ["batch", 2, "time"], "mag": ["batch", 4, "mag[2]"]}
RANGES = {"batch": [1, 4, 8], "time": [100, 200, 300], "mag[2]": [1, 2, 3]}


def test_a_profile_gets_the_range_of_every_axis() -> None:
    """An axis of a fixed length has that length three times; a name serves all its axes."""
    assert resolved(SHAPES, [RANGES], PATH) == [
        {
            "mix": [(1, 4, 8), (2, 2, 2), (100, 200, 300)],
            "mag": [(1, 4, 8), (4, 4, 4), (1, 2, 3)],
        }
    ]


def test_a_graph_of_fixed_lengths_needs_no_profile() -> None:
    """Then TensorRT makes its own."""
    assert resolved({"x": [1, 3]}, [], PATH) == []


def test_a_free_axis_needs_a_range() -> None:
    """The error names the axis, and gives the option with every free axis in it."""
    with pytest.raises(StageError, match="leaves `batch` of `mix` free") as caught:
        resolved(SHAPES, [], PATH)
    assert "runtime.profiles=[{batch: [1, 4, 8], time: [1, 4, 8], mag[2]: [1, 4, 8]}]" in str(
        caught.value
    )
    with pytest.raises(StageError, match=r"no range for the free axis `mag\[2\]` of `mag`"):
        resolved(SHAPES, [{"batch": [1, 4, 8], "time": [1, 2, 3]}], PATH)


def test_a_range_of_an_axis_that_is_not_free_is_refused() -> None:
    """The error lists the free axes; without any, it says to leave the profiles out."""
    with pytest.raises(StageError, match="`hop`, which is no free axis") as caught:
        resolved(SHAPES, [{**RANGES, "hop": [1, 2, 3]}], PATH)
    assert "free axes: batch, time, mag[2]" in str(caught.value)
    with pytest.raises(StageError, match="`batch`, which is no free axis") as caught:
        resolved({"x": [1, 3]}, [{"batch": [1, 2, 3]}], PATH)
    assert "runtime.profiles=[]" in str(caught.value)


@pytest.mark.parametrize("ends", [[1, 2], [2, 1, 3], [1, 3, 2], [0, 1, 2], []])
def test_a_range_is_least_best_greatest(ends: list[int]) -> None:
    """Anything else is a ValueError of the options."""
    with pytest.raises(ValueError, match="the least, the best and the greatest"):
        TensorRtOptions(Flavour.rtx, ["8.9"], [{"batch": ends}])


def test_a_window_gets_the_first_profile_that_it_fits() -> None:
    """Both ends of a range are inside it."""
    profiles = resolved({"x": ["batch", 3]}, [{"batch": [1, 1, 1]}, {"batch": [2, 4, 8]}], PATH)
    assert fitting(profiles, {"x": (1, 3)}) == 0
    assert [fitting(profiles, {"x": (n, 3)}) for n in (2, 8)] == [1, 1]


def test_a_window_that_fits_no_profile_is_refused_by_its_axis() -> None:
    """The error gives the length, and the range of every profile."""
    profiles = resolved({"x": ["batch", 3]}, [{"batch": [1, 1, 1]}, {"batch": [2, 4, 8]}], PATH)
    with pytest.raises(StageError, match="axis 0 of `x` is 9 long, the engine takes 1") as caught:
        fitting(profiles, {"x": (9, 3)})
    assert "nor its profile 2: axis 0 of `x` is 9 long, the engine takes 2 to 8" in str(
        caught.value
    )
    with pytest.raises(StageError, match="axis 1 of `x` is 4 long, the engine takes 3"):
        fitting(profiles, {"x": (1, 4)})
    with pytest.raises(StageError, match="`x` has 1 axes, the engine takes 2"):
        fitting(profiles, {"x": (1,)})


def test_the_free_axes_of_a_file_are_found(tmp_path: Path) -> None:
    """A named axis has its name, one without a name is called by its input; weights are none."""
    given = onnx_artifact(tmp_path)
    model = onnx.load(given.path)
    axes = model.graph.input[0].type.tensor_type.shape.dim
    axes[0].dim_param = "batch"
    axes[3].Clear()
    weight = model.graph.initializer[0]
    model.graph.input.append(
        onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
    )
    onnx.save(model, given.path)
    found = shapes(Path(given.path))
    assert found == {"x": ["batch", 3, 16, "x[3]"]}
    assert [(a.input, a.index, a.name) for a in free_axes(found)] == [
        ("x", 0, "batch"), ("x", 3, "x[3]"),
    ]  # fmt: skip
