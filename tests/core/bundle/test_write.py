"""The bundle: what goes to the device, described, hashed, and the same every time."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from core import BundlePart, ModelInfo, Signature, TensorSpec
from core.bundle import program as module
from core.bundle import readme
from tests.conftest import Command

SPEC = TensorSpec("x", ("row", "place"), (2, "place"))
INFO = ModelInfo(Signature((SPEC,), (SPEC,)), ("x",), ("y",), weights="a friend's")


@pytest.fixture
def bundle(command: Command, recipe: Path, tmp_path: Path) -> Path:
    """Return the bundle of a run of toys."""
    assert command(f"recipe={recipe}").code == 0
    (folder,) = (tmp_path / "outputs" / "toy").glob("*/bundle")
    return folder


def about(bundle: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((bundle / "metadata.json").read_text(encoding="utf-8"))
    return read


def test_it_describes_what_it_holds(bundle: Path) -> None:
    """Metadata holds format, signature, chunking, versions, and a hash for every other file."""
    metadata = about(bundle)
    assert metadata["format"] == 1
    assert metadata["signature"]["inputs"][0]["name"] == "x"
    assert metadata["chunking"] == {"plugin": "even", "window": {"place": 8}}
    assert "numpy" in metadata["versions"]
    found = {
        file.relative_to(bundle).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in bundle.rglob("*")
        if file.is_file() and file.name != "SHA256SUMS"
    }
    lines = (bundle / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    assert lines[0] == f"# bundle {metadata['id']}"
    assert {name: digest for digest, name in (line.split("  ") for line in lines[1:])} == found
    del found["metadata.json"]
    assert {name: entry["sha256"] for name, entry in metadata["files"].items()} == found


def test_what_was_compiled_is_there_as_a_fallback(bundle: Path) -> None:
    """The bundle holds the graph as a fallback for devices that cannot run the compiled model."""
    metadata = about(bundle)
    assert metadata["model"]["format"] == "distant"
    assert (metadata["fallback"]["file"], metadata["fallback"]["format"]) == (
        "fallback/gain.txt",
        "torch",
    )
    assert (bundle / "fallback" / "gain.txt").is_file()


def test_two_runs_give_the_same_bundle(
    bundle: Path, command: Command, recipe: Path, tmp_path: Path
) -> None:
    """Two bundles are equal byte for byte: no time, no path, no chance."""
    assert command(f"recipe={recipe}").code == 0
    other = next(b for b in (tmp_path / "outputs" / "toy").glob("*/bundle") if b != bundle)
    contents = [
        {file.relative_to(root): file.read_bytes() for file in root.rglob("*") if file.is_file()}
        for root in (bundle, other)
    ]
    assert contents[0] == contents[1]


def test_a_recipe_whose_plugins_ship_no_program_says_so(bundle: Path) -> None:
    """Toy plugins ship no device code: the bundle has a description and promises no program."""
    assert not (bundle / "python").exists()
    assert "has no program for the device" in (bundle / "README.md").read_text(encoding="utf-8")


def test_weights_without_a_licence_are_loud() -> None:
    """Weights without a licence give a loud notice."""
    assert "NO LICENCE IS STATED" in readme.licence(INFO)
    stated = ModelInfo(INFO.signature, ("x",), ("y",), weights="ours", licence="MIT")
    assert "Licence: MIT" in readme.licence(stated)


def test_no_licence_stands_in_the_bundle(bundle: Path) -> None:
    """Note, README and metadata all say that the toy states no licence."""
    assert "NO LICENCE" in (bundle / "LICENCE-WEIGHTS.txt").read_text(encoding="utf-8")
    assert "none is stated" in (bundle / "README.md").read_text(encoding="utf-8")
    assert about(bundle)["weights"]["licence"] is None


def described(dtype: str = "float32", size: int | str = 8) -> dict[str, Any]:
    """Return metadata of a model of one input and one output, without a dsp."""
    tensor = {"dtype": dtype, "shape": [1, 2, size]}
    return {
        "model": {
            "file": 'a"b.onnx',
            "inputs": [{"name": "x$1", **tensor}],
            "outputs": [{"name": "y", **tensor}],
        },
        "fallback": None,
        "host_graphs": None,
        "tensors": {"inputs": {"x": "x$1"}, "outputs": {"y": "y"}},
        "id": "0f" * 32,
        "golden": None,
        "chunking": {"plugin": "even", "length": 8, "overlap": 0.25, "exact": True},
    }


def program(tmp_path: Path) -> BundlePart:
    """Return a program in all languages, of empty files."""
    (tmp_path / "empty").write_text("")
    places = ("python/window.py", "python/join.py", "cpp/window.h", "cpp/join.h")
    kotlin = ("kotlin/Window.kt", "kotlin/Join.kt")
    return BundlePart(sources=dict.fromkeys((*places, *kotlin), tmp_path / "empty"))


def test_compiled_languages_get_constants(tmp_path: Path) -> None:
    """Strings are quoted for each language, and every number of the chunker is a constant."""
    target = tmp_path / "bundle"
    assert module.write(target, described(), [program(tmp_path)]) == [
        "python",
        "cpp",
        "kotlin",
    ]
    cpp = (target / "cpp" / "bundle.h").read_text(encoding="utf-8")
    assert 'MODEL = "a\\"b.onnx";' in cpp
    assert 'INPUT = "x$1";' in cpp
    assert "INPUT_SHAPE{1, 2, 8};" in cpp
    assert "int64_t LENGTH = 8;" in cpp
    assert "double OVERLAP = 0.25;" in cpp
    assert "EXACT" not in cpp
    kotlin = (target / "kotlin" / "Bundle.kt").read_text(encoding="utf-8")
    assert 'const val INPUT = "x\\$1"' in kotlin
    assert "const val LENGTH = 8L" in kotlin


@pytest.mark.parametrize("metadata", [described("uint8"), described(size="any")])
def test_only_python_takes_other_types_and_any_length(
    tmp_path: Path, metadata: dict[str, Any]
) -> None:
    """Compiled programs are for floats of fixed shapes; only Python handles other models."""
    assert module.write(tmp_path / "bundle", metadata, [program(tmp_path)]) == ["python"]


def test_a_language_without_a_part_is_left_out(tmp_path: Path) -> None:
    """No file is written of a language that lacks a part of its program."""
    whole = program(tmp_path)
    sources = {place: file for place, file in whole.sources.items() if "Join" not in place}
    target = tmp_path / "bundle"
    assert module.write(target, described(), [BundlePart(sources=sources)]) == ["python", "cpp"]
    assert not (target / "kotlin").exists()
