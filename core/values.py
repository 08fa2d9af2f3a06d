"""The values that pass between stages: frozen, typed, and free of any model or device.

Everything stored as JSON (signatures, artifacts, metrics) is encoded and decoded by msgspec from
these declarations; arrays never go into JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float32]
    Tensors = Mapping[str, Array]

__all__ = [
    "Artifact",
    "ArtifactSpec",
    "Fact",
    "Item",
    "Metric",
    "ModelInfo",
    "ModelSpec",
    "Notice",
    "Signature",
    "Target",
    "TensorSpec",
]

#: What a plugin may note about an artifact, a target or a stage beside the typed fields.
Fact = str | int | float | bool | list[str | float] | None


@dataclass(frozen=True)
class TensorSpec:
    """One named tensor: a length per named axis, where a string stands for "any length".

    `rates` gives the samples per second along an axis (a sample rate), `labels` the name of every
    index along an axis (the stems), both keyed by axis.
    """

    name: str
    axes: tuple[str, ...]
    shape: tuple[int | str, ...]
    dtype: str = "float32"
    rates: dict[str, float] = field(default_factory=dict)
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def axis(self, name: str) -> int:
        """Return the position of axis `name`; raises ValueError when the tensor has none."""
        return self.axes.index(name)


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of a model, in order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class Notice:
    """Something that a person must know about a run: a fallback, random weights, a shortfall."""

    severity: Literal["info", "warning", "danger"]
    text: str


@dataclass(frozen=True)
class ModelSpec:
    """What a plan must know of a model without loading it.

    `axes` are the axes of the inputs as a person gives them, `dsp` the name of the dsp plugin
    that the core's inputs need (`none` when the core takes them as they are).
    """

    axes: tuple[str, ...]
    dsp: str = "none"
    format: str = "torch"


@dataclass(frozen=True)
class ModelInfo:
    """What a loaded model says about itself; saved beside its weights.

    `signature` is what a person gives and gets (mixture to stems); `core_inputs` and
    `core_outputs` name the tensors of the part that is exported. `train_window` is the length per
    axis that the model was trained on, `dsp_facts` what the dsp plugin needs to know.
    """

    signature: Signature
    core_inputs: tuple[str, ...]
    core_outputs: tuple[str, ...]
    dsp_facts: dict[str, Fact] = field(default_factory=dict)
    train_window: dict[str, int] = field(default_factory=dict)
    parameters: int = 0
    weights: str = ""
    licence: str = ""
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class ArtifactSpec:
    """The shape of an artifact before it exists: what `plan` maps to what."""

    format: str
    precision: str = "fp32"


@dataclass(frozen=True)
class Artifact:
    """A file that a stage made, with what it is and the steps that made it.

    `path` is the main file inside `folder`, both absolute; `sha256` covers every file of the
    folder. `facts` holds what the plugin measured of it (nodes, partitions, bytes). `made_at`
    (ISO 8601), `made_in_s` and `peak_memory_mb` (the whole process and its children) say what
    making it took. `settled` are options that the stage chose a value for, as in `Made`.
    """

    folder: str
    path: str
    format: str
    precision: str
    sha256: str
    bytes: int
    steps: tuple[str, ...] = ()
    model: ModelInfo | None = None
    facts: dict[str, Fact] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    made_at: str = ""
    made_in_s: float = 0.0
    peak_memory_mb: float = 0.0
    settled: dict[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> ArtifactSpec:
        """Return what a plan would have said about this artifact."""
        return ArtifactSpec(self.format, self.precision)

    def number(self, fact: str) -> float:
        """Return a fact that is a number; raises TypeError when it is none."""
        value = self.facts[fact]
        if not isinstance(value, int | float):
            raise TypeError(f"fact `{fact}` of {self.path} is {value!r}, not a number")
        return float(value)

    def numbers(self, fact: str) -> list[float]:
        """Return a fact that is a list of numbers; empty when it is absent."""
        value = self.facts.get(fact)
        return [float(one) for one in value] if isinstance(value, list) else []

    @property
    def info(self) -> ModelInfo:
        """Return what the model says about itself; every artifact carries it on."""
        if self.model is None:
            raise ValueError(f"artifact {self.path} carries no model information")
        return self.model


@dataclass(frozen=True)
class Target:
    """A device as its YAML describes it; `facts` are for the runtime that serves it.

    `runtime` and `host` are for recipes that name none. `objective` says what the best of several
    precisions is: the `fastest` or the `smallest`. A runtime reads a fact as an option
    (`from_target`), whose type checks it: hence Any here.
    """

    name: str = ""
    title: str = ""
    precisions: list[str] = field(default_factory=list)
    runtime: str = ""
    host: str = ""
    objective: str = "fastest"
    memory_mb: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """One thing to run the model on, in memory.

    `inputs` are keyed by the names of the model's signature; `references` hold the true outputs
    where they are known, keyed by output name. `id` is the same for the same content, whatever
    the dataset: calibration and evaluation may never share one.
    """

    id: str
    name: str
    inputs: Tensors
    references: Tensors = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class Metric:
    """One measured number: what, of what, in which unit, and on which device it was measured."""

    name: str
    value: float
    unit: str
    device: str
    subject: str = ""
    better: Literal["higher", "lower", "neither"] = "neither"
    note: str = ""
