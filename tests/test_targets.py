"""Every Snapdragon with a YAML file compiles the bundled model, at a short window.

GPUs have a YAML file as well; their engines are built in `tests/plugins/runtime/test_tensorrt.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.runtime._htp.library import available
from plugins.runtime._tensorrt.capabilities import RTX
from plugins.runtime.tensorrt import Flavour, TensorRtOptions
from tests.conftest import Command

CONF = Path(__file__).parent.parent / "conf"
TARGETS = {
    file.stem: content
    for file in sorted((CONF / "target").glob("*.yaml"))
    if "soc_model" in (content := yaml.safe_load(file.read_text())).get("facts", {})
}
PRECISIONS = {file.stem for file in (CONF / "precision").glob("*.yaml")}
GPUS = {
    file.stem: content
    for file in sorted((CONF / "target").glob("*.yaml"))
    if "compute_capabilities" in (content := yaml.safe_load(file.read_text())).get("facts", {})
}
#: Four STFT frames: enough for every layer, and short enough for many targets.
SAMPLES = 4096


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store for all targets, so that each compiled artifact is made once."""
    return tmp_path_factory.mktemp("store")


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_describes_itself(name: str) -> None:
    """A target has the name of its file, known precisions, and all facts of its chip."""
    content: dict[str, Any] = TARGETS[name]
    assert content["name"] == name
    assert set(content["precisions"]) <= PRECISIONS
    assert {"soc", "soc_model", "htp_arch", "layout", "ai_hub_device"} <= set(content["facts"])


@pytest.mark.parametrize("name", GPUS)
def test_a_gpu_describes_itself(name: str) -> None:
    """A GPU has the name of its file, known precisions, and a capability that its library has."""
    content: dict[str, Any] = GPUS[name]
    facts = content["facts"]
    assert content["name"] == name
    assert set(content["precisions"]) <= PRECISIONS
    assert content["runtime"] == "tensorrt"
    options = TensorRtOptions(
        Flavour(facts.get("tensorrt_flavour", "rtx")), facts["compute_capabilities"]
    )
    assert set(options.compute_capabilities) <= set(RTX) or options.flavour is Flavour.tensorrt


@pytest.mark.skipif(available() is not None, reason=str(available()))
@pytest.mark.parametrize(
    "name",
    [name if name == "s24" else pytest.param(name, marks=pytest.mark.long) for name in TARGETS],
)
def test_the_bundled_model_compiles(
    name: str, command: Command, store: Path, tmp_path: Path
) -> None:
    """The bundled model compiles to one NPU partition, in INT8 and where possible in FP16."""
    wanted = [p for p in ("fp16", "int8") if p in TARGETS[name]["precisions"]]
    assert "int8" in wanted
    done = command(
        "recipe=s24_fit", f"target={name}", f"store={store}", f"output={tmp_path / 'out'}",
        f"fit.precisions=[{','.join(wanted)}]", f"fit.longest={SAMPLES}", f"fit.step={SAMPLES}",
        "fit.calibration_windows=1", "runtime.blame_limit_s=0", "reporter=[]",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    (file,) = tmp_path.glob("out/s24_fit/*/fit.json")
    found = json.loads(file.read_text())
    assert found["target"]["name"] == name
    assert [table["precision"] for table in found["precisions"]] == wanted
    for table in found["precisions"]:
        (row,) = table["rows"]
        assert row["verdict"]["fits"], row["verdict"]["why"]
        facts = row["verdict"]["facts"]
        assert (facts["partitions"], facts["nodes_on_cpu"]) == (1, 0)
