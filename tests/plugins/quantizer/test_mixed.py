"""The quantizer `mixed`: groups, their costs, the cheapest assignment, and its reuse."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from core import (
    Artifact,
    ArtifactSpec,
    Calibration,
    ModelInfo,
    Progress,
    Signature,
    StageContext,
    StageError,
    StageResult,
)
from core.conformance import QuantizerSuite
from core.measure.metrics import snr_db
from plugins.quantizer._mixed_precision.grouping import GroupBy
from plugins.quantizer._mixed_precision.levels import Level
from plugins.quantizer.mixed import Mixed, MixedOptions
from tests.plugins.networks import (
    artifact,
    exported,
    feeds,
    outputs,
    played,
    separator,
    work_in,
)

DOWN, MIX, UP = "/down/Conv", "/mix/Conv", "/up/ConvTranspose"


class TestConformance(QuantizerSuite):
    """`mixed` keeps every quantizer's contract."""

    plugin = Mixed
    options: ClassVar[MixedOptions] = MixedOptions(min_snr_db=28.0)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Return a network of three layers, exported once."""
    return exported(separator(), tmp_path_factory.mktemp("separator") / "export")


def _made(source: Artifact, folder: Path, **options: object) -> tuple[StageResult, list[str]]:
    """Quantise, and return the result and the progress messages."""
    model, said = separator(), []
    plugin = Mixed(MixedOptions(**options))
    count = plugin.calibration_windows
    told = Progress(lambda _done, _total, message: said.append(message))
    work = StageContext(work_in(folder).folder, told)
    calibration = Calibration(count, lambda: (feeds(model, seed) for seed in range(count)))
    return plugin.run(source, calibration, work), said


def _levels(made: StageResult) -> dict[str, str]:
    return dict(made.chosen_options["assignment"])


def test_everything_has_8_bits_where_that_holds(source: Artifact, tmp_path: Path) -> None:
    """If 8 bits hold the limit everywhere, every group gets 8 bits."""
    made, _ = _made(source, tmp_path / "made", min_snr_db=20.0)
    assert _levels(made) == dict.fromkeys((DOWN, MIX, UP), "int8")
    assert made.facts["activations_16_bit"] == 0
    assert made.notices[0].text == "100% of the multiply-accumulates have 8 bits"


def test_the_cheapest_assignment_keeps_8_bits_where_most_is_computed(
    source: Artifact, tmp_path: Path
) -> None:
    """The layer with most MACs gets 8 bits, some layer 16 bits, and the limit holds."""
    made, _ = _made(source, tmp_path / "made", min_snr_db=34.5)
    assert _levels(made)[DOWN] == "int8"
    assert "int16" in _levels(made).values()
    assert float(str(made.facts["snr_db"])) >= 34.5
    model = separator()
    given = feeds(model, seed=99)
    got = played(artifact(made, model.info), given)
    assert snr_db(outputs(model, given)["stems"], got["stems"]) > 32
    assert made.precision == "mixed"
    assert Mixed(MixedOptions()).plan(source.spec) == ArtifactSpec("onnx", "mixed")


def _chart(made: StageResult) -> list[Any]:
    """Return the rows of the fact `sensitivity`."""
    chart = made.facts["sensitivity"]
    assert isinstance(chart, list)
    return chart


def test_the_chart_has_a_row_per_group(source: Artifact, tmp_path: Path) -> None:
    """The chart has each group's name, MACs, SNR alone at 8 and 16 bits, and level.

    The noise powers of the groups add up.
    """
    made, said = _made(source, tmp_path / "made", min_snr_db=34.5)
    chart = _chart(made)
    assert [row["name"] for row in chart] == [DOWN, MIX, UP]
    assert {row["name"]: row["level"] for row in chart} == _levels(made)
    alone = [row["snr_8_db" if row["level"] == "int8" else "snr_16_db"] for row in chart]
    assert all(row["snr_16_db"] > row["snr_8_db"] + 5 for row in chart)
    total = -10 * np.log10(sum(10 ** (-db / 10) for db in alone))
    assert float(str(made.facts["predicted_snr_db"])) == pytest.approx(total, abs=0.02)
    assert float(str(made.facts["snr_db"])) == pytest.approx(total, abs=2)
    assert f"sensitivity 2 of 3: {MIX}" in said


def test_blocks_share_a_level(tmp_path: Path) -> None:
    """With `group_by=block`, layers under one numbered scope are one group."""
    info = ModelInfo(Signature((), ()), ("x",), ("y",))
    rng = np.random.default_rng(0)
    names = ["/encoder.0/conv/Conv", "/encoder.0/rewrite/Conv", "/encoder.1/conv/Conv"]
    tensors = ["x", "a", "b", "y"]
    nodes = [
        helper.make_node("Conv", [tensors[i], f"w{i}"], [tensors[i + 1]], name=name)
        for i, name in enumerate(names)
    ]
    weights = [
        onnx.numpy_helper.from_array(rng.standard_normal((4, 4, 1)).astype(np.float32), f"w{i}")
        for i in range(3)
    ]
    source = _graph(nodes, tmp_path / "given", info, shape=[1, 4, 32], weights=weights)
    plugin = Mixed(MixedOptions(group_by=GroupBy.block, min_snr_db=10.0, windows=4))
    windows = [{"x": rng.standard_normal((1, 4, 32)).astype(np.float32)} for _ in range(7)]
    made = plugin.run(source, Calibration(7, lambda: windows), work_in(tmp_path / "made"))
    assert list(_levels(made)) == ["/encoder.0", "/encoder.1"]
    assert _chart(made)[0]["macs"] == 2 * 4 * 4 * 32


def test_an_assignment_is_used_again_without_an_analysis(source: Artifact, tmp_path: Path) -> None:
    """A chosen assignment gives the same file again, without a measurement of the groups."""
    first, _ = _made(source, tmp_path / "first", min_snr_db=34.5)
    given = {name: Level[level] for name, level in _levels(first).items()}
    again, said = _made(source, tmp_path / "again", min_snr_db=34.5, assignment=given)
    assert again.path.read_bytes() == first.path.read_bytes()
    assert _levels(again) == _levels(first)
    assert not any(message.startswith("sensitivity") for message in said)
    assert "predicted_snr_db" not in again.facts
    assert all(row["snr_8_db"] is row["snr_16_db"] is None for row in _chart(again))


def test_an_assignment_edited_by_hand_is_followed(source: Artifact, tmp_path: Path) -> None:
    """A handmade assignment is followed, and a missed limit is only a warning.

    A pattern serves many groups, and a name comes before a pattern.
    """
    hand = {UP: Level.float, "*Conv*": Level.int8}
    made, _ = _made(source, tmp_path / "made", min_snr_db=60.0, assignment=hand)
    assert _levels(made) == {DOWN: "int8", MIX: "int8", UP: "float"}
    assert made.facts["float_nodes"] == 2
    assert [n.severity for n in made.notices] == ["info", "warning"]
    assert "less than the 60 dB of `min_snr_db`" in made.notices[1].text


def test_only_what_is_not_given_is_analysed(source: Artifact, tmp_path: Path) -> None:
    """A given group keeps its level, and only the other groups are analysed."""
    made, said = _made(source, tmp_path / "made", min_snr_db=20.0, assignment={MIX: Level.int16})
    assert _levels(made) == {DOWN: "int8", MIX: "int16", UP: "int8"}
    assert [m for m in said if m.startswith("sensitivity")] == [
        f"sensitivity 1 of 2: {DOWN}", f"sensitivity 2 of 2: {UP}",
    ]  # fmt: skip


def test_an_assignment_that_names_no_group_is_refused(source: Artifact, tmp_path: Path) -> None:
    """An assignment with an unknown group is refused, with the nearest name."""
    with pytest.raises(StageError, match="`/dwon/Conv`, which is not a group") as caught:
        _made(source, tmp_path / "made", assignment={"/dwon/Conv": Level.int8})
    assert f"did you mean `{DOWN}`" in str(caught.value)


def test_a_limit_out_of_reach_is_refused_with_the_best_there_is(
    source: Artifact, tmp_path: Path
) -> None:
    """A limit out of reach is refused with the best SNR, the worst groups and a remedy."""
    with pytest.raises(
        StageError, match=r"no assignment holds 90 dB: the best one reaches 4\d\.\d dB"
    ) as c:
        _made(source, tmp_path / "made", min_snr_db=90.0)
    assert "quantizer.levels=[int8,int16,float]" in str(c.value)
    said = r"worst at int16, each alone: `(\S+)` (\d\S+) dB, `(\S+)` (\d\S+) dB"
    worst = re.search(said, str(c.value))
    assert worst is not None
    assert {worst[1], worst[3]} < {DOWN, MIX, UP}
    assert float(worst[2]) <= float(worst[4])


def test_float_is_an_answer_where_it_is_allowed(source: Artifact, tmp_path: Path) -> None:
    """With the level `float` allowed, some layers stay in float.

    If all layers would stay in float, it is an error.
    """
    levels = [Level.int8, Level.float]
    made, _ = _made(source, tmp_path / "made", min_snr_db=35.0, levels=levels)
    assert _levels(made) == {DOWN: "int8", MIX: "float", UP: "float"}
    with pytest.raises(StageError, match="no assignment with a quantised group holds 90 dB") as c:
        _made(source, tmp_path / "none", min_snr_db=90.0, levels=levels)
    assert "precision=fp32" in str(c.value)


def test_a_graph_with_nothing_to_quantise_is_refused(tmp_path: Path) -> None:
    """A graph of whole numbers is refused, because it has nothing to quantise."""
    info = ModelInfo(Signature((), ()), ("x",), ("y",))
    node = helper.make_node("Neg", ["x"], ["y"], name="neg")
    source = _graph([node], tmp_path / "given", info, dtype=TensorProto.INT64)
    with pytest.raises(StageError, match="the graph has nothing to quantise"):
        Mixed(MixedOptions()).run(source, Calibration(1, lambda: ()), work_in(tmp_path / "made"))


def test_ranges_do_not_see_what_is_measured(source: Artifact, tmp_path: Path) -> None:
    """Windows for the measurement give no ranges; a single window serves both."""
    made, _ = _made(source, tmp_path / "many", min_snr_db=20.0)
    assert made.facts["calibration_windows"] == 24
    model = separator()
    plugin = Mixed(MixedOptions(min_snr_db=20.0))
    one = Calibration(27, lambda: [feeds(model)])
    made = plugin.run(source, one, work_in(tmp_path / "one"))
    assert made.facts["calibration_windows"] == 1


def test_too_few_windows_choose_nothing(source: Artifact, tmp_path: Path) -> None:
    """Too few windows give every group the most bits, a warning, and no chosen assignment."""
    model = separator()
    two = Calibration(2, lambda: (feeds(model, seed) for seed in range(2)))
    made = Mixed(MixedOptions(min_snr_db=1.0)).run(source, two, work_in(tmp_path / "made"))
    assert {row["level"] for row in _chart(made)} == {"int16"}
    assert made.chosen_options == {}
    assert "2 calibration window(s) are too few" in made.notices[1].text
    assert "27 are enough" in made.notices[1].text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"windows": 0}, "`windows` cannot be 0"),
        ({"held_windows": 0}, "`held_windows` cannot be 0"),
        ({"percentile": 101}, "`percentile` cannot be 101"),
        ({"levels": [Level.float]}, "`levels` quantises nothing"),
    ],
)
def test_numbers_that_cannot_be_are_refused(options: dict[str, object], message: str) -> None:
    """An option without sense is refused by its name."""
    with pytest.raises(ValueError, match=message):
        MixedOptions(**options)


def _graph(
    nodes: list[onnx.NodeProto],
    folder: Path,
    info: ModelInfo,
    *,
    dtype: int = TensorProto.FLOAT,
    shape: tuple[int, ...] | list[int] = (1, 4),
    weights: list[onnx.TensorProto] | None = None,
) -> Artifact:
    ends = [helper.make_tensor_value_info(name, dtype, shape) for name in "xy"]
    graph = helper.make_graph(nodes, "test", ends[:1], ends[1:], weights or [])
    path = work_in(folder).folder / "model.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path)
    return artifact(StageResult(path, "onnx", "fp32"), info)
