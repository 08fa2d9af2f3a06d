"""Whether this machine can run an engine: its driver, its GPU, and PyTorch's build."""

from __future__ import annotations

from collections.abc import Sequence

from plugins.runtime._tensorrt.driver import Machine
from plugins.runtime._tensorrt.library import Library

__all__ = ["why_not"]


def why_not(library: Library, here: Machine, capabilities: Sequence[str]) -> str:
    """Return why `library` cannot run an engine for `capabilities` on `here`; "" where it can.

    Empty `capabilities` allow every GPU.
    """
    if here.problem:
        return here.problem
    if library.cuda and here.cuda // 1000 < library.cuda:
        return (
            f"the NVIDIA driver is too old: it serves CUDA {here.driver}, and {library.title} "
            f"{library.version} here needs {library.cuda}.0; install a newer driver"
        )
    gpu = here.gpus[0]
    if capabilities and gpu.capability not in capabilities:
        return (
            f"the engine is for GPUs of compute capability {' or '.join(capabilities)}, and "
            f"{gpu.name} has {gpu.capability}: runtime.compute_capabilities=[{gpu.capability}]"
        )
    return _torch_problem()


def _torch_problem() -> str:
    """Return why PyTorch, which holds the tensors on the GPU, does not reach it."""
    import torch

    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None:
        return f"PyTorch {torch.__version__} is built without CUDA: install a build with it"
    return f"PyTorch {torch.__version__} finds no GPU (torch.cuda.is_available() is False)"
