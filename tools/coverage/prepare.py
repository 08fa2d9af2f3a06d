"""Makes the float artifact of a network, and the data to lower it by and to measure it on."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import Artifact, ModelInfo, TorchModel
from core.errors import LuthierError
from tools.coverage.case import Case
from tools.coverage.plugins import as_artifact, made, work_in
from tools.coverage.reference import played
from tools.coverage.torch_reference import computed

if TYPE_CHECKING:
    from tools.coverage.onnx_models import OnnxModel

__all__ = ["FILE", "Prepared", "info_of", "prepared"]

#: The exporter's name for a network that is a model file already.
FILE = "file"
#: Windows to measure on.
TESTS = 2


@dataclass(frozen=True)
class Prepared:
    """A float artifact with its data; `expected` holds the network's own outputs for `tests`.

    `problem` is the reason why the graph could not be simplified or played as it is; the artifact
    is then the best available one.
    """

    artifact: Artifact
    calibration: Sequence[Mapping[str, Any]]
    tests: Sequence[Mapping[str, Any]]
    expected: Sequence[Mapping[str, Any]]
    model: TorchModel | None = None
    problem: Exception | None = None


def prepared(subject: Case | OnnxModel, exporter: str, windows: int, folder: Path) -> Prepared:
    """Export a module, or take a model file as it is, and simplify the graph.

    Raises what the exporter raises. A graph that cannot be simplified stays as it was.
    """
    if isinstance(subject, Case):
        found = _exported(subject, exporter, windows, folder)
    else:
        found = _opened(subject, windows, folder)
    if found.artifact.format != "onnx" or found.problem is not None:
        return found
    try:
        simplified = made("graph", "onnxsim").run(found.artifact, work_in(folder))
    except Exception as error:  # the sweep judges the error
        return replace(found, problem=error)
    return replace(found, artifact=as_artifact(simplified, found.artifact.model))


def _replaced(found: Prepared, artifact: Artifact, problem: Exception | None) -> Prepared:
    return Prepared(artifact, found.calibration, found.tests, found.expected, found.model, problem)


def _exported(case: Case, exporter: str, windows: int, folder: Path) -> Prepared:
    from core import TorchModel

    calibration = [case.feeds(seed) for seed in range(windows)]
    tests = [case.feeds(1000 + seed) for seed in range(TESTS)]
    if case.free and exporter != "torch_export":
        tests += [case.halved(tests[0])]
    info = info_of(case, calibration[0], computed(case, calibration[0]))
    model = TorchModel(info, case.make(), functools.partial(computed, case))
    dynamic = [f"exporter.dynamic={bool(case.free)}"] if exporter != "torch_export" else []
    result = made("exporter", exporter, *dynamic).run(model, calibration[0], work_in(folder))
    expected = [computed(case, feeds) for feeds in tests]
    return Prepared(as_artifact(result, info), calibration, tests, expected, model)


def info_of(case: Case, feeds: Mapping[str, Any], outputs: Mapping[str, Any]) -> ModelInfo:
    """Describe a module to a plugin, by one window and the outputs for it."""
    from core import ModelInfo, Signature, TensorSpec

    def spec(name: str, array: Any) -> TensorSpec:
        free = case.free.get(name, {})
        axes = tuple(free.get(index, f"axis{index}") for index in range(1, array.ndim))
        shape = tuple(free.get(i, length) for i, length in enumerate(array.shape) if i)
        return TensorSpec(name, axes, shape, str(array.dtype))

    signature = Signature(
        tuple(spec(name, array) for name, array in feeds.items()),
        tuple(spec(name, outputs[name]) for name in case.outputs),
    )
    return ModelInfo(signature, tuple(feeds), case.outputs)


def _opened(model: OnnxModel, windows: int, folder: Path) -> Prepared:
    """Take a model file as it is, or with operators of a newer opset if it cannot be played."""
    import onnx

    from core import ModelInfo, Signature, StageResult

    everything = model.windows(windows + TESTS - 1)
    tests = [everything[0], *everything[windows:]]
    info = ModelInfo(Signature((), ()), tuple(everything[0]), ())
    place = work_in(folder).folder
    path = place / "model.onnx"
    shutil.copyfile(model.file, path)
    artifact = as_artifact(StageResult(path, "onnx", "fp32"), info)
    problem: Exception | None = None
    try:
        made("runtime", "onnxruntime").open(artifact, _no_model, work_in(folder)).close()
        expected = played(path, tests)
    except LuthierError as error:
        problem = error
        try:
            onnx.save(model.raised(), path)
            expected = played(path, tests)
        except Exception:
            raise error from None  # a newer opset does not help
        artifact = as_artifact(StageResult(path, "onnx", "fp32"), info)
    return Prepared(artifact, everything[:windows], tests, expected, None, problem)


def _no_model() -> TorchModel:
    raise AssertionError("a graph is played without the torch module")
