"""Hostile checkpoints: safetensors and pickles that lie about an HTDemucs, explode or run code."""

# ruff: noqa: ARG001  # every maker takes the source of its numbers; some need none

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import zipfile
from typing import Any

from tests.hostile.kinds import Maker, collected, flipped

__all__ = ["CHECKPOINTS", "SMALL", "safetensors_file"]

CHECKPOINTS: dict[str, Maker] = {}


#: The constructor's arguments of a small network.
SMALL: dict[str, Any] = {
    "sources": ["drums", "bass", "other", "vocals"],
    "channels": 8,
    "t_layers": 1,
    "t_heads": 2,
    "segment": {"_type": "fraction", "numerator": 39, "denominator": 5},
}
_TENSOR = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def safetensors_file(
    kwargs: dict[str, Any] | str,
    *,
    tensors: Any = None,
    data: bytes = bytes(8),
    more: dict[str, Any] | None = None,
) -> bytes:
    """Return a checkpoint in the own format of demucs's hub; `kwargs` may be invalid JSON."""
    text = kwargs if isinstance(kwargs, str) else json.dumps(kwargs)
    metadata = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": text, **(more or {})}
    return _headed({"__metadata__": metadata, **(_TENSOR if tensors is None else tensors)}, data)


def _headed(header: Any, data: bytes = bytes(8), length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _fraction(numerator: Any, denominator: Any) -> dict[str, Any]:
    return {"_type": "fraction", "numerator": numerator, "denominator": denominator}


_WRONG: tuple[Any, ...] = (
    -1,
    0,
    2**31,
    2**63,
    10**30,
    1e308,
    float("nan"),
    float("inf"),
    "8",
    "x",
    None,
    True,
    [],
    [8],
    {},
    0.5,
)
#: Arguments that set the size, the depth or the playing cost of the network.
_SIZES: dict[str, tuple[Any, ...]] = {
    "depth": (1_000_000, 40, 9),
    "channels": (10**9, 65_536, 4096),
    "channels_time": (10**9, 65_536),
    "audio_channels": (10**9, 65_536),
    "growth": (1e9, 1000, 64),
    "nfft": (2**40, 2**30, 3, 4095),
    "bottom_channels": (10**9, 10**6),
    "t_layers": (10**9, 10**5),
    "t_heads": (10**9, 7),
    "t_hidden_scale": (1e12, 1e6),
    "t_max_positions": (10**12,),
    "kernel_size": (10**9, 10**6, 3),
    "stride": (10**9, 7),
    "time_stride": (10**9,),
    "context": (10**9, 10**5),
    "context_enc": (10**9, 10**5),
    "norm_groups": (10**9, 7),
    "norm_starts": (-(10**9),),
    "dconv_depth": (10**6, 40),
    "dconv_comp": (10**9,),
    "dconv_mode": (10**9,),
    "multi_freqs": ([0.1] * 10_000, [2.0]),
    "multi_freqs_depth": (10**9,),
    "wiener_iters": (10**9,),
    "emb_scale": (1e300,),
    "freq_emb": (1e300,),
    "rescale": (1e300,),
    "samplerate": (10**12, 1),
    "segment": (
        1e12,
        _fraction(1, 10**12),
        _fraction(10**400, 1),
        _fraction(1, 0),
        _fraction("a", []),
        "1/0",
        "9" * 5000,
    ),
    "t_emb": ("cape", "scaled", "../x"),
    "t_max_period": (1e300,),
    "t_sparse_self_attn": (True, "yes"),
    "t_sparse_attn_window": (10**12,),
    "t_mask_type": ("random", "x" * 10_000),
    "t_cape_glob_loc_scale": ([1e300] * 3, [1.0] * 10_000),
    "sources": (
        [f"s{i}" for i in range(100_000)],
        [],
        ["a", "a"],
        ["../../x", "/etc/passwd"],
        ["\x1b[2J", "a\nb"],
        ["x" * 10**6],
        [1, None],
        "drums",
    ),
}


def _argument(name: str, sizes: tuple[Any, ...]) -> Maker:
    def make(source: random.Random) -> bytes:
        value = source.choice(sizes if source.random() < 0.7 else _WRONG)
        return safetensors_file({**SMALL, name: value})

    return make


@collected(CHECKPOINTS, "depth_of_a_million.safetensors")
def _deep(source: random.Random) -> bytes:
    return safetensors_file({**SMALL, "depth": 1_000_000})


for _name, _sizes in _SIZES.items():
    CHECKPOINTS[f"{_name}.safetensors"] = _argument(_name, _sizes)


@collected(CHECKPOINTS, "arguments_unknown.safetensors")
def _unknown(source: random.Random) -> bytes:
    return safetensors_file({**SMALL, "__class__": "os.system", "device": "cuda", "\x1b[2J": 1})


@collected(CHECKPOINTS, "arguments_many.safetensors")
def _many(source: random.Random) -> bytes:
    return safetensors_file({**SMALL, **{f"a{i}": i for i in range(100_000)}})


@collected(CHECKPOINTS, "arguments_nested.safetensors")
def _nested_arguments(source: random.Random) -> bytes:
    depth = source.choice([2000, 100_000])
    return safetensors_file("[" * depth + "]" * depth)


@collected(CHECKPOINTS, "argument_nested.safetensors")
def _nested_argument(source: random.Random) -> bytes:
    depth = source.choice([500, 2000, 100_000])
    return safetensors_file('{"sources": ' + '{"a":' * depth + "1" + "}" * depth + "}")


@collected(CHECKPOINTS, "arguments_no_json.safetensors")
def _no_json(source: random.Random) -> bytes:
    return safetensors_file(source.choice(["", "[1]", "null", "{", "NaN", '{"a": 1', "\x00"]))


@collected(CHECKPOINTS, "argument_of_many_digits.safetensors")
def _digits(source: random.Random) -> bytes:
    return safetensors_file('{"depth": ' + "9" * source.choice([4000, 10**6]) + "}")


@collected(CHECKPOINTS, "positions_many.safetensors")
def _positions(source: random.Random) -> bytes:
    return safetensors_file(SMALL, more={"args": json.dumps([1] * 100_000)})


@collected(CHECKPOINTS, "another_class.safetensors")
def _class(source: random.Random) -> bytes:
    return safetensors_file(SMALL, more={"klass": source.choice(["os.system", "", "x" * 10**6])})


@collected(CHECKPOINTS, "metadata_of_megabytes.safetensors")
def _long_metadata(source: random.Random) -> bytes:
    return safetensors_file(SMALL, more={"licence": "\x1b" * source.choice([10**5, 3 * 10**6])})


@collected(CHECKPOINTS, "metadata_no_text.safetensors")
def _metadata_kinds(source: random.Random) -> bytes:
    return safetensors_file(SMALL, more={"licence": source.choice([1, [], {}, None, True])})


@collected(CHECKPOINTS, "metadata_no_object.safetensors")
def _metadata(source: random.Random) -> bytes:
    return _headed({"__metadata__": source.choice([[], "x", 1, None]), **_TENSOR})


@collected(CHECKPOINTS, "entry_lies.safetensors")
def _entry(source: random.Random) -> bytes:
    entry = source.choice([{"class": 1}, {"class": "HTDemucs", "kwargs": 1}, [], {"class": None}])
    return _headed({"__metadata__": {"luthier": json.dumps(entry)}, **_TENSOR})


@collected(CHECKPOINTS, "entry_nested.safetensors")
def _entry_nested(source: random.Random) -> bytes:
    return _headed({"__metadata__": {"luthier": "[" * 100_000}, **_TENSOR})


@collected(CHECKPOINTS, "header_length.safetensors")
def _header_length(source: random.Random) -> bytes:
    length = source.choice([0, 1, 2**31, 2**40, 2**63, 2**64 - 1, 100_000_001])
    return _headed({"__metadata__": {}, **_TENSOR}, length=length)


@collected(CHECKPOINTS, "header_nested.safetensors")
def _header_nested(source: random.Random) -> bytes:
    depth = source.choice([130, 100_000])
    return _headed(b'{"__metadata__":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}")


@collected(CHECKPOINTS, "header_noise.safetensors")
def _header_noise(source: random.Random) -> bytes:
    return _headed(source.randbytes(1000))


@collected(CHECKPOINTS, "shape_lies.safetensors")
def _shape(source: random.Random) -> bytes:
    shapes: tuple[Any, ...] = (
        [2**62, 4],
        [-1, -2],
        [10**30],
        [1] * 100_000,
        [2**32, 2**32],
        [0, 2**63],
        [0.5],
        ["2"],
        None,
    )
    return safetensors_file(SMALL, tensors={"w": {**_TENSOR["w"], "shape": source.choice(shapes)}})


@collected(CHECKPOINTS, "offsets_lie.safetensors")
def _offsets(source: random.Random) -> bytes:
    offsets: tuple[Any, ...] = ([8, 0], [0, 2**63], [-8, 0], [0], [], [0, 10**30], None, [4, 12])
    return safetensors_file(
        SMALL, tensors={"w": {**_TENSOR["w"], "data_offsets": source.choice(offsets)}}
    )


@collected(CHECKPOINTS, "tensors_overlap.safetensors")
def _overlap(source: random.Random) -> bytes:
    return safetensors_file(SMALL, tensors={f"w{i}": _TENSOR["w"] for i in range(1000)})


@collected(CHECKPOINTS, "type_unknown.safetensors")
def _type(source: random.Random) -> bytes:
    return safetensors_file(
        SMALL, tensors={"w": {**_TENSOR["w"], "dtype": source.choice(["F33", "", None, 1, "C64"])}}
    )


@collected(CHECKPOINTS, "tensors_many.safetensors")
def _tensors(source: random.Random) -> bytes:
    nothing = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    return safetensors_file(SMALL, tensors={f"w{i}": nothing for i in range(30_000)}, data=b"")


@collected(CHECKPOINTS, "tensor_names.safetensors")
def _tensor_names(source: random.Random) -> bytes:
    name = source.choice(["../../x", "\x1b[2J", "", "a" * 10**6, "encoder.0.conv.weight", "\ud800"])
    return safetensors_file(SMALL, tensors={name: _TENSOR["w"]})


def _bundled_file() -> bytes:
    from plugins.model.htdemucs import BUNDLED

    return BUNDLED.read_bytes()


@collected(CHECKPOINTS, "bundled_flipped.safetensors")
def _bundledflipped(source: random.Random) -> bytes:
    return flipped(_bundled_file(), source, 0, 20_000)


@collected(CHECKPOINTS, "bundled_cut.safetensors")
def _bundled_cut(source: random.Random) -> bytes:
    return _bundled_file()[: source.randrange(1, 1_000_000)]


@collected(CHECKPOINTS, "bundled_with_another_depth.safetensors")
def _bundled_deeper(source: random.Random) -> bytes:
    data = _bundled_file()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    metadata = header["__metadata__"]
    kwargs = {**json.loads(metadata["kwargs"]), "depth": source.choice([1, 3, 5, 6])}
    header["__metadata__"] = {**metadata, "kwargs": json.dumps(kwargs)}
    return _headed(header, data[8 + length :])


# --- checkpoints: pickles ----------------------------------------------------------------------


def _zipped(program: bytes, more: dict[str, bytes] | None = None) -> bytes:
    """Return an archive in the format of torch, around the pickle `program`."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in {"data.pkl": program, "version": b"3\n", **(more or {})}.items():
            # ZipInfo has a fixed date: equal seeds give equal files.
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), content)
    return file.getvalue()


def _saved(package: Any) -> bytes:
    import torch

    file = io.BytesIO()
    torch.save(package, file)
    return file.getvalue()


def _package(state: Any, kwargs: Any = None) -> dict[str, Any]:
    from fractions import Fraction

    from demucs.htdemucs import HTDemucs

    given = {**SMALL, "segment": Fraction(39, 5)} if kwargs is None else kwargs
    return {"klass": HTDemucs, "args": (), "kwargs": given, "state": state}


class _Runs:
    """Calls a function when it is unpickled; most calls leave a file that a test looks for."""

    def __init__(self, call: Any, *given: Any) -> None:
        self.call, self.given = call, given

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.given


def _code(source: random.Random) -> _Runs:
    import os

    return source.choice(
        [
            _Runs(os.system, "touch luthier-hostile-ran"),
            _Runs(eval, "open('luthier-hostile-ran', 'w')"),
            _Runs(exec, "open('luthier-hostile-ran', 'w')"),
            _Runs(getattr, os, "system"),
            _Runs(open, "luthier-hostile-ran", "w"),
        ]
    )


@collected(CHECKPOINTS, "code_in_archive.th")
def _code_in_archive(source: random.Random) -> bytes:
    return _zipped(pickle.dumps({"state": _code(source)}, protocol=2))


@collected(CHECKPOINTS, "code_bare.th")
def _code_bare(source: random.Random) -> bytes:
    return pickle.dumps({"state": _code(source)}, protocol=source.randint(0, 5))


@collected(CHECKPOINTS, "nested_pickle.th")
def _nested_pickle(source: random.Random) -> bytes:
    depth = source.choice([1000, 100_000, 1_000_000])
    program = b"\x80\x02" + b"(" * depth + b"t" * depth + b"."
    return source.choice([program, _zipped(program)])


@collected(CHECKPOINTS, "doubling_pickle.th")
def _doubling(source: random.Random) -> bytes:
    # Every step is a pair of the step before: n steps make 2 to the power of n values.
    program = b"\x80\x02K\x01q\x00"
    for step in range(source.choice([30, 200])):
        program += b"h" + bytes([step]) + b"\x86q" + bytes([step + 1])
    return _zipped(program + b".")


@collected(CHECKPOINTS, "many_digits.th")
def _long_number(source: random.Random) -> bytes:
    digits = source.choice([10**5, 10**6])
    return _zipped(b"\x80\x02\x8b" + struct.pack("<i", digits) + b"\x7f" * digits + b".")


@collected(CHECKPOINTS, "lengths_lie.th")
def _lengths(source: random.Random) -> bytes:
    code = source.choice([b"\x8b\xff\xff\xff\x7f", b"X\xff\xff\xff\xff", b"\x8e" + b"\xff" * 8])
    return _zipped(b"\x80\x04" + code + b".")


@collected(CHECKPOINTS, "memo_huge.th")
def _memo(source: random.Random) -> bytes:
    return _zipped(b"\x80\x02}r\xff\xff\xff\xffp2147483647\n.")


@collected(CHECKPOINTS, "stretched_tensor.th")
def _stretched(source: random.Random) -> bytes:
    import torch

    # One number is in memory; the shape claims 10^12 numbers.
    return _saved(_package({"w": torch.zeros(1).expand(10**6, 10**6)}))


@collected(CHECKPOINTS, "no_tensors.th")
def _no_tensors(source: random.Random) -> bytes:
    return _saved(_package({"w": source.choice([1, "x", None, [1], {"a": 1}]), 5: "y"}))


@collected(CHECKPOINTS, "sparse_tensor.th")
def _sparse(source: random.Random) -> bytes:
    import torch

    index = torch.zeros(2, 1, dtype=torch.long)
    return _saved(
        _package(
            {
                "w": torch.sparse_coo_tensor(
                    index, torch.ones(1), (2**31, 2**31), check_invariants=True
                )
            }
        )
    )


@collected(CHECKPOINTS, "arguments_any.th")
def _any_arguments(source: random.Random) -> bytes:
    import torch

    name = source.choice(list(_SIZES))
    value = source.choice((*_SIZES[name], *_WRONG))
    return _saved(_package({"w": torch.zeros(2)}, {**SMALL, "segment": 8, name: value}))


@collected(CHECKPOINTS, "argument_names.th")
def _argument_names(source: random.Random) -> bytes:
    import torch

    odd = {1: 2, ("a",): 3, None: 4, "\x1b[2J": 5}
    return _saved(_package({"w": torch.zeros(2)}, {**SMALL, "segment": 8, **odd}))


@collected(CHECKPOINTS, "fraction_huge.th")
def _huge_fraction(source: random.Random) -> bytes:
    from fractions import Fraction

    import torch

    value = source.choice([Fraction(1, 10**12), Fraction(10**3000, 7), Fraction(-5, 3)])
    return _saved(_package({"w": torch.zeros(2)}, {**SMALL, "segment": value}))


@collected(CHECKPOINTS, "storage_lies.th")
def _storage(source: random.Random) -> bytes:
    import torch

    data = _saved(_package({"w": torch.arange(1000.0)}))
    number = struct.pack("<H", 1000)
    return data.replace(b"M" + number, b"M" + struct.pack("<H", 65_535))


@collected(CHECKPOINTS, "packed_archive.th")
def _packed(source: random.Random) -> bytes:
    # 130 kB that unpack to 128 MB.
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        packed = zipfile.ZipInfo("archive/data.pkl")
        packed.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(packed, "w") as entry:
            for _ in range(128):
                entry.write(bytes(2**20))
        archive.writestr(zipfile.ZipInfo("archive/version"), "3\n")
    return file.getvalue()


@collected(CHECKPOINTS, "names_escape.th")
def _escaping(source: random.Random) -> bytes:
    return _zipped(pickle.dumps({}, protocol=2), {"../../luthier-hostile-ran": b"x", "data/0": b""})


@collected(CHECKPOINTS, "entries_many.th")
def _entries(source: random.Random) -> bytes:
    return _zipped(pickle.dumps({}, protocol=2), {f"data/{i}": b"" for i in range(10_000)})


@collected(CHECKPOINTS, "script_archive.th")
def _script(source: random.Random) -> bytes:
    return _zipped(pickle.dumps({}, protocol=2), {"constants.pkl": b".", "code/a.py": b"x = 1"})


@collected(CHECKPOINTS, "another_class.th")
def _other_class(source: random.Random) -> bytes:
    from demucs.htdemucs import HTDemucs

    return _saved({"klass": "HTDemucs", "args": (HTDemucs,), "kwargs": SMALL, "state": {}})


@collected(CHECKPOINTS, "class_called.th")
def _class_called(source: random.Random) -> bytes:
    from demucs.htdemucs import HTDemucs

    # The name of the class is allowed, but the file may not build it: any size would be possible.
    return _zipped(pickle.dumps({"state": _Runs(HTDemucs, ["a"])}, protocol=2))


@collected(CHECKPOINTS, "flipped.th")
def _thflipped(source: random.Random) -> bytes:
    import torch

    return flipped(_saved(_package({"w": torch.arange(100.0)})), source)


@collected(CHECKPOINTS, "cut.th")
def _th_cut(source: random.Random) -> bytes:
    import torch

    data = _saved(_package({"w": torch.arange(100.0)}))
    return data[: source.randrange(1, len(data))]


@collected(CHECKPOINTS, "noise.th")
def _th_noise(source: random.Random) -> bytes:
    return source.randbytes(source.randint(1, 5000))


@collected(CHECKPOINTS, "empty.th")
def _th_empty(source: random.Random) -> bytes:
    return b""


@collected(CHECKPOINTS, "text.safetensors")
def _plain_text(source: random.Random) -> bytes:
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
