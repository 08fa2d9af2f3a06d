"""What an ONNX file may declare: its sizes, and the files beside it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from core import InputError
from core.errors import LuthierError
from core.formats import onnx_bounds, opened_apart
from core.formats.onnx_bounds import check_external, checked, opened_in_child_first
from core.formats.onnx_graph import inferred, loaded, save
from core.plugin.progress import silent

KINDS = sorted(set(TensorProto.DataType.values()) - {TensorProto.UNDEFINED, TensorProto.STRING})


def model(*tensors: TensorProto, nodes: int = 1) -> onnx.ModelProto:
    """Make `y = x + w`, and more nodes and tensors that nothing reads."""
    weights = [numpy_helper.from_array(np.arange(1024, dtype=np.float32), "w"), *tensors]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], [f"y{index or ''}"]) for index in range(nodes)],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1024])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1024])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def tensor(dims: list[int], **fields: object) -> TensorProto:
    """Return a tensor that says what it likes."""
    return TensorProto(name="liar", dims=dims, **{"data_type": TensorProto.FLOAT, **fields})


def outside(location: str, **place: str) -> TensorProto:
    """Return a tensor of 16 bytes that lie in another file."""
    made = tensor([4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, "length": "16", **place}.items():
        made.external_data.add(key=key, value=value)
    return made


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a folder beside which lies a secret, with honest weights in it."""
    (tmp_path / "secret").write_bytes(bytes(16))
    folder = tmp_path / "home"
    (folder / "below").mkdir(parents=True)
    (folder / "weights").write_bytes(bytes(64))
    (folder / "below" / "weights").write_bytes(bytes(64))
    (folder / "link").symlink_to(folder / "weights")
    (folder / "leads_out").symlink_to(tmp_path / "secret")
    (folder / "linked").symlink_to(folder / "below")
    os.link(tmp_path / "secret", folder / "second_name")
    os.mkfifo(folder / "pipe")
    return folder


def written(folder: Path, made: onnx.ModelProto) -> Path:
    """Write a model as it is: `onnx.save` would look at its weights."""
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


LIES = {
    "../secret": {},
    "below/../../secret": {},
    "/etc/passwd": {},
    "": {},
    ".": {},
    "below": {},
    "nothing": {},
    "link": {},
    "linked/weights": {},
    "leads_out": {},
    "second_name": {},
    "pipe": {},
    "weights": {"offset": "60"},
    "./weights": {"offset": "-1"},
    "weights ": {},
    "below/weights": {"length": str(2**62)},
    "below//weights": {"offset": "9" * 5000},
}


@pytest.mark.parametrize("location", LIES)
@pytest.mark.parametrize("read", [checked, loaded, inferred])
def test_weights_outside_their_folder_are_not_read(
    home: Path, location: str, read: Callable[[Path], object]
) -> None:
    """No reader follows `..`, a link, a second name, a pipe, or an offset beyond the end."""
    path = written(home, model(outside(location, **LIES[location])))
    with pytest.raises(LuthierError) as refused:
        read(path)
    assert "model.onnx" in str(refused.value)


def test_an_attribute_of_a_nested_graph_is_looked_at_too(home: Path) -> None:
    """Weights in constants, in branches of an `If`, and in functions are checked."""
    made = model()
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=outside("../secret"))], "branch", [], []
    )
    made.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=branch))
    path = written(home, made)
    for read in (checked, loaded, inferred):
        with pytest.raises(LuthierError, match="leads out of its folder"):
            read(path)


def test_honest_weights_beside_a_graph_are_read(tmp_path: Path) -> None:
    """Weights that Luthier wrote, beside the graph or in a folder below, are read."""
    save(model(), tmp_path / "two.onnx", beside=True)
    checked(tmp_path / "two.onnx")
    assert numpy_helper.to_array(loaded(tmp_path / "two.onnx").graph.initializer[0])[5] == 5
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "weights").write_bytes(bytes(16))
    checked(written(tmp_path, model(outside("below/weights"))))


def test_the_same_bytes_are_no_thousand_tensors(home: Path) -> None:
    """Many tensors that share the bytes of a small file are refused before they take gigabytes."""
    with pytest.raises(InputError, match="overlap"):
        checked(written(home, model(*[outside("weights") for _ in range(5)])))


@pytest.mark.parametrize("kind", KINDS, ids=TensorProto.DataType.Name)
@pytest.mark.parametrize("raw", [True, False])
def test_a_tensor_of_any_type_is_as_large_as_it_says(tmp_path: Path, kind: int, raw: bool) -> None:
    """Tensors that ONNX writes are accepted; one element more or less is refused."""
    zeros = np.zeros(8, helper.tensor_dtype_to_np_dtype(kind))
    right = numpy_helper.from_array(zeros) if raw else helper.make_tensor("t", kind, [8], [0] * 8)
    checked(written(tmp_path, model(right)))
    for dims in ([16], [1], [], [8, 0], [-8], [2**62, 2**62]):
        wrong = TensorProto()
        wrong.CopyFrom(right)
        wrong.dims[:] = dims
        with pytest.raises(InputError, match="its shape"):
            checked(written(tmp_path, model(wrong)))


@pytest.mark.parametrize(
    "made",
    [
        tensor([2**40]),
        tensor([1], data_type=0),
        tensor([1], data_type=999, float_data=[1.0]),
        tensor([4], raw_data=bytes(15)),
        tensor([4], float_data=[1.0]),
        tensor([1] * 1000 + [2]),
    ],
)
def test_a_tensor_that_lies_is_named(tmp_path: Path, made: TensorProto) -> None:
    """The message names the tensor whose size is false."""
    with pytest.raises(LuthierError, match="liar") as refused:
        checked(written(tmp_path, model(made)))
    assert "model.onnx" in str(refused.value)


def _field(number: int, content: bytes) -> bytes:
    size, told = len(content), b""
    while size >= 0x80:
        told, size = told + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + told + bytes([size]) + content


def nested(depth: int) -> bytes:
    """Return graphs within attributes of nodes of graphs."""
    graph = b""
    for _ in range(depth):
        graph = _field(1, _field(5, _field(6, graph)))
    return _field(7, graph)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it has 0 bytes"),
        (b"no graph at all", "no ONNX file"),
        (b"\x3a\xff\xff\xff\xff\x0f", "extends past the end"),
        (b"\x3a" + b"\xff" * 20, "a number has no end"),
        (b"\x08", "no ONNX file"),
        (_field(7, b"\x0a\x00" * 21_000), "more than 20,000 values"),
        (_field(7, _field(1, b"\x2a\x00" * 21_000)), "more than 20,000 values"),
        (nested(5000), "are nested more than"),
        (_field(7, b""), "names no opset"),
        (b"\x42\x02\x10\x00", "names no opset"),
    ],
)
def test_sizes_are_counted_before_a_message_is_made(
    tmp_path: Path, content: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files whose nodes need a hundred times their size, and deep graphs, are refused unparsed."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    monkeypatch.setattr(onnx_bounds, "_MOST_FIELDS", 20_000)  # the real one takes seconds to reach
    with pytest.raises(InputError) as refused:
        checked(path)
    assert said in str(refused.value)


def test_too_many_nodes_notes_and_shapes_are_refused(tmp_path: Path) -> None:
    """Nodes, notes and shapes each have their own bound."""
    note = model()
    note.metadata_props.add(key="k", value="x" * 200_000)
    wide = model()
    wide.graph.node[0].input.extend(["x"] * 20_000)
    shape = model()
    shape.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2**60
    for made, said in ((note, "a note"), (wide, "inputs and outputs"), (shape, "its shape")):
        with pytest.raises(InputError, match=said):
            checked(written(tmp_path, made))


def test_a_process_of_its_own_reads_it_first(tmp_path: Path) -> None:
    """A child process returns valid graphs, and the words of ONNX's checker for others."""
    path = written(tmp_path, model())
    assert opened_in_child_first(path, tmp_path, silent()).graph.name == "small"
    broken = model()
    broken.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(InputError, match="cannot be used as an ONNX graph") as refused:
        opened_in_child_first(written(tmp_path, broken), tmp_path, silent())
    assert "NoSuchOperator" in str(refused.value)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_a_process_that_takes_too_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message of a process that takes too long gives its time limit."""
    monkeypatch.setattr(opened_apart, "SECONDS", 0.0)
    started = time.monotonic()
    with pytest.raises(InputError, match="took more than 0 s"):
        opened_in_child_first(written(tmp_path, model()), tmp_path, silent())
    assert time.monotonic() - started < 30


def test_a_graph_in_memory_is_held_to_the_same(home: Path) -> None:
    """Readers that open graphs in their own way call `check_external`, with the same bounds."""
    check_external(model(outside("weights")), home / "model.onnx")
    with pytest.raises(LuthierError):
        check_external(model(outside("../secret")), home / "model.onnx")
