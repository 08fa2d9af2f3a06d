"""A graph opened by OpenVINO, with every setting that changes numbers set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import StageError
from core.machine.cores import threads
from core.plugin.stages import Session
from plugins.runtime._openvino.machine import Choice, found, library, processor, version
from plugins.runtime._openvino.refusals import not_compiled
from plugins.runtime._openvino.repeats import check_repeats, windows_for
from plugins.runtime._openvino.trace import placement

if TYPE_CHECKING:
    import openvino

    from core.plugin.placement import Placement
    from core.plugin.values import Fact, ModelInfo, Tensors

__all__ = ["OpenVinoSession", "settings"]

#: Turns off the step that replaces quantised operators by kernels on integers. The CPU has this
#: property, but does not list it.
SIMULATING = "LP_TRANSFORMS_MODE"
#: The label of a session in which no integer kernel computes.
SIMULATED = "INT8 simulated in floats"


def settings(
    choice: Choice, own_threads: int, cache: Path, *, simulated: bool = False
) -> dict[str, str]:
    """Return the properties for a session on a device; only those that the device has.

    With `simulated`, quantised operators compute in floats that round like integers.

    Without them OpenVINO 2026.4.1 computes in bfloat16 or float16 where the device can, quantises
    the inputs of linear layers whose weights have few bits in groups of 32, and holds the keys and
    values of attention in 8 bits. `ACCURACY` forbids the optimisations that change results.

    Threads that are pinned to cores collide where jobs run side by side, because each process
    counts cores from the first.
    """
    core = library()
    wanted = {
        "PERFORMANCE_HINT": "LATENCY",
        "EXECUTION_MODE_HINT": "ACCURACY",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
        "KV_CACHE_PRECISION": choice.float_.name,
        "ENABLE_CPU_PINNING": "NO",
        "INFERENCE_NUM_THREADS": str(own_threads or threads()),
    }
    known = core.get_property(choice.device, "SUPPORTED_PROPERTIES")
    kept = {name: value for name, value in wanted.items() if name in known}
    if choice.device != "CPU":
        # A GPU or an NPU compiles for minutes. The CPU needs 3 s for the small HTDemucs without
        # a cache and 2 s with one, which would hold every model once more.
        kept["CACHE_DIR"] = str(cache)
    if simulated:
        kept[SIMULATING] = "NO"
    return {**kept, "INFERENCE_PRECISION_HINT": choice.float_.name}


class OpenVinoSession(Session):
    """A graph in OpenVINO's format, compiled for a device.

    `choice` is the device and type to use, `asked` what the recipe says; `simulated` says why
    `own` turns off the kernels for integers. Raises StageError where the graph does not compile,
    where the device computes in another type than `choice` has, and where it does not repeat its
    results.
    """

    def __init__(
        self,
        path: Path,
        info: ModelInfo,
        *,
        choice: Choice,
        asked: Choice,
        own: dict[str, str],
        simulated: str = "",
    ) -> None:
        model = library().read_model(path)
        # The compiled model may know a tensor by several names, the model as read has the graph's.
        self._inputs = [_name(port, info.core_inputs) for port in model.inputs]
        self._outputs = [_name(port, info.core_outputs) for port in model.outputs]
        self._quantised = any(n.get_type_name() == "FakeQuantize" for n in model.get_ops())
        self._simulated = simulated if self._quantised else ""
        if self._simulated:
            _unpack(model)
        try:
            self._compiled = library().compile_model(model, choice.device, own)
        except RuntimeError as error:
            raise not_compiled(error, path, choice.device, version()) from error
        self._check_type(choice)
        self._choice, self._asked = choice, asked
        self._request = self._compiled.create_infer_request()
        about = found(choice.device)
        how = (choice.float_.name, self._simulated and SIMULATED, about.title if about else "")
        named = ", ".join(filter(None, how))
        self.device = f"{choice.device} (OpenVINO {version()}, {named})"
        self.facts = self._facts()
        if choice.device != "CPU":
            self._check_repeats()

    def run(self, feeds: Tensors) -> Tensors:
        """Run the graph; an array that is not of the graph's own type or shape is an error."""
        missing = [name for name in self._inputs if name not in feeds]
        if missing:
            raise StageError(
                f"the graph needs the input `{missing[0]}`, which the dsp does not give",
                f"the dsp gives: {', '.join(feeds) or 'nothing'}",
            )
        known = {name: feeds[name] for name in self._inputs}
        # OpenVINO's Python interface casts what is of another type.
        if any(str(a.dtype) != self._dtype(i) for i, a in enumerate(known.values())):
            raise self._unfit(known, "an input is of another type")
        try:
            # By position: a port may have several names, or none.
            results = self._request.infer(dict(enumerate(known.values())), share_inputs=True)
        except RuntimeError as error:
            raise self._unfit(known, str(error).strip().splitlines()[-1]) from error
        return {name: results[i].copy() for i, name in enumerate(self._outputs)}

    def placement(self, feeds: Tensors) -> Placement | None:
        """Return what computes each node; None where the device gives no trace."""
        return placement(self._compiled, self._choice, self._asked, quantised=self._quantised)

    def close(self) -> None:
        """Free the graph's memory."""
        del self._request, self._compiled

    def _dtype(self, index: int) -> str:
        return str(self._compiled.inputs[index].get_element_type().to_dtype())

    def _unfit(self, known: Tensors, why: str) -> StageError:
        given = (f"{n} {a.dtype} {'×'.join(map(str, a.shape))}" for n, a in known.items())
        takes = (
            f"{name} {self._dtype(i)} {self._compiled.inputs[i].partial_shape}"
            for i, name in enumerate(self._inputs)
        )
        return StageError(
            "OpenVINO cannot run the graph on these inputs",
            why,
            f"given: {', '.join(given)}",
            f"the graph takes: {', '.join(takes)}",
        )

    def _check_type(self, choice: Choice) -> None:
        """Raise StageError where the compiled model computes in another type than it was told."""
        used = self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if used != choice.float_.name:
            raise StageError(
                f"OpenVINO computes in {used} on {choice.device}, although it was told "
                f"{choice.float_.name}",
                f"ask for what it does: runtime.precision={used}",
            )

    def _facts(self) -> dict[str, Fact]:
        def property_(name: str) -> Any:
            try:
                return self._compiled.get_property(name)
            except RuntimeError:  # a device may not have it
                return None

        about: dict[str, Fact] = {
            "openvino_precision": self._choice.float_.name,
            "openvino_streams": property_("NUM_STREAMS"),
            "openvino_threads": property_("INFERENCE_NUM_THREADS"),
        }
        if self._choice.device == "CPU":
            about["processor"] = [*processor()]
        if self._simulated:
            about["int8_simulated_because"] = self._simulated
        if self._choice.reasons:
            about["instead_of_what_was_asked"] = "; ".join(self._choice.reasons)
        return about

    def _check_repeats(self) -> None:
        """Check a device other than the CPU with noise; a graph of free lengths has no example."""
        ports = self._compiled.inputs
        if any(port.partial_shape.is_dynamic for port in ports):
            return
        shapes = {
            name: ([*port.shape], self._dtype(index))
            for index, (name, port) in enumerate(zip(self._inputs, ports, strict=True))
        }
        check_repeats(self.run, windows_for(shapes), self.device)


def _unpack(model: openvino.Model) -> None:
    """Turn weights of few bits into the floats that they stand for, in memory.

    OpenVINO 2026.4.1 takes a convolution of size 1 with such weights for a product of matrices if a
    transposition of any axes is before it, and then fails, because the shapes do not fit.
    """
    from openvino.passes import ConstantFolding, Manager

    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(model)


def _name(port: openvino.Output, known: tuple[str, ...]) -> str:
    """Return the name of an input or output: the model's own, if it is one of several."""
    names = port.get_names()
    return next((name for name in known if name in names), min(names, default=""))
