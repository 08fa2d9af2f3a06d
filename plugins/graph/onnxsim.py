"""Simplifies an ONNX graph with onnxsim: folds constants, removes what does nothing."""

from __future__ import annotations

import json
import math
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from core import (
    Artifact,
    Fact,
    Graph,
    Notice,
    Requirement,
    StageContext,
    StageError,
    StageResult,
    hookimpl,
)
from core.config.bounds import LONGEST_WINDOW
from core.formats.onnx_graph import clear_notes, loaded, operators, save
from core.machine.child_process import Limits, child_environment, python_child, run_watched
from plugins.graph._same_result import NotPlayableError, check_same, free_axes

if TYPE_CHECKING:
    import onnx


#: Inputs on which the graphs before and after are compared; each is played twice.
MOST_INPUTS = 1_000
#: From this version of the format on, a weight is an input only where a caller may replace it.
FIRST_UNLISTED = 4


@dataclass
class OnnxsimOptions:
    """The options of onnxsim."""

    check_n: int = 1
    """How many random inputs the graph is compared on before and after; 0 for none."""
    tolerance_db: float = 90.0
    """Lowest signal-to-noise ratio against the graph before, in dB, that counts as the same."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Length of each free axis for the comparison, by the axis's name in the graph."""
    skip_optimizers: list[str] = field(default_factory=list)
    """Names of onnxsim's optimisers to leave out."""
    fold_up_to: str = "1.5GB"
    """Constants larger than this stay computed; smaller is a larger graph but a smaller file."""

    def __post_init__(self) -> None:
        """Raise ValueError for an invalid number of inputs, or an invalid length of an axis."""
        if not 0 <= self.check_n <= MOST_INPUTS:
            raise ValueError(
                f"`check_n` cannot be {self.check_n}; it is a number of inputs, up to {MOST_INPUTS}"
            )
        for axis, size in self.sizes.items():
            if not 1 <= size <= LONGEST_WINDOW:
                raise ValueError(f"`sizes` cannot be {size} for `{axis}`; it is a length")


class Onnxsim(Graph[OnnxsimOptions]):
    """Simplifies the graph: HTDemucs goes from 3,518 to 1,321 nodes."""

    name = "onnxsim"
    Options = OnnxsimOptions
    libraries = (
        Requirement("onnxsim", "pip install onnxsim"),
        Requirement("onnx", "pip install onnx"),
        Requirement("onnxruntime", "pip install onnxruntime"),
    )

    def run(self, artifact: Artifact, work: StageContext) -> StageResult:
        """Simplify `artifact`; raises StageError when the graph then computes something else."""
        import onnx

        before = onnx.load(artifact.path, load_external_data=False)
        after = self._simplified(artifact.path, work, f"simplifying {len(before.graph.node)} nodes")
        path = work.folder / "model.onnx"
        save(after, path)
        facts: dict[str, Fact] = {
            "nodes_before": len(before.graph.node),
            "nodes": len(after.graph.node),
            "operators": operators(after.graph.node),
        }
        del after
        notices: tuple[Notice, ...] = ()
        if self.options.check_n:
            unknown = free_axes(before.graph, self.options.sizes)
            try:
                facts["verify_snr_db"] = self._compared(artifact, path, unknown, work)
            except NotPlayableError as error:
                text = f"the simplified graph was not compared with the one before: {error}"
                notices = (Notice("warning", text),)
        return StageResult(path, artifact.format, artifact.precision, facts, notices)

    def _compared(
        self, before: Artifact, after: Path, unknown: list[str], work: StageContext
    ) -> float:
        """Return the lowest SNR in dB of any output; `unknown` are axes without a length."""
        if unknown:
            raise NotPlayableError(
                f"the length of `{unknown[0]}` is free (graph.onnxsim.sizes gives one)"
            )
        return check_same(
            Path(before.path),
            after,
            self.options.check_n,
            self.options.tolerance_db,
            self.options.sizes,
            work.progress,
        )

    def _simplified(self, source: str, work: StageContext, doing: str) -> onnx.ModelProto:
        """Return the simplified model with its weights.

        The model goes in and out as a file: one over 2 GB fits no protobuf message, and onnxsim
        0.8.1 only keeps its weights outside when it reads and writes files itself.
        """
        import onnx

        with tempfile.TemporaryDirectory(dir=work.folder) as scratch:
            target = Path(scratch) / "simplified.onnx"
            call = {
                "model": str(Path(source).resolve()),
                "output_path": str(target.resolve()),
                "check_n": 0,  # its own comparison has no unit; ours is in dB
                "skipped_optimizers": list(self.options.skip_optimizers),
                "tensor_size_threshold": self.options.fold_up_to,
            }
            # In a process of its own, because its C++ writes hints to a terminal that a reporter
            # owns.
            end = run_watched(
                python_child(__name__, json.dumps(call)),
                limits=Limits(seconds=math.inf),  # large graphs take it minutes
                progress=lambda _, seconds: work.progress(seconds, 0, doing),
                environment=child_environment(),
                folder=Path(scratch),
            )
            if end.code:
                lines = end.tail.splitlines() or [f"exit code {end.code}"]
                raise StageError(
                    "onnxsim cannot simplify the graph",
                    lines[-1][:200],
                    "leave the stage out: graph=[]",
                )
            model = onnx.load(str(target))
        clear_notes(model)
        return model


def _without_listed_weights(source: Path, scratch: Path) -> Path:
    """Return a file of the graph whose inputs are no weights: `source` itself, or a new one.

    Up to version 3 of the format, weights had to be listed as inputs, so the list means nothing
    there. onnxsim 0.8.1 takes every listed weight for one that a caller may replace, so it folds
    none of them, and fails where it makes a constant itself: "in initializer but not in graph
    input".
    """
    import onnx

    if onnx.load(str(source), load_external_data=False).ir_version >= FIRST_UNLISTED:
        return source
    model = loaded(source)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = FIRST_UNLISTED
    save(model, scratch / "unlisted.onnx")
    return scratch / "unlisted.onnx"


@hookimpl
def luthier_plugins() -> list[type[Onnxsim]]:
    """Return the plugin of this file."""
    return [Onnxsim]


if __name__ == "__main__":
    # onnxsim 0.8.1 looks for torch and sympy, for devices and tables that are not asked for here:
    # 2.7 of its 3.3 s of CPU.
    for optional in ("torch", "sympy"):
        sys.modules[optional] = None  # type: ignore[assignment]  # as if it were not installed
    import onnxsim

    arguments = json.loads(sys.argv[1])
    beside = Path(arguments["output_path"]).parent
    arguments["model"] = str(_without_listed_weights(Path(arguments["model"]), beside))
    onnxsim.simplify(**arguments)
