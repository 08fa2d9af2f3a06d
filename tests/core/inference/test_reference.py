"""The FP32 reference: its signature, its copies, and one answer to one window."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from core import InputError, ModelInfo, Notice, Signature, TensorSpec, TorchModel
from core.errors import PluginError
from core.inference.reference import Reference

LINE = TensorSpec("x", ("channel", "place"), (2, "place"))
SIGNATURE = Signature((LINE,), (TensorSpec("y", ("channel", "place"), (2, "place")),))
WINDOW = {"x": np.arange(8, dtype=np.float32).reshape(2, 4)}


def reference(
    made: Callable[[], Callable[[Mapping[str, Any]], Mapping[str, Any]]],
) -> tuple[Reference, list[Notice]]:
    """Return the reference of a model that `made` opens, and what it tells."""
    info = ModelInfo(SIGNATURE, ("x",), ("y",))

    def opened() -> TorchModel:
        return TorchModel(info, None, made())  # type: ignore[arg-type]  # nothing exports it

    told: list[Notice] = []
    return Reference(opened(), "model `toy`", opened, told.append), told


def counting() -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """Return a forward pass that multiplies by the number of its calls."""
    calls = iter(range(1, 9))
    return lambda inputs: {"y": inputs["x"] * np.float32(next(calls))}


def test_what_changes_is_told_and_begins_anew() -> None:
    """A module that changes is reported, and its second call of the first window is discarded."""
    run, told = reference(counting)
    assert [float(run(WINDOW)["y"][0, 1]) for _ in range(3)] == [1, 2, 3]
    (notice,) = told
    assert notice.severity == "danger"
    assert "(-0.0 dB SNR)" in notice.text or "(0.0 dB SNR)" in notice.text


def test_what_does_not_change_is_called_once_a_window() -> None:
    """An unchanging module is called once per window, except the first, which is called twice."""
    calls = 0

    def made() -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
        def run(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
            nonlocal calls
            calls += 1
            return {"y": inputs["x"] * 2}

        return run

    run, told = reference(made)
    for _ in range(3):
        run(WINDOW)
    assert (calls, told) == (4, [])


def test_nothing_is_shared() -> None:
    """Arrays are copied, since a module may write to its input or return its own buffer."""
    buffer = np.zeros((2, 4), np.float32)

    def overwriting(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        inputs["x"][:] *= 2
        buffer[:] = inputs["x"]
        return {"y": buffer}

    given = {"x": WINDOW["x"].copy()}
    run, told = reference(lambda: overwriting)
    first = run(given)["y"]
    run({"x": given["x"] + 1})
    np.testing.assert_array_equal(given["x"], WINDOW["x"])
    np.testing.assert_array_equal(first, WINDOW["x"] * 2)
    assert told == []


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ({}, "gives nothing for its output `y`"),
        ({"y": WINDOW["x"][0]}, r"float32 of shape \(4,\)"),
        ({"y": WINDOW["x"].astype(np.float64)}, "gives float64"),
        ({"y": WINDOW["x"][:1]}, r"float32 of shape \(1, 4\)"),
    ],
)
def test_outputs_that_are_not_those_of_the_signature_are_refused(
    output: Mapping[str, Any], said: str
) -> None:
    """Outputs with another name, axes, type or fixed lengths are refused."""
    run, _ = reference(lambda: lambda _: output)
    with pytest.raises(PluginError, match=said) as caught:
        run(WINDOW)
    assert "its signature says: float32, 2 channel × place" in str(caught.value)


def test_a_window_of_another_length_is_refused() -> None:
    """A window of another length is refused before the module fails in its own words."""
    run, _ = reference(counting)
    with pytest.raises(InputError, match="is 1 channel × 4 place, but the model takes 2 channel"):
        run({"x": WINDOW["x"][:1]})
