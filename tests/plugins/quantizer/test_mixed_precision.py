"""The parts of the quantizer `mixed`: groups, moves, and trials that replace the real graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from core import Calibration
from core.plugin.progress import silent
from plugins.quantizer._mixed_precision.assignment import given, lowered_by, most, moves, with_room
from plugins.quantizer._mixed_precision.choice import Chooser
from plugins.quantizer._mixed_precision.grouping import Group, GroupBy, groups_of
from plugins.quantizer._mixed_precision.levels import Level, config_of
from plugins.quantizer._mixed_precision.sensitivity import Sensitivity, predicted, snr_of
from plugins.quantizer._onnx import cleaned, inferred
from plugins.quantizer._onnx.calibration.collect import Method, collect
from plugins.quantizer._onnx.qdq.graph import prepared, quiet
from plugins.quantizer._windows.held import HeldBack, held_windows
from tests.plugins.networks import exported, feeds, hybrid, separator

BOTH = [Level.int8, Level.int16]


def _chain(*named: tuple[str, str]) -> onnx.ModelProto:
    """Return a graph of named nodes (operator, name), each of which reads the node before."""
    nodes, last = [], "x"
    for number, (operator, name) in enumerate(named):
        nodes.append(helper.make_node(operator, [last, "w"][: 1 + (operator == "MatMul")],
                                      [f"t{number}"], name))  # fmt: skip
        last = f"t{number}"
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 4], np.eye(4, dtype=np.float32).ravel())
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 4]) for name in ("x", last)]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], [weight])
    return onnx.shape_inference.infer_shapes(helper.make_model(graph))


def test_a_layer_takes_what_follows_it_and_the_first_what_comes_before() -> None:
    """A group is a layer with the nodes after it, and the first also has the nodes before it.

    A group counts its multiply-accumulates.
    """
    model = _chain(("Neg", "in"), ("MatMul", "a"), ("Relu", "ra"), ("MatMul", "b"), ("Relu", "rb"))
    assert groups_of(model, GroupBy.layer) == [
        Group("a", frozenset({"in", "a", "ra"}), 32),
        Group("b", frozenset({"b", "rb"}), 32),
    ]


def test_a_graph_that_multiplies_nothing_is_one_group() -> None:
    """A graph without products is one group."""
    (group,) = groups_of(_chain(("Neg", "n"), ("Relu", "r")), GroupBy.layer)
    assert (group.name, group.nodes, group.macs) == ("graph", {"n", "r"}, 0)


def test_a_block_is_a_scope_up_to_its_number() -> None:
    """A block is a scope up to its number.

    A node without a scope takes the next node's; without any, it is its own block.
    """
    model = _chain(
        ("MatMul", "/encoder.0/conv/MatMul"), ("MatMul", "/encoder.0/rewrite/MatMul"),
        ("MatMul", "Gemm_4"), ("Relu", "/encoder.1/act/Relu"),
        ("MatMul", "/head/MatMul"), ("MatMul", "last"),
    )  # fmt: skip
    assert [(g.name, g.macs) for g in groups_of(model, GroupBy.block)] == [
        ("/encoder.0", 64), ("/encoder.1", 32), ("/head", 32), ("last", 32),
    ]  # fmt: skip


def _sensitivity(name: str, macs: int, at_8: float, at_16: float = 0.0) -> Sensitivity:
    noise = {Level.int8: np.array([at_8, 0.0]), Level.int16: np.array([at_16, 0.0])}
    return Sensitivity(Group(name, frozenset(), macs), noise)


def test_moves_come_by_noise_per_saving() -> None:
    """Moves are ordered by noise per saved MAC, so a loud large group may come first."""
    found = [_sensitivity("small", 10, 1e-4), _sensitivity("large", 1000, 1e-3)]
    assert [move.group for move in moves(found, BOTH)] == ["large", "small"]


def test_a_group_goes_down_in_order() -> None:
    """A group goes to 16 bits before 8, even if 8 bits happen to be no louder."""
    found = [_sensitivity("a", 10, 1e-6, 1e-4), _sensitivity("b", 10, 1e-3, 1e-5)]
    steps = [(m.group, m.level.name) for m in moves(found, [*BOTH, Level.float])]
    assert steps == [("b", "int16"), ("a", "int16"), ("a", "int8"), ("b", "int8")]
    start = dict.fromkeys("ab", Level.float)
    taken = moves(found, [*BOTH, Level.float])[:3]
    assert lowered_by(start, taken) == {"a": Level.int8, "b": Level.int16}


def test_what_still_fits_is_lowered_too() -> None:
    """After a move that is too loud, a smaller move that fits the remaining noise is taken."""
    found = [_sensitivity("large", 1000, 1e-3), _sensitivity("small", 1, 1e-5)]
    steps = moves(found, BOTH)
    assert [m.group for m in with_room(steps, 0, np.array([2e-5, 2e-5]))] == ["small"]
    assert with_room(steps, 0, np.array([1e-6, 1e-6])) == []


@pytest.mark.parametrize("limit", [0, 1, 4, 9, 10])
def test_bisection_finds_the_last_that_holds(limit: int) -> None:
    """Bisection finds the last move that holds in at most six trials, or None."""
    tried: list[int] = []

    def holds(count: int) -> bool:
        tried.append(count)
        return count <= limit

    assert most(10, holds) == limit
    assert len(tried) <= 6
    assert most(10, lambda _: False) is None


def test_noises_add_up() -> None:
    """Noise powers of groups add up, the worst output counts, and float adds no noise."""
    found = [_sensitivity("a", 1, 1e-3), _sensitivity("b", 1, 1e-3)]
    assert predicted(found, dict.fromkeys("ab", Level.int8)) == pytest.approx(30 - 3.01, abs=0.01)
    assert predicted(found, {"a": Level.int8, "b": Level.float}) == pytest.approx(30)
    assert predicted(found, dict.fromkeys("ab", Level.float)) == 200
    assert snr_of(np.array([1e-2, 1e-5])) == pytest.approx(20)


def test_a_name_goes_before_a_pattern() -> None:
    """A group's name comes before a pattern in any order; of two patterns the later one counts."""
    groups = [Group(name, frozenset(), 0) for name in ("/a.0/x", "/a.0/y", "/b")]
    entries = {"/a.0/x": Level.float, "*": Level.int8, "/a.0/*": Level.int16}
    assert given(groups, entries) == {
        "/a.0/x": Level.float, "/a.0/y": Level.int16, "/b": Level.int8,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("promised", "given", "held", "others"),
    [(27, 27, [4, 13, 22], 24), (27, 6, [4], 5), (27, 1, [0], 1), (4, 4, [0, 1, 2, 3], 4)],
)
def test_windows_are_held_back_evenly(
    promised: int, given: int, held: list[int], others: int
) -> None:
    """Windows for the measurement are spread evenly and give no ranges, if there are enough."""
    stream = [{"x": np.full(1, number, np.float32)} for number in range(given)]
    split = HeldBack(Calibration(promised, lambda: stream), 3)
    for _ in range(2):
        assert len(list(split.others.feeds())) == others
        assert [int(window["x"][0]) for window in split.windows] == held
    assert split.enough is (promised > 5)


@pytest.mark.parametrize(
    ("count", "per_item", "held"),
    [(24, 4, [12, 13, 14, 15]), (24, 2, [12, 13]), (24, 24, [4, 12, 20]), (6, 3, [0, 1, 2])],
)
def test_whole_items_are_held_back(count: int, per_item: int, held: list[int]) -> None:
    """Whole items are held back, because windows of one song are similar."""
    stream = [{"x": np.full(1, number, np.float32)} for number in range(count)]
    wanted = 3 if per_item != 2 else 2
    assert held_windows(Calibration(count, lambda: stream, per_item), wanted) == held


def test_what_is_loudest_is_calibrated_on() -> None:
    """The loudest windows at any input serve calibration; their neighbours are held back."""
    stream = [{"x": np.full(1, 1, np.float32), "y": np.full(1, 1, np.float32)} for _ in range(24)]
    stream[4]["x"][:] = -9
    stream[5]["y"][:] = np.nan
    stream[13]["y"][:] = 9
    assert held_windows(Calibration(24, lambda: stream), 3) == [3, 12, 20]
    assert held_windows(Calibration(24, lambda: stream, 4), 8) == [0, 1, 2, 3, 16, 17, 18, 19]


@pytest.mark.parametrize("network", [separator, hybrid])
def test_a_trial_stands_for_the_real_graph(network: type, tmp_path: Path) -> None:
    """A trial's SNR is within 0.75 dB of the SNR of ONNX Runtime's integers, for every mixture."""
    model = network()
    source = exported(model, tmp_path / "export")
    windows = [feeds(model, seed) for seed in range(24)]
    with quiet():
        graph = prepared(cleaned(inferred(Path(source.path))), tmp_path)
        groups = groups_of(graph, GroupBy.layer)
        names = [node for group in groups for node in group.nodes]
        config = config_of(graph, dict.fromkeys(names, Level.int8), per_channel=True)
        ranges = collect(
            tmp_path / "float.onnx", Calibration(24, lambda: windows), config.op_types_to_quantize,
            Method.minmax, 99.999, silent(),
        )  # fmt: skip
        chooser = Chooser(graph, ranges, groups, windows[:3], tmp_path, True, silent())
        bench = chooser._bench(set(BOTH))
        for turn in range(4):
            levels = {g.name: BOTH[(number >> (turn % 2) | turn // 2) % 2]
                      for number, g in enumerate(groups)}  # fmt: skip
            _, real = chooser._quantised(bench, levels, tmp_path / "real.onnx")
            trial = snr_of(bench.noise(chooser._nodes(levels)))
            assert trial == pytest.approx(real, abs=0.75)
