"""TensorRT-RTX builds engines here without a GPU, on two small convolutions."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from core import Artifact, DoesNotFitError, Progress, StageContext, StageError, StageResult
from core.conformance import RuntimeSuite
from core.conformance.converter import artifact, of, onnx_artifact, torch_model
from core.machine.child_process import Limits
from core.plugin.progress import silent
from plugins.runtime._tensorrt.driver import look
from plugins.runtime._tensorrt.library import FLAVOURS
from plugins.runtime._tensorrt.process import Wanted, build
from plugins.runtime.tensorrt import Flavour, TensorRt, TensorRtOptions
from tests.optional import needs

pytestmark = needs("tensorrt_rtx")
SHAPE = (1, 3, 16, 16)
ADA = TensorRtOptions(Flavour.rtx, ["8.9"])


class TestTensorRt(RuntimeSuite):
    """`tensorrt` keeps every runtime's contract."""

    plugin = TensorRt
    options = ADA


@pytest.fixture
def work(tmp_path: Path) -> StageContext:
    """Return an empty work folder."""
    (tmp_path / "work").mkdir()
    return StageContext(tmp_path / "work", silent())


def made(
    given: Artifact, work: StageContext, capability: str = "8.9", **options: Any
) -> StageResult:
    """Build an engine with TensorRT-RTX."""
    return TensorRt(TensorRtOptions(Flavour.rtx, [capability], **options)).compile(given, work)


def graph_of(
    folder: Path,
    nodes: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
    shape: tuple[int | str, ...] = SHAPE,
    precision: str = "fp32",
) -> Artifact:
    """Write a graph from `x` to `y` as an artifact."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        constants,
    )
    imports = [helper.make_opsetid("", 22), helper.make_opsetid("own", 1)]
    folder.mkdir()
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=10), folder / "m.onnx")
    return artifact(folder, folder / "m.onnx", "onnx", precision)


def typed(folder: Path, dtype: int, precision: str) -> Artifact:
    """Write a convolution that computes in a type of 16 bits."""
    weight = helper.make_tensor("w", dtype, [8, 3, 3, 3], [1.0] * 216)
    nodes = [
        helper.make_node("Cast", ["x"], ["xc"], "down", to=dtype),
        helper.make_node("Conv", ["xc", "w"], ["yc"], "conv"),
        helper.make_node("Cast", ["yc"], ["y"], "up", to=TensorProto.FLOAT),
    ]
    return graph_of(folder, nodes, [weight], precision=precision)


def quantised(folder: Path, operator: str = "Conv") -> Artifact:
    """Write a convolution of 8 bits, between conversions."""
    shape = (8, 3, 3, 3) if operator == "Conv" else (3, 8, 3, 3)
    constants = {
        "s": np.float32(0.02), "z": np.int8(0), "w": np.full(shape, 5, np.int8),
        "ws": np.float32(0.01), "wz": np.int8(0),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"], "quantise"),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"], "restore"),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], "weights"),
        helper.make_node(operator, ["xd", "wd"], ["y"], "conv"),
    ]
    tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    return graph_of(folder, nodes, tensors, precision="int8")


def product(folder: Path, dtype: int, precision: str) -> Artifact:
    """Write a matrix product: FP8 on both sides, or weights of 4 bits in blocks of 32."""
    rows, columns, eight = 64, 32, dtype == TensorProto.FLOAT8E4M3FN
    count = rows * columns if eight else rows * columns // 2
    raw = bytes([0x38 if eight else 0x11]) * count
    scale = np.float32(0.01) if eight else np.full((rows // 32, columns), 0.01, np.float32)
    constants = [
        helper.make_tensor("w", dtype, [rows, columns], raw, raw=True),
        numpy_helper.from_array(np.asarray(scale), "ws"),
        numpy_helper.from_array(np.asarray(np.float32(0.02)), "s"),
    ]
    blocks = {} if eight else {"axis": 0, "block_size": 32}
    nodes = [helper.make_node("DequantizeLinear", ["w", "ws"], ["wd"], "weights", **blocks)]
    if eight:
        constants.append(helper.make_tensor("z", dtype, [], b"\0", raw=True))
        nodes += [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"], "quantise"),
            helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"], "restore"),
        ]
    nodes.append(helper.make_node("MatMul", ["xd" if eight else "x", "wd"], ["y"], "product"))
    return graph_of(folder, nodes, constants, (4, rows), precision)


def test_an_engine_is_built_without_a_gpu_and_has_a_record(
    tmp_path: Path, work: StageContext
) -> None:
    """The result is the engine, with its record beside it and nothing else."""
    given = onnx_artifact(tmp_path / "given")
    result = made(given, work)
    assert (result.format, result.precision) == ("tensorrt_engine", "fp32")
    assert sorted(file.name for file in work.folder.iterdir()) == [
        "model.engine", "model.engine.json",
    ]  # fmt: skip
    record = json.loads((work.folder / "model.engine.json").read_text())
    assert record["onnx_sha256"] == given.sha256
    assert record["capabilities"] == ["8.9"]
    assert (record["inputs"], record["outputs"]) == (["x"], ["y"])
    assert record["engine_bytes"] == result.path.stat().st_size == result.facts["engine_bytes"]
    assert result.facts["layers"]


def test_several_capabilities_share_an_engine(tmp_path: Path, work: StageContext) -> None:
    """One engine holds all of them, and its record names them."""
    given = onnx_artifact(tmp_path / "given")
    one = made(given, work).path.read_bytes()
    both = TensorRt(TensorRtOptions(Flavour.rtx, ["8.9", "12.0"])).compile(given, work)
    assert both.path.read_bytes() != one
    record = json.loads((work.folder / "model.engine.json").read_text())
    assert record["capabilities"] == both.facts["compute_capabilities"] == ["8.9", "12.0"]


@pytest.mark.parametrize("capability", ["7.5", "8.0", "8.6", "8.9", "12.0", "12.1"])
def test_every_capability_of_the_library_is_built_for(
    capability: str, tmp_path: Path, work: StageContext
) -> None:
    """The plan's list of capabilities is the library's. For Turing it computes INT8 in float."""
    made(typed(tmp_path / "half", TensorProto.FLOAT16, "fp16"), work, capability)
    facts = made(quantised(tmp_path / "eight"), work, capability).facts
    unfused = 1 if capability == "7.5" else 0
    assert (facts["quantised_products"], facts["unfused_pairs"]) == (1, unfused)


@pytest.mark.parametrize(
    ("name", "dtype", "write"),
    [
        ("fp16", TensorProto.FLOAT16, typed),
        ("bf16", TensorProto.BFLOAT16, typed),
        ("fp8", TensorProto.FLOAT8E4M3FN, product),
        ("int4", TensorProto.INT4, product),
    ],
)
def test_the_graphs_types_are_the_engines(
    name: str, dtype: int, write: Any, tmp_path: Path, work: StageContext
) -> None:
    """Networks are strongly typed: a layer of the engine reads the graph's type."""
    result = made(write(tmp_path / "given", dtype, name), work)
    assert result.precision == name
    rows = result.facts["layers_by_precision"]
    assert isinstance(rows, list)
    assert name in {row["precision"] for row in rows if isinstance(row, dict)}


def test_conversions_that_are_not_fused_are_named(tmp_path: Path, work: StageContext) -> None:
    """A transposed convolution computes in float between its conversions; a warning says so."""
    result = made(quantised(tmp_path / "given", "ConvTranspose"), work)
    assert (result.facts["quantised_products"], result.facts["unfused_pairs"]) == (1, 1)
    (notice,) = result.notices
    assert "1 of 1 products of quantised values compute in float" in notice.text
    assert "ConvTranspose conv (its conversion restore" in notice.text
    assert "quantizer.exclude=[ConvTranspose]" in notice.text


def test_a_free_batch_is_built_for_its_profile(tmp_path: Path, work: StageContext) -> None:
    """The record keeps the range of every axis."""
    nodes = [helper.make_node("Relu", ["x"], ["y"], "relu")]
    given = graph_of(tmp_path / "given", nodes, [], ("batch", 3, 16, 16))
    made(given, work, profiles=[{"batch": [1, 4, 8]}])
    record = json.loads((work.folder / "model.engine.json").read_text())
    assert record["profiles"] == [{"x": [[1, 4, 8], [3, 3, 3], [16, 16, 16], [16, 16, 16]]}]
    with pytest.raises(StageError, match="leaves `batch` of `x` free"):
        made(given, work)


def test_an_operator_that_the_library_lacks_is_named(tmp_path: Path, work: StageContext) -> None:
    """The error comes from the library's parser, with the node and its place."""
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node("Odd", ["r"], ["y"], "/block/odd", domain="own"),
    ]
    with pytest.raises(StageError, match="does not take Odd `/block/odd`") as caught:
        made(graph_of(tmp_path / "given", nodes, []), work)
    assert "node 2 of 2" in str(caught.value)
    assert list(work.folder.iterdir()) == []


def test_a_type_that_a_gpu_lacks_is_named(tmp_path: Path, work: StageContext) -> None:
    """A graph of a type that its precision does not tell is refused by the library, in words."""
    given = typed(tmp_path / "given", TensorProto.BFLOAT16, "fp32")
    with pytest.raises(StageError, match="cannot build for sm75: its GPUs have no type"):
        made(given, work, "7.5")


@pytest.mark.skipif(bool(look().gpus), reason="there is a GPU")
def test_refit_needs_a_gpu(tmp_path: Path, work: StageContext) -> None:
    """The library's crash in C++ becomes a sentence."""
    with pytest.raises(StageError, match="needs a GPU to build this engine"):
        made(onnx_artifact(tmp_path / "given"), work, refit=True)


def test_options_reach_the_builder(tmp_path: Path, work: StageContext) -> None:
    """Weight streaming, a workspace and another level build as well."""
    options = {"weight_streaming": True, "workspace_mb": 64, "optimisation_level": 0}
    assert made(onnx_artifact(tmp_path / "given"), work, **options).path.is_file()


def test_times_of_kernels_are_kept_and_a_damaged_file_counts_as_none(
    tmp_path: Path, work: StageContext
) -> None:
    """The file of the timing cache has its own hash; after damage it is written anew."""
    cache = tmp_path / "timing.cache"
    wanted = Wanted(["SM89"], [], [], 3, 0, hardware_compatible=False, timing_cache=str(cache))

    def built() -> bytes:
        build(
            Path(onnx_artifact(tmp_path / "given").path),
            work.folder / "model.engine",
            library=FLAVOURS[Flavour.rtx],
            wanted=wanted,
            limits=Limits(),
            folder=work.folder,
        )
        told, _, kept = cache.read_bytes().partition(b"\n")
        assert told.decode() == hashlib.sha256(kept).hexdigest()
        return kept

    first = built()
    cache.write_bytes(cache.read_bytes()[:-5])
    assert built() == first != b""


@pytest.mark.parametrize(
    ("tight", "says"),
    [
        ({"time_limit_s": 0.05}, "took longer than 0.05 s"),
        ({"memory_limit_mb": 30}, "of memory here; the limit is"),
    ],
)
def test_a_limit_stops_the_builder(
    tight: dict[str, Any], says: str, tmp_path: Path, work: StageContext
) -> None:
    """The child is stopped, nothing is left, and the message names the option to raise."""
    with pytest.raises(DoesNotFitError, match=says) as caught:
        made(onnx_artifact(tmp_path / "given"), work, **tight)
    assert f"runtime.{next(iter(tight))}" in str(caught.value)
    assert list(work.folder.iterdir()) == []


def test_ctrl_c_while_building_leaves_nothing(tmp_path: Path, work: StageContext) -> None:
    """It comes while the builder reports a phase; the folder is empty afterwards."""

    def pressed(_done: float, _total: float, message: str) -> None:
        if message.startswith("TensorRT-RTX: "):
            raise KeyboardInterrupt

    interrupted = StageContext(work.folder, Progress(pressed))
    with pytest.raises(KeyboardInterrupt):
        made(onnx_artifact(tmp_path / "given"), interrupted)
    assert list(work.folder.iterdir()) == []


@pytest.mark.skipif(bool(look().gpus), reason="there is a GPU")
def test_without_a_gpu_an_engine_is_not_opened(tmp_path: Path, work: StageContext) -> None:
    """`unopenable` and `open` give the same reason."""
    result = of(made(onnx_artifact(tmp_path / "given"), work), work)
    runtime = TensorRt(ADA)
    assert "NVIDIA" in runtime.unopenable()
    with pytest.raises(StageError, match="cannot run its engine on this machine") as caught:
        runtime.open(result, torch_model, work)
    assert runtime.unopenable() in str(caught.value)
