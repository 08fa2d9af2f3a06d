"""Whether a graph and the options fit the chosen library, before anything is made."""

from __future__ import annotations

from core import ArtifactSpec
from core.errors import MisfitError
from plugins.runtime._tensorrt.capabilities import LEAST, RTX, too_old
from plugins.runtime._tensorrt.integers import MEND, REFUSED
from plugins.runtime._tensorrt.library import FLAVOURS, Flavour, choose
from plugins.runtime._tensorrt.options import TensorRtOptions

__all__ = ["check_fit"]


def check_fit(options: TensorRtOptions, spec: ArtifactSpec) -> None:
    """Raise MisfitError for integers, GPUs or options that the chosen library would refuse.

    Where no library is installed, the rules are those of TensorRT-RTX if `flavour` is auto.
    """
    if refused := sorted(spec.traits & REFUSED):
        raise MisfitError(
            "runtime `tensorrt` takes signed, symmetric integers, but the quantizer makes "
            f"{' and '.join(refused)}",
            MEND,
        )
    if old := too_old(spec.precision, options.compute_capabilities):
        raise MisfitError(
            f"GPUs of compute capability {', '.join(old)} have no {spec.precision}; it begins "
            f"with {LEAST[spec.precision]}",
            "choose another: precision=... or runtime.compute_capabilities=[...]",
        )
    library, _ = choose(options.flavour)
    flavour = library.flavour if library is not None else options.flavour
    if flavour is not Flavour.tensorrt:
        _check_rtx(options)
    elif len(options.compute_capabilities) > 1 and not options.hardware_compatible:
        raise MisfitError(
            "TensorRT builds an engine for one sort of GPU, but `compute_capabilities` names "
            f"{len(options.compute_capabilities)}",
            "choose one, or all from Ampere on (runtime.hardware_compatible=true), or the other "
            "library (runtime.flavour=rtx)",
        )


def _check_rtx(options: TensorRtOptions) -> None:
    """Raise MisfitError for GPUs and options that TensorRT-RTX does not have."""
    if unknown := [c for c in options.compute_capabilities if c not in RTX]:
        other = FLAVOURS[Flavour.tensorrt]
        raise MisfitError(
            f"TensorRT-RTX builds nothing for compute capability {', '.join(unknown)}",
            f"it builds for: {', '.join(RTX)}",
            f"{other.title} does, on a machine with such a GPU: runtime.flavour=tensorrt "
            f"({other.install})",
        )
    for name in ("version_compatible", "hardware_compatible"):
        if getattr(options, name):
            raise MisfitError(
                f"TensorRT-RTX has no `{name}` engines",
                f"leave it out: runtime.{name}=false",
                "name every sort of GPU (runtime.compute_capabilities=[8.6,8.9]), or choose "
                "runtime.flavour=tensorrt",
            )
