"""Activations that pass the ranges of a quantised graph: found, counted, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from core.formats.calibrated_ranges import held_ranges, write_seen
from core.steps.saturation import Passed, Watch

SHAPE = [1, 512]
#: The scale of an 8-bit range from -1 to 1.
STEP = 2 / 255


def _model(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, SHAPE)],
        constants,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def float_graph() -> onnx.ModelProto:
    """Return a graph that computes y = -x."""
    return _model([helper.make_node("Neg", ["x"], ["y"], name="neg")], [])


def lowered_graph() -> onnx.ModelProto:
    """Return the same with 8-bit integers from -1 to 1 around its node."""
    ends = ["scale", "zero"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *ends], ["x_q"]),
        helper.make_node("DequantizeLinear", ["x_q", *ends], ["x_d"]),
        helper.make_node("Neg", ["x_d"], ["y_QuantizeLinear_Input"], name="neg"),
        helper.make_node("QuantizeLinear", ["y_QuantizeLinear_Input", *ends], ["y_q"]),
        helper.make_node("DequantizeLinear", ["y_q", *ends], ["y"]),
    ]
    constants = [
        numpy_helper.from_array(np.float32(STEP), "scale"),
        numpy_helper.from_array(np.uint8(128), "zero"),
    ]
    model = _model(nodes, constants)
    write_seen(model, {"x": (-0.5, 0.5), "y": (-0.5, 0.5), "elsewhere": (0, 1)})
    return model


def feeds(peak: float, count: int = 2) -> Iterator[dict[str, np.ndarray]]:
    """Yield windows that reach `peak` on both sides."""
    for _ in range(count):
        yield {"x": np.linspace(-peak, peak, SHAPE[1], dtype=np.float32).reshape(SHAPE)}


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    """Open both graphs."""
    onnx.save(float_graph(), tmp_path / "given.onnx")
    lowered = lowered_graph()
    return Watch(tmp_path / "given.onnx", lowered, held_ranges(lowered), tmp_path)


def test_a_graph_tells_what_its_tensors_can_be() -> None:
    """Ranges go by the float graph's names; calibration values of other tensors are not kept."""
    held = held_ranges(lowered_graph())
    assert held.keys() == {"x", "y"}
    assert held["y"].held == pytest.approx((-128 * STEP, 127 * STEP))
    assert held["y"].seen == (-0.5, 0.5)


def test_metadata_of_others_tells_nothing() -> None:
    """Metadata of other tools, which may hold anything, gives no ranges."""
    model = lowered_graph()
    model.metadata_props[0].value = '{"x": "wide"}'
    assert held_ranges(model)["x"].seen is None


def test_what_stays_within_is_no_news(watch: Watch) -> None:
    """Values that are neither clipped nor beyond the calibration give no notice."""
    passed = watch.passed("quiet", feeds(0.5), watch.snrs(watch.play(feeds(0.5))))
    assert (passed.tensors, passed.unseen, passed.clipped) == (2, 0, 0)
    assert passed.notice() is None


def test_what_was_not_seen_is_counted(watch: Watch) -> None:
    """Unseen values within the range are counted without a notice, because they cost nothing."""
    passed = watch.passed("louder", feeds(0.9), watch.snrs(watch.play(feeds(0.5))))
    assert (passed.unseen, passed.clipped) == (2, 0)
    assert passed.notice() is None


def test_what_is_clipped_is_a_warning_with_its_cost(watch: Watch) -> None:
    """The warning names the item, the tensors, the excess, and the SNR beside the promised one."""
    promise = watch.snrs(watch.play(feeds(0.5)))
    passed = watch.passed("a loud song", feeds(3.0), promise)
    assert passed.clipped == 2
    assert passed.factor == pytest.approx(3.0, rel=0.02)
    signal = np.linspace(-3, 3, SHAPE[1])
    lost = signal - np.clip(signal, -128 * STEP, 127 * STEP)
    expected = 10 * np.log10(np.sum(signal**2) / np.sum(lost**2))
    assert passed.snr_db == pytest.approx(expected, abs=0.1)
    notice = passed.notice()
    assert notice is not None
    assert notice.severity == "warning"
    for part in ("a loud song", "2 of 2", "3.0 times", f"{passed.snr_db:.1f} dB", "calibration"):
        assert part in notice.text


def test_what_calibration_data_has_as_well_is_no_news(watch: Watch) -> None:
    """Values that calibration clips too give no notice: a range may leave out a mask on purpose."""
    promise = watch.promised(feeds(3.0))
    assert watch.passed("a song", feeds(2.9), promise).clipped == 0
    louder = watch.passed("a song", feeds(3.1), promise)
    assert (louder.clipped, louder.factor) == (2, pytest.approx(3.1, rel=0.01))


def test_a_mask_of_infinity_hides_no_end(watch: Watch) -> None:
    """A mask of infinity is known from the calibration; the other end is still checked."""

    def masked(peak: float) -> Iterator[dict[str, np.ndarray]]:
        for window in feeds(peak):
            window["x"][0, 0] = -np.inf
            yield window

    promise = watch.promised(masked(0.5))
    assert watch.passed("a song", masked(0.9), promise).clipped == 0
    assert watch.passed("a song", masked(2.0), promise).factor == pytest.approx(2.0, rel=0.02)


def test_what_is_clipped_and_costs_nothing_is_told() -> None:
    """A rare clipped peak is reported as harmless where the promise is held."""
    passed = Passed("song", 80, 3, 1, "h", 1.3, "y", 33.0, 35.0)
    notice = passed.notice()
    assert notice is not None
    assert notice.severity == "info"
    assert replace(passed, clipped=0).notice() is None


def test_an_item_that_fares_worse_without_clipping_is_told() -> None:
    """A far quieter item loses to the step size, not to clipping, and is reported."""
    passed = Passed("whisper", 80, 0, 0, "h", 0.1, "y", 12.0, 35.0)
    notice = passed.notice()
    assert notice is not None
    assert notice.severity == "warning"
    assert "12.0 dB" in notice.text
