"""An engine is opened only if it is the one of its record, and if it is for this machine."""

from __future__ import annotations

import hashlib
import json
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core import StageContext, StageError
from core.conformance.converter import artifact, torch_model
from core.plugin.progress import silent
from core.store.hashing import digest
from plugins.runtime import tensorrt
from plugins.runtime._tensorrt import driver
from plugins.runtime._tensorrt.driver import Gpu, Machine
from plugins.runtime._tensorrt.library import FLAVOURS, Flavour
from plugins.runtime._tensorrt.provenance import (
    Here,
    Record,
    opened,
    platform_name,
    record_path,
    write,
)
from plugins.runtime.tensorrt import TensorRt, TensorRtOptions

ENGINE = b"vtrt" + bytes(range(256)) * 4
HERE = Here("rtx", "1.7.1.116", "8.9", platform_name())
RECORD = Record(
    onnx_sha256="0" * 64,
    flavour="rtx",
    version="1.7.1.116",
    capabilities=["8.9", "12.0"],
    engine_sha256=hashlib.sha256(ENGINE).hexdigest(),
    engine_bytes=len(ENGINE),
    platform=platform_name(),
    inputs=["x"],
    outputs=["y"],
    profiles=[{"x": [[1, 4, 8], [3, 3, 3]]}],
)


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """Return an engine with its record."""
    path = tmp_path / "model.engine"
    path.write_bytes(ENGINE)
    write(RECORD, path)
    return path


def test_an_engine_for_this_machine_comes_back_with_its_record(engine: Path) -> None:
    """The bytes and the record are those that were written; any of its GPUs will do."""
    assert opened(engine, HERE) == (ENGINE, RECORD)
    assert opened(engine, replace(HERE, capability="12.0"))[0] == ENGINE


@pytest.mark.parametrize("place", [0, 5, 500, len(ENGINE) - 1])
def test_a_flipped_bit_is_refused(engine: Path, place: int) -> None:
    """One bit, wherever it lies, makes another engine."""
    data = bytearray(ENGINE)
    data[place] ^= 1
    engine.write_bytes(data)
    with pytest.raises(StageError, match="the engine is damaged: its SHA-256") as caught:
        opened(engine, HERE)
    assert "it was not handed to the library" in str(caught.value)


@pytest.mark.parametrize("data", [b"", ENGINE[:-1], ENGINE + b"\0"], ids=["empty", "cut", "long"])
def test_another_length_is_refused_with_both_lengths(engine: Path, data: bytes) -> None:
    """A truncated engine is named by its length and that of the record."""
    engine.write_bytes(data)
    with pytest.raises(StageError, match=f"it has {len(data):,} bytes, its record says 1,028"):
        opened(engine, HERE)


@pytest.mark.parametrize(
    ("here", "says", "mend"),
    [
        (replace(HERE, version="1.8.0.1"), "installed is 1.8.0.1", "install that version"),
        (
            replace(HERE, capability="8.6"),
            "capability 8.9 or 12.0, and this machine's is 8.6",
            "runtime.compute_capabilities=[8.6]",
        ),
        (
            replace(HERE, platform="win32-amd64"),
            "this machine is win32-amd64",
            "build it again with its recipe there",
        ),
        (replace(HERE, flavour="tensorrt"), "TensorRT cannot read it", "runtime.flavour=rtx"),
    ],
)
def test_another_library_or_gpu_is_refused(engine: Path, here: Here, says: str, mend: str) -> None:
    """The error says what the engine is for, what is here, and what to do."""
    with pytest.raises(StageError) as caught:
        opened(engine, here)
    assert says in str(caught.value)
    assert mend in str(caught.value)


@pytest.mark.parametrize(
    ("installed", "opens"),
    [("10.1.0", True), ("10.0.0", True), ("9.9.9", False), ("11.0.0", False)],
)
def test_a_version_compatible_engine_opens_in_later_versions_of_its_major_one(
    engine: Path, installed: str, opens: bool
) -> None:
    """Neither an older version nor another major one reads it."""
    write(replace(RECORD, version="10.0.0", version_compatible=True), engine)
    here = replace(HERE, version=installed)
    if opens:
        assert opened(engine, here)[0] == ENGINE
    else:
        with pytest.raises(StageError, match="engines are read by the version"):
            opened(engine, here)


@pytest.mark.parametrize(("capability", "opens"), [("8.0", True), ("9.0", True), ("7.5", False)])
def test_a_hardware_compatible_engine_opens_on_gpus_from_ampere(
    engine: Path, capability: str, opens: bool
) -> None:
    """Turing, the sort before Ampere, does not run it."""
    write(replace(RECORD, hardware_compatible=True), engine)
    here = replace(HERE, capability=capability)
    if opens:
        assert opened(engine, here)[0] == ENGINE
    else:
        with pytest.raises(StageError, match=r"this machine's is 7\.5"):
            opened(engine, here)


def test_an_engine_without_a_record_is_refused(engine: Path) -> None:
    """Nothing says what such an engine is."""
    record_path(engine).unlink()
    with pytest.raises(StageError, match="cannot be read") as caught:
        opened(engine, HERE)
    assert "`model.engine.json`" in str(caught.value)


@pytest.mark.parametrize("wrong", ["capability", "cut", "no json", "no hash", "format", "missing"])
def test_a_damaged_record_is_refused(engine: Path, wrong: str) -> None:
    """Every change of the record shows: it holds a hash of itself, a format, and all its fields."""
    file = record_path(engine)
    text = file.read_text()
    values = json.loads(text)
    if wrong == "no hash":
        del values["sha256"]
    if wrong in ("format", "missing"):
        del values["sha256"]
        if wrong == "format":
            values["format"] = 2
        else:
            del values["version"]
        values["sha256"] = digest(values)
    changed: dict[str, str] = {
        "capability": text.replace('"8.9"', '"8.6"'),
        "cut": text[:-10],
        "no json": "engine",
    }
    file.write_text(changed.get(wrong, json.dumps(values)))
    with pytest.raises(StageError, match="the record of the engine is damaged"):
        opened(engine, replace(HERE, capability="8.6"))


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Pretend that a GPU is here; return the engines that are handed to the library."""
    found: list[bytes] = []

    class EngineSession:
        def __init__(self, data: bytes, *rest: Any, **options: Any) -> None:
            found.append(data)

    module: Any = types.ModuleType("session")
    module.EngineSession = EngineSession
    monkeypatch.setitem(sys.modules, "plugins.runtime._tensorrt.session", module)
    monkeypatch.setattr(driver, "look", lambda: Machine(12090, (Gpu("GPU", "8.9"),)))
    monkeypatch.setattr(TensorRt, "unopenable", lambda _: "")
    library = replace(FLAVOURS[Flavour.rtx])
    monkeypatch.setattr(type(library), "version", "1.7.1.116")
    monkeypatch.setattr(tensorrt, "choose", lambda _: (library, ""))
    monkeypatch.setattr(tensorrt, "clash", lambda _: "")
    return found


@pytest.mark.parametrize("damage", [False, True])
def test_only_an_engine_that_was_checked_reaches_the_library(
    engine: Path, tmp_path: Path, handed: list[bytes], damage: bool
) -> None:
    """`open` hands over the bytes that were checked, and none of a damaged engine."""
    if damage:
        engine.write_bytes(ENGINE[:-1] + b"x")
    given = artifact(tmp_path, engine, "tensorrt_engine", "fp16")
    runtime = TensorRt(TensorRtOptions(Flavour.rtx, ["8.9"]))
    work = StageContext(tmp_path, silent())
    if damage:
        with pytest.raises(StageError, match="the engine is damaged"):
            runtime.open(given, torch_model, work)
        assert handed == []
    else:
        runtime.open(given, torch_model, work)
        assert handed == [ENGINE]
