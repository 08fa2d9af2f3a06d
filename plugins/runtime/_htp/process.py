"""Runs Qualcomm's compiler and HTP emulator in a child process, which may crash.

The vendor's library ends the process it lives in when it runs out of memory or meets a graph
that it cannot take. `compile_context` and `emulate` start `child.py`, watch its time and
memory, and turn every way it can end into a result or a `QnnFailure` that says what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.formats.onnx_placement import Executed
from core.machine.child_process import Limits, Progress, asked_of_child
from plugins.runtime._htp.failure import QnnFailure, failure_of
from plugins.runtime._htp.library import INSTALL, available

__all__ = [
    "CompiledContext",
    "Emulation",
    "HtpDevice",
    "Limits",
    "QnnFailure",
    "available",
    "compile_context",
    "emulate",
    "explain",
]


@dataclass(frozen=True)
class HtpDevice:
    """The NPU that is compiled for; the defaults are a Galaxy S24 (SM8650)."""

    soc_model: int = 57
    """Qualcomm's number of the chip."""
    htp_arch: int = 75
    """Version of the Hexagon tensor processor."""
    finalization_mode: int = 1
    """How hard it optimises (0 to 3): the small HTDemucs in int8 took 9 s in 1, 226 s in 0."""
    options: Mapping[str, str] = field(default_factory=dict)
    """More options of the QNN execution provider."""

    def provider_options(self) -> dict[str, str]:
        """Return what onnxruntime's QNN execution provider is opened with."""
        return {
            "soc_model": str(self.soc_model),
            "htp_arch": str(self.htp_arch),
            "htp_graph_finalization_optimization_mode": str(self.finalization_mode),
            **self.options,
        }


@dataclass(frozen=True)
class CompiledContext:
    """A context binary, and where the nodes of its graph went."""

    path: Path
    """The ONNX file that names the binaries and holds whatever stayed on the CPU."""
    binaries: tuple[Path, ...]
    """Context binaries, beside `path`, which names them relatively."""
    binary_bytes: int
    """Their size together."""
    partitions: int
    """Pieces of the graph on the NPU; 1 is a whole model."""
    left: tuple[tuple[str, str], ...]
    """Name and operator of each node on the CPU, but for the ends of the graph."""
    ends: int
    """(De)quantisers of the graph's own inputs and outputs, which always run on the CPU."""
    nodes: int
    """Nodes of the source graph that compute, constants and (de)quantisers not counted."""
    seconds: float
    """Time in the compiler."""
    peak_rss_bytes: int
    """Peak resident memory of the child."""


@dataclass(frozen=True)
class Emulation:
    """The emulator's result for the chunks."""

    outputs: Path
    """`.npz` with each output by name, `(chunk, *shape of the output)`."""
    seconds_per_chunk: tuple[float, ...]
    """Time on this machine: it says nothing about a phone."""
    load_seconds: float
    """Time to open the model."""
    peak_rss_bytes: int
    """Peak resident memory of the child."""
    executed: tuple[Executed, ...]
    """Every node that ran, from ONNX Runtime's profile; the HTP is the provider `EP_NAME`."""


def compile_context(
    model: Path,
    context: Path,
    *,
    folder: Path,
    device: HtpDevice | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> CompiledContext:
    """Compile the ONNX file `model` to a context binary beside `context`, an ONNX file.

    FP32 graphs are compiled in FP16; quantised graphs hold QDQ nodes. Temporary files go to
    `folder`. Raises `QnnFailure`.
    """
    paths = {"model": str(model.resolve()), "context": str(context.resolve())}
    request = {"action": "compile", **paths}
    answer = _ask(request, f"compiling `{model.name}`", folder, device, limits, progress)
    return CompiledContext(
        path=context,
        binaries=tuple(Path(binary) for binary in answer["binaries"]),
        left=tuple((name, operator) for name, operator in answer["left"]),
        **{k: answer[k] for k in ("binary_bytes", "partitions", "ends", "nodes", "seconds")},
        peak_rss_bytes=answer["peak_rss_bytes"],
    )


def explain(
    model: Path,
    *,
    folder: Path,
    device: HtpDevice | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Return why the HTP rejects some nodes of the ONNX file `model`, by the name of the node.

    Nothing is compiled, so this takes seconds. Raises `QnnFailure`.
    """
    request = {"action": "explain", "model": str(model.resolve())}
    answer = _ask(request, f"explaining `{model.name}`", folder, device, limits, progress)
    return dict(answer["reasons"])


def emulate(
    model: Path,
    inputs: Path,
    outputs: Path,
    *,
    folder: Path,
    device: HtpDevice | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Emulation:
    """Run the chunks of `inputs` through `model` on the HTP emulator and write `outputs`.

    `model` is a compiled context, or an ONNX file that is compiled on the way. `inputs` is a
    `.npz` with each input by name, `(chunk, *shape of the input)`. Raises `QnnFailure`.
    """
    request = {
        "action": "emulate",
        "model": str(model.resolve()),
        "inputs": str(inputs.resolve()),
        "outputs": str(outputs.resolve()),
    }
    answer = _ask(request, f"emulating `{model.name}`", folder, device, limits, progress)
    seconds = tuple(answer["seconds_per_chunk"])
    executed = tuple(Executed(*one) for one in answer["executed"])
    return Emulation(outputs, seconds, answer["load_seconds"], answer["peak_rss_bytes"], executed)


def _ask(
    request: dict[str, Any],
    what: str,
    folder: Path,
    device: HtpDevice | None,
    limits: Limits | None,
    progress: Progress | None,
) -> dict[str, Any]:
    """Have the child answer `request`; raise `QnnFailure` when it does not."""
    if reason := available():
        raise QnnFailure(f"{what} for the HTP: {reason}", INSTALL, cause="missing")
    limits = limits or Limits()
    end, answer = asked_of_child(
        "plugins.runtime._htp.child",
        {**request, "device": (device or HtpDevice()).provider_options()},
        "qnn",
        limits=limits,
        folder=folder,
        progress=progress,
    )
    if end.cause != "exit" or "error" in answer or not answer:
        raise failure_of(what, end, limits, str(answer.get("error", "")))
    return dict(answer)
