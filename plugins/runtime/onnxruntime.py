"""Plays ONNX graphs with ONNX Runtime on this machine's CPU."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from core import (
    Artifact,
    BundlePart,
    ModelInfo,
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
from core.formats.onnx_providers import GraphOn, reason_of, session_on
from core.formats.onnx_session import session_options

if TYPE_CHECKING:
    import onnxruntime


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

    def __post_init__(self) -> None:
        """Raise ValueError for an invalid number of threads."""
        check_within(self, "threads", 0, MOST_THREADS)


class OnnxRuntimeSession(Session):
    """An ONNX graph opened on the CPU."""

    def __init__(self, path: Path, options: OnnxRuntimeOptions, folder: Path) -> None:
        """Open the graph at `path`; a trace writes its profile below `folder`."""
        import onnxruntime

        check_weights(path)
        self._graph, self._folder = GraphOn(path, partial(_settings, options)), folder
        self._session, _ = session_on(self._graph)
        self._inputs = {i.name: i.type for i in self._session.get_inputs()}
        self._outputs = [o.name for o in self._session.get_outputs()]
        self.device = f"CPU (ONNX Runtime {onnxruntime.__version__}, {platform.machine()})"

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
        return traced(self._graph, feeds, self._folder)

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
    return settings


class OnnxRuntime(Runtime[OnnxRuntimeOptions]):
    """Plays ONNX graphs on the CPU, of every precision that a quantizer makes."""

    name = "onnxruntime"
    accepts = frozenset({"onnx"})
    Options = OnnxRuntimeOptions
    libraries = (Requirement("onnxruntime", "pip install onnxruntime"),)

    def open(
        self,
        artifact: Artifact,
        model: Callable[[], TorchModel],  # the graph is all that it needs
        work: StageContext,
    ) -> Session:
        """Open the graph; raises StageError when ONNX Runtime cannot."""
        work.progress(0, 0, "opening the graph in ONNX Runtime")
        return OnnxRuntimeSession(Path(artifact.path), self.options, work.folder)

    def ships(self, info: ModelInfo) -> BundlePart:
        """Return the code that opens and runs the graph on a device's CPU."""
        from importlib.metadata import version

        from plugins.runtime._on_device import sources

        library = f"com.microsoft.onnxruntime:onnxruntime-android:{version('onnxruntime')}"
        gradle = f'dependencies {{ implementation("{library}") }}\n'
        return BundlePart(sources=sources(self.name), lines={"kotlin": gradle})


@hookimpl
def luthier_plugins() -> list[type[OnnxRuntime]]:
    """Return the plugin of this file."""
    return [OnnxRuntime]
