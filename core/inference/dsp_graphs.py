"""The dsp through the graphs that ship, so that what is played is what the device will play.

A quantised model rounds: if its input differs in a last digit, some values move by a whole
quantisation step, and the outputs agree no better than quantised ones do. With the graphs of the
bundle itself no digit differs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.plugin.kinds import Runtime
from core.plugin.stages import Session, StageContext, Transform, outside
from core.plugin.values import Artifact, ModelInfo
from core.store.hashing import file_digest

if TYPE_CHECKING:
    from core.plugin.stages import TorchModel
    from core.plugin.values import Tensors

__all__ = ["with_dsp_graphs"]


@contextmanager
def with_dsp_graphs(
    transform: Transform,
    runtime: Runtime[Any],
    window: Mapping[str, int],
    info: ModelInfo,
    work: StageContext,
) -> Iterator[Transform]:
    """Give `transform` as graphs that `runtime` opens, or unchanged if either cannot do that."""
    with ExitStack() as opened:
        graphs: Mapping[str, Path] | None = None
        if "onnx" in runtime.accepts and not runtime.compiles and window:
            folder = opened.enter_context(tempfile.TemporaryDirectory(dir=work.folder))
            graphs = transform.graphs(window, Path(folder))
        if not graphs:
            yield transform
            return
        forward, inverse = (
            opened.enter_context(runtime.open(_artifact(graphs[name]), _no_module, work))
            for name in ("forward", "inverse")
        )
        yield _Hosted(forward, inverse, info)


class _Hosted(Transform):
    """A transform whose directions are sessions."""

    def __init__(self, forward: Session, inverse: Session, info: ModelInfo) -> None:
        self._forward, self._inverse, self._info = forward, inverse, info

    def forward(self, window: Tensors) -> tuple[Tensors, Tensors]:
        """Run the forward graph; outputs that are no inputs of the core go to the inverse."""
        made = self._forward.run({outside(name): array for name, array in window.items()})
        core = self._info.core_inputs
        rest = {name: array for name, array in made.items() if name not in core}
        return {name: made[name] for name in core}, rest

    def inverse(self, outputs: Tensors, remembered: Tensors) -> Tensors:
        """Run the inverse graph."""
        made = self._inverse.run({**outputs, **remembered})
        return {spec.name: made[outside(spec.name)] for spec in self._info.signature.outputs}


def _artifact(file: Path) -> Artifact:
    size = file.stat().st_size
    return Artifact(str(file.parent), str(file), "onnx", "fp32", file_digest(file), size)


def _no_module() -> TorchModel:
    raise TypeError("a graph of the dsp has no torch module")
