"""The options of the runtime `tensorrt`."""

from __future__ import annotations

from dataclasses import dataclass, field

from core import from_target
from core.config.bounds import check_within
from plugins.runtime._tensorrt.capabilities import parsed
from plugins.runtime._tensorrt.library import Flavour
from plugins.runtime._tensorrt.profiles import check_ranges

__all__ = ["TensorRtOptions"]

_HIGHEST_LEVEL = 5
#: More memory than any GPU has.
_MOST_WORKSPACE_MB = 10_000_000


@dataclass
class TensorRtOptions:
    """The options of `tensorrt`."""

    flavour: Flavour = from_target("tensorrt_flavour", default="auto")
    """Which library: rtx (TensorRT-RTX: GeForce and RTX GPUs, builds without a GPU), tensorrt (all
    GPUs, builds only for the GPU in the machine), or auto: the one that is installed."""
    compute_capabilities: list[str] = from_target("compute_capabilities")
    """The sorts of GPU that the engine is for, such as [8.9, 12.0]."""
    profiles: list[dict[str, list[int]]] = field(default_factory=list)
    """For a graph with free lengths: per profile and free axis the least, best and greatest length,
    such as [{batch: [1, 4, 8]}]. An axis without a name is called by its input: mix[2]."""
    optimisation_level: int = 3
    """How hard the builder looks for fast kernels, 0 to 5."""
    workspace_mb: int = 0
    """GPU memory that a layer may use for scratch, in MB; 0 sets no limit."""
    weight_streaming: bool = False
    """Weights may stay in the machine's memory, for GPUs that do not hold them all. Slower."""
    refit: bool = False
    """Weights may be replaced in the engine. Building such an engine needs a GPU."""
    version_compatible: bool = False
    """The engine is also for later versions of the library (flavour tensorrt only)."""
    hardware_compatible: bool = False
    """The engine is for all GPUs from Ampere on (flavour tensorrt only; rtx takes several
    `compute_capabilities` instead)."""
    timing_cache: bool = True
    """Keep the times of kernels for the next build (flavour tensorrt only: rtx times nothing)."""
    cuda_graphs: bool = True
    """Run the engine as one CUDA graph."""
    time_limit_s: float = 3600.0
    """Seconds that building may take."""
    memory_limit_mb: int = 20000
    """Memory of this machine that building may take, in MB."""

    def __post_init__(self) -> None:
        """Raise ValueError for a value that the library would refuse later, and less clearly."""
        check_within(self, "optimisation_level", 0, _HIGHEST_LEVEL)
        check_within(self, "workspace_mb", 0, _MOST_WORKSPACE_MB)
        if self.time_limit_s <= 0 or self.memory_limit_mb <= 0:
            raise ValueError("`time_limit_s` and `memory_limit_mb` must be above 0")
        if not self.compute_capabilities:
            raise ValueError("`compute_capabilities` is empty; give at least one, such as [8.9]")
        for capability in self.compute_capabilities:
            parsed(capability)
        check_ranges(self.profiles)
