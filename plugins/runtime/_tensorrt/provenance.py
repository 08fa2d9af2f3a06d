"""The record beside an engine: which graph, library and GPU it is for, and the hash of its bytes.

An engine is code: the library trusts it, and a damaged one, or one for another GPU or version, may
end the process. So `opened` reads the engine once, compares it with its record and with this
machine, and returns exactly the bytes that it has checked.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from core import StageError
from core.store.hashing import digest
from plugins.runtime._tensorrt.capabilities import parsed

__all__ = ["Here", "Record", "opened", "platform_name", "record_path", "write"]

#: Increased when the record changes its meaning.
FORMAT = 1
_AMPERE = (8, 0)
_AGAIN = "build it again with its recipe"


@dataclass(frozen=True)
class Record:
    """Everything that decides where an engine may run.

    `onnx_sha256` covers every file of the graph. `platform` is system and processor: NVIDIA's
    support matrix calls engines not portable across platforms. `driver` is the CUDA version of the
    driver that built it, "" where no GPU took part. `inputs` and `outputs` are names; `profiles`
    hold, for each profile and input, the least, best and greatest length along each axis.
    """

    onnx_sha256: str
    flavour: str
    version: str
    capabilities: list[str]
    engine_sha256: str
    engine_bytes: int
    platform: str
    driver: str = ""
    hardware_compatible: bool = False
    version_compatible: bool = False
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    profiles: list[dict[str, list[list[int]]]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT


@dataclass(frozen=True)
class Here:
    """What an engine would be opened with: the library, the GPU's capability, and the platform."""

    flavour: str
    version: str
    capability: str
    platform: str


def platform_name() -> str:
    """Return this machine's system and processor, such as `linux-x86_64`."""
    return f"{sys.platform}-{platform.machine().lower()}"


def record_path(engine: Path) -> Path:
    """Return the path of the record of an engine."""
    return engine.with_name(f"{engine.name}.json")


def write(record: Record, engine: Path) -> None:
    """Write the record beside its engine, with a hash of its own."""
    values = asdict(record)
    text = json.dumps({**values, "sha256": digest(values)}, indent=1)
    record_path(engine).write_text(f"{text}\n", encoding="utf-8")


def opened(engine: Path, here: Here) -> tuple[bytes, Record]:
    """Return the engine's bytes and its record, if this machine may open it.

    Raises StageError for a record that is missing or damaged, for an engine that is not the one of
    the record, and for another library, version or GPU. The library has not seen a byte by then.
    """
    record = _read(engine)
    at = f"at: {engine}"
    built = f"it was built by {_titled(record.flavour)} {record.version} for compute capability "
    built += _either(record.capabilities)
    if record.flavour != here.flavour:
        raise StageError(
            f"the engine is one of {_titled(record.flavour)}, and {_titled(here.flavour)} cannot "
            "read it",
            at,
            built,
            f"choose its library: runtime.flavour={record.flavour}",
        )
    if not _same_version(record, here):
        raise StageError(
            f"the engine was built by {_titled(record.flavour)} {record.version}, and installed is "
            f"{here.version}",
            at,
            "engines are read by the version that built them",
            f"install that version, or {_AGAIN}",
        )
    if record.platform != here.platform:
        raise StageError(
            f"the engine was built on {record.platform}, and this machine is {here.platform}",
            at,
            "engines are read by the system and processor that they were built on",
            f"{_AGAIN} there",
        )
    if not _same_gpu(record, here):
        raise StageError(
            f"the engine is for GPUs of compute capability {_either(record.capabilities)}, and "
            f"this machine's is {here.capability}",
            at,
            built,
            f"build for it: runtime.compute_capabilities=[{here.capability}]",
        )
    data = engine.read_bytes()
    if len(data) != record.engine_bytes or _sha256(data) != record.engine_sha256:
        what = (
            f"it has {len(data):,} bytes, its record says {record.engine_bytes:,}"
            if len(data) != record.engine_bytes
            else "its SHA-256 differs from its record"
        )
        raise StageError(
            f"the engine is damaged: {what}", at, "it was not handed to the library", _AGAIN
        )
    return data, record


def _read(engine: Path) -> Record:
    path = record_path(engine)
    try:
        text = path.read_bytes()
        engine.stat()
    except OSError as error:
        raise StageError(
            f"the engine or its record cannot be read: {error.strerror or error}",
            f"at: {engine}",
            f"an engine without its record `{path.name}` is not opened: nothing says what it is",
            _AGAIN,
        ) from error
    try:
        return _decoded(text)
    except ValueError as error:  # what msgspec raises is one, too
        raise StageError(
            f"the record of the engine is damaged: {error}",
            f"at: {path}",
            "the engine was not handed to the library",
            _AGAIN,
        ) from error


def _decoded(text: bytes) -> Record:
    """Return the record that `write` wrote; raises ValueError for any other text."""
    values = msgspec.json.decode(text, type=dict[str, Any])
    if values.pop("sha256", None) != digest(values):
        raise ValueError("its own hash does not match")
    if values.get("format") != FORMAT:
        raise ValueError(f"its format is {values.get('format')!r}, known is {FORMAT}")
    return msgspec.convert(values, Record)


def _same_version(record: Record, here: Here) -> bool:
    if record.version == here.version:
        return True
    if not record.version_compatible:
        return False
    mine, theirs = (_numbers(text) for text in (here.version, record.version))
    return mine[:1] == theirs[:1] and mine >= theirs


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _same_gpu(record: Record, here: Here) -> bool:
    if here.capability in record.capabilities:
        return True
    # `HardwareCompatibilityLevel.AMPERE_PLUS`: built on any GPU from Ampere, runs on any of them.
    return record.hardware_compatible and parsed(here.capability) >= _AMPERE


def _titled(flavour: str) -> str:
    return {"rtx": "TensorRT-RTX", "tensorrt": "TensorRT"}.get(flavour, flavour)


def _either(names: list[str]) -> str:
    return " or ".join(names) or "none"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
