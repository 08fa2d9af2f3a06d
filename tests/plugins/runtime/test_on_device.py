"""A bundle's programs open no file outside the bundle's folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core
from core.store.hashing import file_digest
from plugins.chunker._on_device import __file__ as chunker
from plugins.runtime._on_device import __file__ as runtime

OWN = Path(core.__file__).parent / "bundle" / "on_device" / "python"
JOIN = Path(chunker).parent / "whole" / "python" / "join.py"
GRAPHS = {name: {"file": f"{name}.onnx"} for name in ("forward", "inverse")}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return a folder with a bundle's programs, and a graph outside the folder."""
    folder = tmp_path / "outer" / "bundle"
    (folder / "python").mkdir(parents=True)
    any_device = (Path(runtime).parent / "any" / "python").glob("*.py")
    for file in (*OWN.glob("*.py"), JOIN, *any_device):
        shutil.copy(file, folder / "python")
    (tmp_path / "canary.onnx").write_text("no graph, but a file that is there")
    return folder


def listed(bundle: Path) -> None:
    """Write the list of hashes that fits the bundle."""
    name = "metadata.json"
    (bundle / "SHA256SUMS").write_text(f"# bundle x\n{file_digest(bundle / name)}  {name}\n")


def played(bundle: Path, of: str, about: Any) -> subprocess.CompletedProcess[str]:
    """Run the program with one runtime's device code and the content of `metadata.json`."""
    shutil.copy(Path(runtime).parent / of / "python" / "device.py", bundle / "python")
    (bundle / "metadata.json").write_text(about if isinstance(about, str) else json.dumps(about))
    listed(bundle)
    return subprocess.run(
        [sys.executable, "python/run.py", "none.npz", "out"],
        cwd=bundle,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("of", "changes"),
    [
        ("onnxruntime", {"model": {"file": "../../canary.onnx"}}),
        ("qnn", {"fallback": {"file": "../../canary.onnx"}}),
        ("onnxruntime", {"host_graphs": {**GRAPHS, "inverse": {"file": "../../canary.onnx"}}}),
    ],
)
def test_a_graph_outside_of_the_bundle_is_not_opened(
    bundle: Path, of: str, changes: dict[str, Any]
) -> None:
    """A `metadata.json` that names a graph outside the bundle is refused before it is opened."""
    import onnx

    x, y = (onnx.helper.make_tensor_value_info(name, 1, [1]) for name in "xy")
    same = onnx.helper.make_node("Identity", ["x"], ["y"])
    graph = onnx.helper.make_graph([same], "same", [x], [y])
    for name in ("model", "forward", "inverse"):
        onnx.save(
            onnx.helper.make_model(
                graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)]
            ),
            bundle / f"{name}.onnx",
        )
    about = {"format": 1, "tensors": {"inputs": {}, "outputs": {}}, "host_graphs": None,
             "model": {"file": "model.onnx"}, "fallback": {"file": "model.onnx"}, "runtime": {},
             "signature": {"inputs": []}, "chunking": {}}  # fmt: skip
    np.savez(bundle / "none.npz")
    done = played(bundle, of, {**about, **changes})
    assert done.returncode == 1
    assert done.stderr.strip().startswith("metadata.json names a file outside of the bundle")


@pytest.mark.parametrize("about", ["", "[" * 100_000, '{"format": 2}'])
def test_metadata_that_cannot_be_is_one_message(bundle: Path, about: str) -> None:
    """A broken `metadata.json` ends in one line without a traceback."""
    done = played(bundle, "onnxruntime", about)
    assert done.returncode == 1
    assert "metadata.json" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
