"""Registers the libraries that plug execution providers into ONNX Runtime; lists their devices."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from core.formats.onnx_providers import reason_of
from plugins.runtime._providers.known import KNOWN, Provider

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["devices_of", "in_words", "plug_in"]

#: ONNX Runtime's levels of its log: warnings, and what ends the process.
WARNING, FATAL = 2, 4
#: Lets WebGPU compute on a processor. Its library reads this when it is registered.
SOFTWARE = "ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER"
#: The names under which this process has registered libraries.
_registered: set[str] = set()


def plug_in(name: str, library: str, provider: str) -> list[Any]:
    """Register a library under `name`, once in a process, and return the devices of `provider`.

    Raises what ONNX Runtime does for a library that cannot be loaded: the system's own words.
    """
    import onnxruntime

    if name not in _registered:
        onnxruntime.register_execution_provider_library(name, library)
        _registered.add(name)
    return [one for one in onnxruntime.get_ep_devices() if one.ep_name == provider]


def devices_of(
    provider: Provider, kind: str = "", *, software: bool = False
) -> tuple[list[onnxruntime.OrtEpDevice], str]:
    """Return the devices that a plugged provider finds, or none and the reason.

    `kind` is CPU, GPU or NPU, or empty for any. With `software`, WebGPU may compute on a processor.
    """
    import onnxruntime

    offer = KNOWN[provider]
    if software:
        if provider.name in _registered and os.environ.get(SOFTWARE) != "1":
            onnxruntime.unregister_execution_provider_library(provider.name)
            _registered.discard(provider.name)
        os.environ[SOFTWARE] = "1"
    # The library's warnings go past the settings of any session.
    onnxruntime.set_default_logger_severity(FATAL)
    try:
        library = importlib.import_module(offer.module).get_library_path()
        every = plug_in(provider.name, library, provider.value)
    except Exception as error:  # it raises a class per status code, with no common base
        return [], "; ".join(reason_of(error))
    finally:
        onnxruntime.set_default_logger_severity(WARNING)
    found = [one for one in every if kind in {"", one.device.type.name}]
    if found:
        return found, ""
    if every:
        kinds = ", ".join(sorted({one.device.type.name for one in every}))
        return [], f"{offer.title} finds no {kind} on this machine, but {kinds}"
    return [], f"{offer.title} finds no device on this machine: {offer.without}"


def in_words(provider: Provider, device: onnxruntime.OrtEpDevice) -> str:
    """Return what a device is: `GPU by NVIDIA`, or that software stands in for one."""
    if provider is Provider.webgpu and device.device.type.name == "CPU":
        return "a software adapter"
    return f"{device.device.type.name} by {device.device.vendor or 'an unknown vendor'}"
