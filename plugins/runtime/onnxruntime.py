"""Plays ONNX graphs with ONNX Runtime, on this machine's CPU or on another execution provider."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from core import (
    Artifact,
    ArtifactSpec,
    BundlePart,
    Fact,
    ModelInfo,
    Notice,
    Placement,
    Requirement,
    Runtime,
    Session,
    StageContext,
    StageError,
    Tensors,
    TorchModel,
    hookimpl,
)
from core.config.bounds import MOST_THREADS, check_within
from core.formats.onnx_graph import check_weights
from core.formats.onnx_placement import traced
from core.formats.onnx_providers import reason_of
from core.formats.onnx_session import session_options
from core.formats.precision_census import precision_by_node
from plugins.runtime._providers.known import KNOWN, Provider, check_installed, installed
from plugins.runtime._providers.opened import Asked, opened

if TYPE_CHECKING:
    import onnxruntime


#: Kinds of device that a provider may have.
KINDS = ("", "CPU", "GPU", "NPU")


class Optimisation(Enum):
    """How far ONNX Runtime rewrites a graph when it opens it."""

    none = "ORT_DISABLE_ALL"
    basic = "ORT_ENABLE_BASIC"
    extended = "ORT_ENABLE_EXTENDED"
    all = "ORT_ENABLE_ALL"


@dataclass
class OnnxRuntimeOptions:
    """The options of the runtime `onnxruntime`."""

    threads: int = 0
    """Threads that one operator may use; 0 for one per core."""
    optimisation: Optimisation = Optimisation.all
    """How far the graph is rewritten when it is opened: none, basic, extended or all."""
    spinning: bool = False
    """Whether threads keep their cores busy while they wait. It may save time on a machine that has
    more cores than threads."""
    provider: Provider = Provider.cpu
    """The execution provider: cpu; openvino, tensorrt_rtx or webgpu, each plugged in by a wheel of
    its own; coreml, cuda, dml, migraphx or xnnpack, if the installed build has them."""
    device: str = ""
    """The kind of device, for a provider that is plugged in: CPU, GPU or NPU; the first it finds if
    empty."""
    provider_options: dict[str, str] = field(default_factory=dict)
    """Options for the provider, by its own names. Those that keep it exact are set already."""
    software_adapter: bool = False
    """Whether the provider webgpu may compute on the processor where there is no GPU. On Linux a
    Vulkan driver in software must be installed; `VK_ICD_FILENAMES` names it if it is not found."""
    allow_fallback: bool = False
    """Whether the CPU may compute what the provider does not take, or all of it if the provider
    does not start. The report says what computed. By default both are errors."""

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range, and for options that exclude each other."""
        check_within(self, "threads", 0, MOST_THREADS)
        if self.device not in KINDS:
            raise ValueError(f"`device` cannot be `{self.device}`; it is CPU, GPU, NPU or empty")
        if self.device and not KNOWN[self.provider].module:
            raise ValueError(f"`device` is no choice with `provider` {self.provider.name}")
        if self.software_adapter and self.provider is not Provider.webgpu:
            raise ValueError("`software_adapter` is for `provider` webgpu")


class OnnxRuntimeSession(Session):
    """An ONNX graph opened on the CPU, or on another execution provider."""

    def __init__(self, path: Path, options: OnnxRuntimeOptions, folder: Path) -> None:
        """Open the graph at `path`; a trace writes its profile below `folder`."""
        import onnxruntime

        check_weights(path)
        self._folder = folder
        asked = Asked(
            options.provider,
            options.device,
            options.provider_options,
            software=options.software_adapter,
            allow_fallback=options.allow_fallback,
        )
        made = opened(path, asked, partial(_settings, options))
        self._session, self._graph = made.session, made.graph
        self._inputs = {i.name: i.type for i in self._session.get_inputs()}
        self._outputs = [o.name for o in self._session.get_outputs()]
        where = made.device or platform.machine()
        self.device = f"{made.title} (ONNX Runtime {onnxruntime.__version__}, {where})"
        if made.reason:
            self.facts = {"instead_of_what_was_asked": made.reason}

    def run(self, feeds: Tensors) -> Tensors:
        """Run the graph; an array that is not of the graph's own type or shape is an error."""
        missing = [name for name in self._inputs if name not in feeds]
        if missing:
            raise StageError(
                f"the graph needs the input `{missing[0]}`, which the dsp does not give",
                f"the dsp gives: {', '.join(feeds) or 'nothing'}",
            )
        # The graph does not use inputs that it does not name: exporters drop such inputs.
        known = {name: feeds[name] for name in self._inputs}
        try:
            values = self._session.run(self._outputs, known)
        except Exception as error:
            given = (f"{n} {a.dtype} {'×'.join(map(str, a.shape))}" for n, a in known.items())
            raise StageError(
                "ONNX Runtime cannot run the graph on these inputs",
                *reason_of(error),
                f"given: {', '.join(given)}",
                f"the graph takes: {', '.join(f'{n} {t}' for n, t in self._inputs.items())}",
            ) from error
        return dict(zip(self._outputs, values, strict=True))

    def placement(self, feeds: Tensors) -> Placement:
        """Return what computed each node, from the profile of one window in a second session."""
        expected = precision_by_node(self._graph.path)
        return traced(self._graph, feeds, self._folder, expected)

    def close(self) -> None:
        """Free the graph's memory."""
        del self._session


def _settings(options: OnnxRuntimeOptions) -> onnxruntime.SessionOptions:
    import onnxruntime

    settings = session_options()
    if options.threads:
        settings.intra_op_num_threads = options.threads
    if options.spinning:
        settings.add_session_config_entry("session.intra_op.allow_spinning", "1")
    settings.graph_optimization_level = getattr(
        onnxruntime.GraphOptimizationLevel, options.optimisation.value
    )
    # x86 processors without VNNI add pairs of 8-bit products in 16 bits, and saturate: a graph for
    # an NPU would sound worse here than there. With this option they add exactly.
    settings.add_session_config_entry("session.x64quantprecision", "1")
    if options.provider is Provider.dml:
        settings.enable_mem_pattern = False  # DirectML does not start with it
    return settings


class OnnxRuntime(Runtime[OnnxRuntimeOptions]):
    """Plays ONNX graphs on the CPU, or on another provider, of every precision."""

    name = "onnxruntime"
    accepts = frozenset({"onnx"})
    Options = OnnxRuntimeOptions
    libraries = (Requirement("onnxruntime", "pip install onnxruntime"),)

    @classmethod
    def findings(cls) -> Sequence[Notice]:
        """Return the execution providers that are installed."""
        names = ", ".join(one.name for one in installed())
        return (Notice("info", f"execution providers: {names}"),)

    def machine(self) -> Mapping[str, Fact]:
        """Return the devices of the provider; {} for the CPU."""
        from plugins.runtime._providers.plugged import devices_of, in_words

        options = self.options
        if not KNOWN[options.provider].module:
            return {}
        found, reason = devices_of(
            options.provider, options.device, software=options.software_adapter
        )
        return {"device": in_words(options.provider, found[0]) if found else reason}

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Return the spec as it is; raises MissingLibraryError if nothing brings the provider."""
        if self.options.provider is not Provider.cpu:
            check_installed(self.options.provider)
        return spec

    def open(
        self,
        artifact: Artifact,
        model: Callable[[], TorchModel],  # the graph is all that it needs
        work: StageContext,
    ) -> Session:
        """Open the graph; raises StageError when ONNX Runtime, or the provider, cannot.

        Raises MissingLibraryError if nothing brings the provider.
        """
        self.plan(artifact.spec)
        work.progress(0, 0, "opening the graph in ONNX Runtime")
        return OnnxRuntimeSession(Path(artifact.path), self.options, work.folder)

    def ships(self, info: ModelInfo) -> BundlePart:
        """Return the code that runs the graph on a device: on the provider, or else on the CPU."""
        from importlib.metadata import version

        from plugins.runtime._on_device import onnxruntime_library, sources

        library = f"com.microsoft.onnxruntime:onnxruntime-android:{version('onnxruntime')}"
        gradle = f'dependencies {{ implementation("{library}") }}\n'
        provider = self.options.provider
        facts: dict[str, Fact] = {
            "provider": provider.name,
            "execution_provider": provider.value,
            "provider_options": dict(KNOWN[provider].options),
        }
        lines = {"kotlin": gradle}
        return BundlePart(facts, sources(self.name), lines, (onnxruntime_library(),))


@hookimpl
def luthier_plugins() -> list[type[OnnxRuntime]]:
    """Return the plugin of this file."""
    return [OnnxRuntime]
