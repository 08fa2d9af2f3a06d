"""Runs an engine on this machine's GPU, through tensors of PyTorch on CUDA.

None of the machines that this project was written on has an NVIDIA GPU: this file follows NVIDIA's
API, and has never run. Everything that needs no GPU (the check of an engine, the choice of a
profile, the list of layers) is in other files, which are tested.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from core import Progress, Session, StageError, Tensors
from plugins.runtime._tensorrt.layers import layers_in
from plugins.runtime._tensorrt.library import Flavour, Library
from plugins.runtime._tensorrt.profiles import fitting
from plugins.runtime._tensorrt.provenance import Record

if TYPE_CHECKING:
    from core import Placement

__all__ = ["EngineSession"]

_MS = 1000.0


class EngineSession(Session):
    """An engine on the first GPU. Inputs and outputs are bound once for each shape of a window.

    `seconds` are measured by CUDA events around the copy of the inputs, the engine, and the copy of
    the outputs. `data` are bytes that `provenance.opened` has checked.
    """

    def __init__(
        self, data: bytes, record: Record, library: Library, *, cuda_graphs: bool, streaming: bool
    ) -> None:
        import torch

        self._torch, self._trt = torch, importlib.import_module(library.module)
        self._record = record
        # The library's own logger writes to stderr; `ERROR` keeps it to what explains a failure.
        self._logger = self._trt.Logger(self._trt.Logger.ERROR)
        self._runtime = self._trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(data)
        if self._engine is None:
            raise StageError(
                f"{library.title} {library.version} cannot load the engine; its reason is above",
                "build it again with its recipe on this machine",
            )
        if streaming:
            budget = self._engine.get_weight_streaming_automatic_budget()
            self._engine.weight_streaming_budget_v2 = budget
        self._own_graphs = cuda_graphs and library.flavour is Flavour.rtx
        self._capture = cuda_graphs and not self._own_graphs
        self._context = self._opened_context()
        self._stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._bound: dict[str, Any] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._profile, self._warm = 0, False
        self._graph: Any = None
        self._times: list[float] = []
        name = torch.cuda.get_device_name()
        self.device = f"{name} ({library.title} {library.version})"

    def _opened_context(self) -> Any:
        config = self._engine.create_runtime_config()
        if self._own_graphs:
            config.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        context = self._engine.create_execution_context(config)
        # The engine holds detailed names for its list of layers; naming them as it runs costs time.
        context.nvtx_verbosity = self._trt.ProfilingVerbosity.NONE
        return context

    def run(self, feeds: Tensors) -> Tensors:
        """Run one window; raises StageError for an input that is missing or fits no profile."""
        missing = [name for name in self._record.inputs if name not in feeds]
        if missing:
            raise StageError(
                f"the engine needs the input `{missing[0]}`, which the dsp does not give",
                f"the dsp gives: {', '.join(feeds) or 'nothing'}",
            )
        torch = self._torch
        shapes = {name: tuple(feeds[name].shape) for name in self._record.inputs}
        with torch.cuda.stream(self._stream):
            if shapes != self._shapes:
                self._bind(shapes)
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record(self._stream)
            for name in self._record.inputs:
                self._bound[name].copy_(torch.from_numpy(feeds[name]))
            self._enqueue()
            outputs = {name: self._bound[name].cpu().numpy() for name in self._record.outputs}
            end.record(self._stream)
            self._stream.synchronize()
        self._times.append(start.elapsed_time(end) / _MS)
        return outputs

    def run_many(self, feeds: Sequence[Tensors], progress: Progress) -> Iterator[Tensors]:
        """Run the windows one after the other, and keep the GPU's time of each."""
        self._times = []
        self.seconds = self._times
        yield from super().run_many(feeds, progress)

    def _bind(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Choose the profile for these shapes, and give every tensor its memory on the GPU."""
        if self._record.profiles:
            profiles = [
                {n: [(a[0], a[1], a[2]) for a in axes] for n, axes in profile.items()}
                for profile in self._record.profiles
            ]
            index = fitting(profiles, shapes)
            if index != self._profile:
                self._context.set_optimization_profile_async(index, self._stream.cuda_stream)
                self._stream.synchronize()
                self._profile = index
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                fixed = tuple(self._engine.get_tensor_shape(name))
                raise StageError(f"the engine takes `{name}` as {fixed}, and was given {shape}")
        for name in (*self._record.inputs, *self._record.outputs):
            shape = shapes.get(name) or tuple(self._context.get_tensor_shape(name))
            kind = self._trt.nptype(self._engine.get_tensor_dtype(name))
            dtype = getattr(self._torch, "bool" if kind.__name__ == "bool_" else kind.__name__)
            self._bound[name] = self._torch.empty(shape, dtype=dtype, device="cuda")
            self._context.set_tensor_address(name, self._bound[name].data_ptr())
        self._shapes, self._graph, self._warm = shapes, None, False

    def _enqueue(self) -> None:
        """Run the engine; from the second window of a shape on as one CUDA graph."""
        if self._graph is not None:
            self._graph.replay()
            return
        if self._capture and self._warm:
            # The first run of a shape may allocate, which a capture does not allow.
            graph = self._torch.cuda.CUDAGraph()
            with self._torch.cuda.graph(graph, stream=self._stream):
                self._context.execute_async_v3(self._stream.cuda_stream)
            self._graph = graph
            graph.replay()
            return
        if not self._context.execute_async_v3(self._stream.cuda_stream):
            raise StageError("the engine did not run; the library's reason is above")
        self._warm = True

    def placement(self, feeds: Tensors) -> Placement | None:
        """Return the precision of every layer, from the engine inspector: all are on the GPU."""
        from core import Placed, Placement

        inspector = self._engine.create_engine_inspector()
        form = self._trt.LayerInformationFormat.ONELINE
        layers = layers_in(inspector.get_engine_information(form))
        counts = Counter(layer.precision for layer in layers)
        placed = tuple(
            Placed(self.device, count, precision, asked=True) for precision, count in counts.items()
        )
        return Placement("TensorRT's engine inspector", placed) if placed else None

    def close(self) -> None:
        """Free the context before the engine, and the engine before the library's runtime."""
        self._graph, self._bound = None, {}
        del self._context, self._engine, self._runtime
