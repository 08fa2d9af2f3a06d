"""Checks ONNX files: every size in a file, and every file beside it, is held to a bound.

A stranger's graph can hold a hundred million nodes in as many bytes, declare a tensor of a
terabyte, nest graphs without end, or name `/etc/passwd` as its weights. `checked` is for the graphs
that stages make. `opened_in_child_first` is for files from anywhere, because the readers of ONNX
are other people's code. `check_external` is for every graph with weights beside it.
"""

from __future__ import annotations

import math
import mmap
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import InputError
from core.formats.opened_apart import opened_apart, refusing
from core.machine.paths import below

if TYPE_CHECKING:
    import onnx

    from core.plugin.progress import Progress

__all__ = ["check_external", "checked", "opened_in_child_first"]

#: Protobuf reads no message of 2 GiB or more.
_LARGEST = 2**31 - 1
#: Fields of a file, and messages within each other. HTDemucs' graph has some 100,000 in 6 levels;
#: protobuf itself gives up at 100 levels.
_MOST_FIELDS, _DEEPEST = 2_000_000, 48
_MOST_NODES, _MOST_VALUES = 200_000, 10_000
#: Elements of a tensor, known or computed.
_MOST_ELEMENTS = 2**34
#: Characters of one note, and of a name.
_LONGEST_NOTE, _LONGEST_NAME = 100_000, 4_096
_VARINT, _FIXED_64, _SIZED, _FIXED_32 = 0, 1, 2, 5
_KEYS = {"location", "offset", "length", "checksum", "basepath"}


def opened_in_child_first(path: Path, folder: Path, progress: Progress) -> onnx.ModelProto:
    """Return what `checked` does, after a child process has read and checked the same file.

    The child also runs ONNX's own checker and its shape inference, with limits on time and memory.
    It writes its answer to `folder`, which is left as it was. Raises InputError.
    """
    _check_file(path)
    opened_apart(__name__, path, noun="graph", folder=folder, progress=progress)
    return checked(path)


def _read(path: str) -> None:
    import onnx

    model = checked(Path(path))
    try:
        onnx.checker.check_model(path)
        onnx.shape_inference.infer_shapes(model)
    except Exception as error:  # each of its parts raises its own errors
        raise _refused(Path(path), str(error).partition("\n")[0][:300]) from error


def checked(path: Path) -> onnx.ModelProto:
    """Return the graph of a file without the weights beside it; raises InputError.

    Sizes are counted along the file before it is parsed, so that a refusal costs nothing.
    """
    import onnx
    from google.protobuf.message import DecodeError

    _check_file(path)
    _check_fields(path)
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise _refused(path, f"it is no ONNX file: {str(error)[:200]}") from error
    _check_graphs(model, path)
    beside: Counter[Path] = Counter()
    for tensor in _tensors(model):
        beside.update(_check_tensor(tensor, path))
    for file, size in beside.items():
        if size > file.stat().st_size:
            raise _refused(path, f"its tensors in `{file.name}` take {size:,} bytes, and overlap")
    return model


def check_external(model: onnx.ModelProto, path: Path) -> None:
    """Raise InputError, or UnsafePathError, where weights beside a graph lie outside its folder.

    `model` was read from `path`, without its external data. Its weights may lie only in plain files
    below its folder: no symbolic link, no hard link, no data beyond a file's end.
    """
    for tensor in _tensors(model):
        if tensor.data_location == tensor.EXTERNAL:
            _external(tensor, path)


def _refused(path: Path, why: str, tensor: str = "") -> InputError:
    return InputError(
        f"`{path.name}` cannot be used as an ONNX graph",
        f"at: {path}",
        f"tensor: {tensor[:200]!r}" if tensor else "",
        why,
        "export or copy it again, or give another file",
    )


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"`{path}` is no file", "give an ONNX file")
    size = path.stat().st_size
    if not 0 < size <= _LARGEST:
        raise _refused(path, f"it has {size:,} bytes; possible: 1 to {_LARGEST:,}")


def _check_fields(path: Path) -> None:
    """Count the fields of a file and the depth of its messages, without building any message."""
    import onnx

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        fields = 0
        # The end and the type of each open message: the file itself is the outermost one.
        open_: list[tuple[int, Any]] = [(len(data), onnx.ModelProto.DESCRIPTOR)]
        at = 0
        try:
            while open_:
                end, kind = open_[-1]
                if at == end:
                    open_.pop()
                    continue
                fields += 1
                if fields > _MOST_FIELDS:
                    raise _refused(path, f"it holds more than {_MOST_FIELDS:,} values")
                tag, at = _varint(data, at)
                field = kind.fields_by_number.get(tag >> 3)
                size, at = _size(data, at, tag & 7)
                _check_inside(at + size, end)
                if tag & 7 == _SIZED and field is not None and field.message_type is not None:
                    if len(open_) == _DEEPEST:
                        raise _refused(path, f"its parts are nested more than {_DEEPEST} deep")
                    open_.append((at + size, field.message_type))
                else:
                    at += size
        except (ValueError, IndexError) as error:
            raise _refused(path, f"it is no ONNX file, or cut short: {error}") from error


def _check_inside(stop: int, end: int) -> None:
    if stop > end:
        raise ValueError("a value extends past the end of the value around it")


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  # the last byte of a number has no high bit
            return value, at
        shift += 7
        if shift > 63:  # noqa: PLR2004  # bits
            raise ValueError("a number has no end")


def _size(data: mmap.mmap, at: int, wire: int) -> tuple[int, int]:
    """Return how many bytes the content of a field takes, and where it begins."""
    if wire == _SIZED:
        return _varint(data, at)
    if wire == _VARINT:
        return 0, _varint(data, at)[1]
    if wire in (_FIXED_64, _FIXED_32):
        return (8 if wire == _FIXED_64 else 4), at
    raise ValueError(f"a value of the unknown kind {wire}")


def _check_graphs(model: onnx.ModelProto, path: Path) -> None:
    """Raise InputError for numbers of nodes and values, shapes, notes and versions out of range."""
    import onnx

    if not model.opset_import or any(not 0 < o.version < 1000 for o in model.opset_import):  # noqa: PLR2004
        raise _refused(path, "it names no opset, or an impossible one")
    nodes = 0
    for message in _messages(model):
        if isinstance(message, onnx.NodeProto | onnx.GraphProto):
            nodes += isinstance(message, onnx.NodeProto)
            if len(message.input) + len(message.output) > _MOST_VALUES:
                why = f"`{message.name[:100]}` has more than {_MOST_VALUES:,} inputs and outputs"
                raise _refused(path, why)
        elif isinstance(message, onnx.ValueInfoProto):
            _check_shape(message, path)
        elif isinstance(message, onnx.StringStringEntryProto):
            _check_note(message, path)
    if nodes > _MOST_NODES:
        raise _refused(path, f"it has {nodes:,} nodes; possible: up to {_MOST_NODES:,}")


def _check_note(note: onnx.StringStringEntryProto, path: Path) -> None:
    if max(len(note.key), len(note.value)) > _LONGEST_NOTE:
        raise _refused(path, f"a note in it is longer than {_LONGEST_NOTE:,} characters")


def _check_shape(value: onnx.ValueInfoProto, path: Path) -> None:
    known = [d.dim_value for d in value.type.tensor_type.shape.dim if d.HasField("dim_value")]
    if len(value.name) > _LONGEST_NAME:
        raise _refused(path, f"a name in it is longer than {_LONGEST_NAME:,} characters")
    if any(size < 0 for size in known) or math.prod(known) > _MOST_ELEMENTS:
        raise _refused(path, f"its shape is {_shape(known)}", value.name)


def _shape(sizes: list[int]) -> str:
    return "×".join(map(str, sizes[:16])) + ("×..." if len(sizes) > 16 else "")  # noqa: PLR2004


def _messages(message: Any) -> Iterator[Any]:
    """Yield a message and all messages in it; `_check_fields` bounds their number and depth."""
    waiting = [message]
    while waiting:
        message = waiting.pop()
        yield message
        for field, value in message.ListFields():
            if field.message_type is not None:
                # A single message has fields of its own to list, a repeated one none.
                waiting.extend([value] if hasattr(value, "ListFields") else value)


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor: initialisers, attributes, those of nested graphs, functions, training."""
    import onnx

    return (m for m in _messages(model) if isinstance(m, onnx.TensorProto))


def _check_tensor(tensor: onnx.TensorProto, path: Path) -> dict[Path, int]:
    """Check one tensor; return the bytes that it takes in a file beside the graph, if any."""
    import onnx

    elements = math.prod(tensor.dims) if min(tensor.dims, default=0) >= 0 else -1
    if not 0 <= elements <= _MOST_ELEMENTS:
        raise _refused(path, f"its shape is {_shape(list(tensor.dims))}", tensor.name)
    kinds = onnx.TensorProto.DataType
    if tensor.data_type not in kinds.values() or tensor.data_type == kinds.UNDEFINED:
        raise _refused(path, f"its type has the unknown number {tensor.data_type}", tensor.name)
    size = _bytes(tensor.data_type, elements)
    if tensor.data_location == tensor.EXTERNAL:
        file, held = _external(tensor, path)
        if tensor.raw_data or held != size:
            why = f"its shape takes {size:,} bytes, and {held:,} are there"
            raise _refused(path, why, tensor.name)
        return {file: size}
    if tensor.HasField("raw_data"):
        there, needed = len(tensor.raw_data), size
    else:
        there, needed = _typed(tensor, elements)
    if there != needed:
        why = f"its shape takes {needed:,} values or bytes, and {there:,} are there"
        raise _refused(path, why, tensor.name)
    return {}


def _bits(data_type: int) -> int:
    """Return how many bits one element takes in raw data; 0 for texts."""
    import onnx

    name = str(onnx.TensorProto.DataType.Name(data_type))
    sizes = {"STRING": 0, "BOOL": 8, "FLOAT": 32, "DOUBLE": 64, "COMPLEX64": 64}
    if name in sizes:
        return sizes[name]
    if name == "COMPLEX128":
        return 128
    # INT4, UINT8, FLOAT16, BFLOAT16, FLOAT8E4M3FN, FLOAT4E2M1: the number after the letters.
    letters = name.lstrip("BFLOATUINEM")
    digits = letters.partition("E")[0]
    return int(digits) if digits.isdigit() else 8


def _bytes(data_type: int, elements: int) -> int:
    return -(-elements * _bits(data_type) // 8)


def _typed(tensor: onnx.TensorProto, elements: int) -> tuple[int, int]:
    """Return how many values a tensor without raw data holds, and how many its shape takes."""
    fields = ("float", "int32", "int64", "double", "uint64", "string")
    there = sum(len(getattr(tensor, f"{name}_data")) for name in fields)
    kinds = tensor.DataType
    if tensor.data_type in (kinds.COMPLEX64, kinds.COMPLEX128):
        return there, 2 * elements
    bits = _bits(tensor.data_type)
    # Values of 2 and 4 bits share the integers that they are written as; those of 6 do not.
    return there, -(-elements * bits // 8) if bits in (2, 4) else elements


def _external(tensor: onnx.TensorProto, path: Path) -> tuple[Path, int]:
    """Return the file that holds a tensor, and its bytes there."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    # If a place is given twice, one reader takes the first and another the last.
    if len(entries) < len(tensor.external_data) or not set(entries) <= _KEYS:
        raise _refused(path, "its place is given twice, or with unknown keys", tensor.name)
    file = below(path.parent, entries.get("location", ""), f"the graph {path}", links=False)
    size = _plain_size(file, path, tensor.name)
    offset = _place(entries.get("offset", "0"))
    length = _place(entries.get("length", str(max(0, size - offset))))
    if min(offset, length) < 0 or offset + length > size:
        why = f"it lies at {entries}, and `{file.name}` has {size:,} bytes"
        raise _refused(path, why[:300], tensor.name)
    return file, length


def _place(text: str) -> int:
    """Return an offset or a length as a number; -1 for an invalid one."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1  # noqa: PLR2004


def _plain_size(file: Path, path: Path, tensor: str) -> int:
    """Return the size of a file beside a graph, which must be plain and have no second name."""
    try:
        found = file.lstat()
    except OSError as error:
        raise _refused(path, f"`{file.name}` cannot be read: {error.strerror}", tensor) from error
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        raise _refused(path, f"`{file.name}` is no plain file, or has a second name", tensor)
    return found.st_size


if __name__ == "__main__":
    sys.exit(refusing(_read))
