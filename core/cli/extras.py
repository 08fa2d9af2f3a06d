"""The extras of Luthier: what each would bring, and what of it is not installed."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass

from core.machine.environment import installed_version

__all__ = ["BRINGS", "Extra", "extras"]

#: What each extra brings; `dev`, for people who work on Luthier, is left out.
BRINGS = {
    "dynamo": "exporter `onnx_dynamo`",
    "formats": "AAC, ALAC, WMA, Opus in WebM and more as input",
    "joblib": "points of a sweep side by side on this machine",
    "mlflow": "reporter `mlflow`",
    "nncf": "quantizer `nncf`",
    "openvino": "runtime `openvino`: Intel's processors, GPUs and NPUs",
    "optuna": "hydra/sweeper=optuna, which chooses the points of a sweep",
    "qualcomm": "runtimes `qnn` and `qai_hub`: NPUs of Snapdragons, emulated or in Qualcomm AI Hub",
    "ray": "batches and sweeps on many machines",
    "rtx": "TensorRT-RTX for runtime `tensorrt`, which builds without a GPU",
    "s3": "a store at s3://",
    "signing": "signed bundles",
    "slurm": "points of a sweep as jobs of Slurm",
    "tensorrt": "NVIDIA's TensorRT for runtime `tensorrt`, which builds on the GPU that plays",
    "torchao": "quantizers `torch_static` and `torch_dynamic`",
    "webgpu": "WebGPU for runtime `onnxruntime`: any GPU",
}


@dataclass(frozen=True)
class Extra:
    """One extra; `missing` are its packages that are absent, or older or newer than it asks for."""

    name: str
    brings: str
    missing: tuple[str, ...]

    @property
    def install(self) -> str:
        """Return the command that installs it."""
        return f"pip install 'luthier[{self.name}]'"


def extras() -> list[Extra]:
    """Return the extras that the installed metadata of Luthier names, in order of name."""
    try:
        known = importlib.metadata.metadata("luthier").get_all("Provides-Extra") or []
        asked = importlib.metadata.requires("luthier") or []
    except importlib.metadata.PackageNotFoundError:
        return []  # run from a folder, without an installation
    return [
        Extra(name, BRINGS.get(name, ""), tuple(_missing(name, asked)))
        for name in sorted(known)
        if name != "dev"
    ]


def _missing(extra: str, asked: list[str]) -> Iterator[str]:
    from packaging.requirements import Requirement

    for text in asked:
        required = Requirement(text)
        # Without an extra, the marker is of the base install.
        if required.marker is None or required.marker.evaluate({"extra": ""}):
            continue
        if not required.marker.evaluate({"extra": extra}):
            continue
        version = installed_version(required.name)
        if version is None:
            yield required.name
        elif not required.specifier.contains(version, prereleases=True):
            yield f"{required.name}{required.specifier} (here: {version})"
