"""The values that pass between stages: frozen, typed, and free of any model or device.

Everything stored as JSON (signatures, artifacts, metrics) is encoded and decoded by msgspec from
these declarations; arrays never go into JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    #: Usually float32; at run time the type that the tensor's `TensorSpec` declares.
    Array = NDArray[np.float32]
    #: Arrays by the names of the signature.
    Tensors = Mapping[str, Array]
else:
    # Names for annotations: every command would wait for the import of numpy.
    Array = Any
    Tensors = Mapping[str, Any]

__all__ = [
    "DTYPES",
    "Array",
    "Artifact",
    "ArtifactSpec",
    "Fact",
    "FitFor",
    "Item",
    "LimitSpec",
    "Metric",
    "ModelInfo",
    "ModelSpec",
    "Notice",
    "Row",
    "Signature",
    "Target",
    "TensorSpec",
    "Tensors",
]

#: One row of a table by its columns, or counts by what is counted.
Row = dict[str, str | int | float | bool | None]
#: A value that a plugin may note about an artifact, a target or a stage beside the typed fields. A
#: table is a list of rows, so that nobody has to parse a text.
Fact = str | int | float | bool | list[str | float | Row] | Row | None


#: What a tensor may hold, by the names of numpy.
DTYPES = (
    "float32", "float16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool",
)  # fmt: skip


@dataclass(frozen=True)
class TensorSpec:
    """One named tensor: a length per named axis, where a string stands for "any length".

    `dtype` is one of `DTYPES`. Datasets give inputs of this type, and outputs have it. `range` says
    which values an input may have, the lowest and the highest included: the indices of a table, a
    time scale above zero. Floats are exported with noise, and what has a range with values drawn
    from it. If an integer or boolean has none, the model is exported with a window of the recipe's
    data: it may be an index, a length or a mask, for which only real values are sure to be valid.
    Windows at the ends of an input are padded with zeros, so a model must accept 0 along an axis
    that is cut.

    `rates` gives the samples per second along an axis (a sample rate), `labels` the name of every
    index along an axis (the stems), both keyed by axis.

    Raises ValueError for another `dtype`, a `range` that holds no value of it, or if lengths, rates
    or labels do not fit the axes.
    """

    name: str
    axes: tuple[str, ...]
    shape: tuple[int | str, ...]
    dtype: str = "float32"
    rates: dict[str, float] = field(default_factory=dict)
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Refuse a tensor that no stage could honour."""
        if self.dtype not in DTYPES:
            known = ", ".join(DTYPES)
            raise ValueError(f"tensor `{self.name}` is of `{self.dtype}`; possible: {known}")
        if len(self.axes) != len(self.shape):
            raise ValueError(
                f"tensor `{self.name}` has {len(self.axes)} axes and {len(self.shape)} lengths"
            )
        unknown = {*self.rates, *self.labels} - set(self.axes)
        if unknown:
            raise ValueError(f"tensor `{self.name}` has no axis `{min(unknown)}` to describe")
        if self.range is not None and not _holds_a_value(self.range, self.dtype):
            raise ValueError(f"tensor `{self.name}` of `{self.dtype}` has no value in {self.range}")

    @property
    def is_float(self) -> bool:
        """Return whether it holds a signal, for which noise is a valid example."""
        return self.dtype.startswith("float")

    @property
    def free(self) -> tuple[str, ...]:
        """Return the axes that may have any length."""
        pairs = zip(self.axes, self.shape, strict=True)
        return tuple(axis for axis, length in pairs if isinstance(length, str))

    def axis(self, name: str) -> int:
        """Return the position of axis `name`; raises ValueError when the tensor has none."""
        return self.axes.index(name)


def _holds_a_value(bounds: tuple[float, float], dtype: str) -> bool:
    """Return whether a value of `dtype` lies between finite bounds, these included."""
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high)):
        return False
    return low <= high if dtype.startswith("float") else math.ceil(low) <= math.floor(high)


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

    A value that needs the weights is left out. `train_window` is the length per axis that the model
    was trained on, as in `ModelInfo`; `chunker.length=model` asks for it. `free` are the axes of
    any length: if it is known, impossible windows are refused at once, else when the model is
    loaded.
    """

    axes: tuple[str, ...]
    dsp: str = "none"
    format: str = "torch"
    train_window: dict[str, int] = field(default_factory=dict)
    free: tuple[str, ...] | None = None


@dataclass(frozen=True)
class FitFor:
    """The inputs that weights are fit for, if these are not all inputs.

    `datasets` names the plugins whose items are like the training data. With any other dataset,
    `warning` stands at the top of the report, with the run's command and the arguments `instead`,
    which take other weights. `offline` says how to bring these to a machine without a network.
    """

    datasets: tuple[str, ...]
    warning: str
    instead: tuple[str, ...] = ()
    offline: str = ""


@dataclass(frozen=True)
class ModelInfo:
    """What a loaded model says about itself; saved beside its weights.

    `signature` is what a person gives and gets (mixture to stems); `core_inputs` and
    `core_outputs` name the tensors of the part that is exported. `train_window` is the length per
    axis that the model was trained on, `dsp_facts` what the dsp plugin needs to know. `fit_for`
    limits the inputs that the weights are fit for; without it they fit any input.
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
    fit_for: FitFor | None = None


@dataclass(frozen=True)
class ArtifactSpec:
    """The format and precision of an artifact before it exists, which `plan` maps.

    `traits` say in words what else a plan knows of the artifact that a later stage may refuse:
    `unsigned activations`, `asymmetric weights`. A plan that knows none says nothing, so their
    absence proves nothing, and specs that differ in them alone are equal.
    """

    format: str
    precision: str = "fp32"
    traits: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(frozen=True)
class Artifact:
    """A file that a stage made, with what it is and the steps that made it.

    `path` is the main file inside `folder`, both absolute; `sha256` covers every file of the
    folder. `facts` holds what the plugin measured of it (nodes, partitions, bytes). `made_at`
    (ISO 8601), `made_in_s` and `peak_memory_mb` (the whole process and its children) say what
    making it took. `chosen_options` are options that the stage chose a value for, as in
    `StageResult`.
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
    chosen_options: dict[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> ArtifactSpec:
        """Return the spec that a plan would give for this artifact."""
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
        return (
            [float(n) for n in value if not isinstance(n, dict)] if isinstance(value, list) else []
        )

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
class LimitSpec:
    """The metric that a limit of a contract bounds, by its name, and its unit ("" for a ratio).

    The metric must reach the bound if `is_least`, and stay at or under it otherwise. `about` says
    what is compared with it, where the metric's name does not. `of_truth` says that the metric
    compares with true outputs, which most inputs do not have: there a recipe's own limit is not
    judged, which a warning says, and its other limits decide.
    """

    metric: str
    unit: str = ""
    is_least: bool = False
    about: str = ""
    of_truth: bool = False


@dataclass(frozen=True)
class Metric:
    """One measured number: what, of what, in which unit, and on which device it was measured.

    `item` is the name of the item that it is about, empty for the run as a whole. `label` is the
    part of that item (a stem, an output), empty for all of it. `statistic` tells numbers of one
    name apart: the `median` of many values, their 5th percentile (`p5`), the `mean` over labels.
    """

    name: str
    value: float
    unit: str
    device: str
    item: str = ""
    label: str = ""
    statistic: str = ""
    better: Literal["higher", "lower", "neither"] = "neither"
    note: str = ""
