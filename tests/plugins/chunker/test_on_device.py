"""The Python and C++ code that cuts and joins on a device gives the chunker's result."""

from __future__ import annotations

import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import Array, ModelInfo, Signature, Tensors, TensorSpec
from core.inference.windows import lengths_of
from plugins.chunker.overlap_add import OverlapAdd, OverlapAddOptions
from plugins.chunker.whole import Whole

CPP = Path(__file__).parents[3] / "plugins" / "chunker" / "_on_device" / "overlap_add" / "cpp"
MAIN = """\
#include <cstdio>
#include "join.h"
struct Window {
  std::vector<float> run(const std::vector<float>& piece) {
    std::vector<float> twice;
    for (float value : piece) twice.insert(twice.end(), bundle::RATE, value);
    for (size_t i = 0; i < twice.size(); ++i) twice[i] += 0.001f * (i % bundle::LENGTH);
    return twice;
  }
};
int main() {
  Window window;
  std::vector<float> input;
  float value;
  while (fread(&value, sizeof value, 1, stdin)) input.push_back(value);
  const auto output = play(window, input);
  fwrite(output.data(), sizeof value, output.size(), stdout);
}
"""


def signature(channels: int) -> Signature:
    spec = TensorSpec("mix", ("channel", "time"), (channels, "time"))
    return Signature((spec,), (TensorSpec("out", ("channel", "time"), (channels, "time")),))


def model(inputs: Tensors, rate: int = 1) -> Tensors:
    """Repeat every sample, and add a ramp that starts anew in every window."""
    twice = np.repeat(inputs["mix"], rate, axis=-1)
    place = np.arange(twice.size).reshape(twice.shape) % inputs["mix"].shape[-1]
    return {"out": twice + np.float32(0.001) * place.astype(np.float32)}


def joined(chunker: OverlapAdd, mix: Array, rate: int = 1) -> Array:
    """Play `mix` as Luthier does."""
    inputs, of = {"mix": mix}, signature(len(mix))
    lengths = lengths_of(inputs, of)
    joiner = chunker.joiner(lengths, of)
    for window in chunker.split(lengths):
        joiner.add(window, model(chunker.cut(inputs, window, of), rate))
    return joiner.result()["out"]


def metadata(chunker: OverlapAdd, channels: int) -> dict[str, Any]:
    of = signature(channels)
    specs = {
        side: [msgspec.to_builtins(spec) for spec in tensors]
        for side, tensors in (("inputs", of.inputs), ("outputs", of.outputs))
    }
    facts = chunker.ships(ModelInfo(of, ("mix",), ("out",))).facts
    return {"chunking": dict(facts), "signature": specs}


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 40),
    overlap=st.floats(0, 0.9),
    power=st.floats(1, 4),
    total=st.integers(1, 130),
    rate=st.integers(1, 2),
)
def test_python_joins_as_the_chunker(
    length: int, overlap: float, power: float, total: int, rate: int
) -> None:
    """The Python code joins windows of any length to the same bits as the chunker.

    Inputs shorter than a window, odd windows and outputs of another rate are included.
    """
    if int((1 - overlap) * length) < 1:
        return
    chunker = OverlapAdd(OverlapAddOptions(length, overlap, power))
    mix = np.random.default_rng(total).standard_normal((2, total)).astype(np.float32)
    sources = chunker.ships(ModelInfo(signature(2), ("mix",), ("out",))).sources
    play = runpy.run_path(str(sources["python/join.py"]))["play"]
    made = play({"mix": mix}, metadata(chunker, 2), lambda piece: model(piece, rate))
    np.testing.assert_array_equal(joined(chunker, mix, rate), made["out"])


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.parametrize(("length", "overlap", "rate"), [(32, 0.25, 1), (17, 0.6, 2)])
def test_cpp_joins_as_the_chunker(tmp_path: Path, length: int, overlap: float, rate: int) -> None:
    """The C++ code agrees with the chunker to 2e-6, for inputs shorter and longer than a window."""
    chunker = OverlapAdd(OverlapAddOptions(length, overlap, 1.5))
    (tmp_path / "bundle.h").write_text(
        "#pragma once\n#include <cstdint>\n#include <vector>\nnamespace bundle {\n"
        f"inline const std::vector<int64_t> INPUT_SHAPE{{2, {length}}};\n"
        f"inline const std::vector<int64_t> OUTPUT_SHAPE{{2, {rate * length}}};\n"
        f"inline constexpr int64_t LENGTH = {length}, STRIDE = {chunker.options.stride};\n"
        f"inline constexpr int64_t RATE = {rate};\ninline constexpr double POWER = 1.5;\n}}\n"
    )
    (tmp_path / "main.cpp").write_text(MAIN)
    program = tmp_path / "main"
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(
        ["g++", *flags, f"-I{tmp_path}", f"-I{CPP}", str(tmp_path / "main.cpp"), "-o", program],  # noqa: S607
        check=True,
    )
    for total in (1, length, 3 * length + 5):
        mix = np.random.default_rng(total).standard_normal((2, total)).astype(np.float32)
        done = subprocess.run([program], input=mix.tobytes(), capture_output=True, check=True)
        found = np.frombuffer(done.stdout, np.float32).reshape(2, -1)
        np.testing.assert_allclose(joined(chunker, mix, rate), found, rtol=0, atol=2e-6)


def test_other_layouts_ship_python_only() -> None:
    """An input with the time axis first ships with Python code alone.

    The code in C++ takes rows of one tensor; the code in Python takes any layout.
    """
    spec = TensorSpec("x", ("time", "channel"), ("time", 2))
    info = ModelInfo(Signature((spec,), (spec,)), ("x",), ("y",))
    shipped = OverlapAdd(OverlapAddOptions()).ships(info)
    assert list(shipped.sources) == ["python/join.py"]


def test_whole_hands_the_input_on() -> None:
    """The device code of `whole` passes the whole input to the model, uncut."""
    sources = Whole(Whole.Options()).ships(ModelInfo(signature(1), ("mix",), ("out",))).sources
    play = runpy.run_path(str(sources["python/join.py"]))["play"]
    assert play({"mix": 1}, {}, lambda inputs: {"out": inputs["mix"] + 1}) == {"out": 2}
