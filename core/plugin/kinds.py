"""The kinds of plugin: one small abstract class each.

A plugin is a class with a `name`, an `Options` dataclass and the methods of its kind. It may not
import a heavy library at the top of its file: listing plugins must work on a bare machine.

    from dataclasses import dataclass
    from core import Graph, StageResult, hookimpl

    class Untouched(Graph):
        '''Gives the graph on as it is.'''
        name = "untouched"

        def run(self, artifact, work):
            target = work.copy(artifact)
            return StageResult(target, artifact.format, artifact.precision)

    @hookimpl
    def luthier_plugins():
        return [Untouched]
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from core.plugin.reach import Reach, reaching_options
from core.plugin.stages import BundlePart
from core.plugin.values import (
    Artifact,
    ArtifactSpec,
    Fact,
    Item,
    LimitSpec,
    Metric,
    ModelInfo,
    ModelSpec,
    Notice,
)

if TYPE_CHECKING:
    from pathlib import Path

    from core.plugin.stages import (
        Calibration,
        EvaluatedItem,
        Joiner,
        Requirement,
        SavedFile,
        Session,
        Split,
        StageContext,
        StageResult,
        TorchModel,
        Transform,
        Window,
    )
    from core.plugin.values import Signature, Tensors

__all__ = [
    "KINDS",
    "Chunker",
    "Converter",
    "Dataset",
    "Dsp",
    "Evaluator",
    "Exporter",
    "Graph",
    "Model",
    "NoOptions",
    "Plugin",
    "Quantizer",
    "Reporter",
    "Runtime",
    "anew",
]

OptionsT = TypeVar("OptionsT")
PluginT = TypeVar("PluginT", bound="Plugin[Any]")


@dataclass
class NoOptions:
    """The options of a plugin that has none."""


class Plugin(ABC, Generic[OptionsT]):
    """What all plugins share: a kind, a name, options, and the libraries that they need."""

    kind: ClassVar[str]
    name: ClassVar[str]
    Options: ClassVar[type[Any]] = NoOptions
    libraries: ClassVar[tuple[Requirement, ...]] = ()
    version: ClassVar[str] = "1"  # increased when results change but the source does not

    def __init__(self, options: OptionsT) -> None:
        self.options = options

    @classmethod
    def unavailable(cls) -> str:
        """Return why this machine cannot run the plugin although its libraries are installed."""
        return ""

    @classmethod
    def findings(cls) -> Sequence[Notice]:
        """Return, within seconds, more notices for `mode=doctor`: an account, visible devices."""
        return ()

    def reaches(self) -> Sequence[Reach]:
        """Return the files, folders and hosts that it touches outside the run; no network.

        By default these are the values of the options that were declared with `reaching`.
        """
        return tuple(reaching_options(self.options))

    def machine(self) -> Mapping[str, Fact]:
        """Return facts of this machine that its results depend on (processor, driver).

        They are part of the key: on a machine with other facts, its steps are made anew. It is
        asked many times, and always gives the same; it keeps what takes long to find out.
        """
        return {}

    def ships(self, info: ModelInfo) -> BundlePart:
        """Return the plugin's part of the bundle for the device, for the model of `info`."""
        return BundlePart()


def anew(plugin: PluginT) -> PluginT:
    """Return a new instance with the plugin's options, without its open resources and state."""
    return type(plugin)(plugin.options)


class Model(Plugin[OptionsT]):
    """Gives the torch module, its signature, and the part of it that can be exported."""

    kind = "model"

    @abstractmethod
    def plan(self) -> ModelSpec:
        """Say in milliseconds, without torch, what the model takes and which dsp it needs."""

    @abstractmethod
    def identity(self) -> str:
        """Return a text that changes when `fetch` gives other weights; no torch, no network."""

    @abstractmethod
    def fetch(self, work: StageContext) -> StageResult:
        """Put the weights into `work.folder` in a safe format, and say what the `model` is."""

    @abstractmethod
    def open(self, artifact: Artifact, window: Mapping[str, int]) -> TorchModel:
        """Build the module from what `fetch` made, for these lengths per axis; any if empty."""

    def example(self, info: ModelInfo, lengths: Mapping[str, int]) -> Tensors | None:
        """Return one valid window, by the inputs of the signature, without a batch axis.

        A model overrides this if neither the types nor the ranges of its inputs tell what is valid:
        tokens that must begin with a certain one, a length that must agree with another input.
        Exporters record the model with it, and conformance suites run it. `lengths` are those of
        the free axes that a window or the training fixes; where one is missing, any will do. None,
        the default, leaves it to the core: noise for floats, values within `TensorSpec.range`
        where there is one, and otherwise a window of the recipe's data.
        """
        return None


class Dataset(Plugin[OptionsT]):
    """Gives calibration samples and evaluation items, and writes results in their own medium.

    `axes` are those of its inputs. A dataset that reads files lists their endings in `opens`, and
    takes the file, folder or pattern of `input=/path/to/file` as its option `path`. It may also be
    a `ListableDataset`.
    """

    kind = "dataset"
    axes: ClassVar[tuple[str, ...]]
    opens: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def identity(self, split: Split) -> tuple[str, ...]:
        """Return the ids of the items of `split`, in order, without decoding them."""

    def passed_over(self, split: Split) -> Sequence[Notice]:
        """Return notices of what `split` leaves out and why; every run with it shows them."""
        return ()

    @abstractmethod
    def items(self, split: Split, signature: Signature) -> Iterator[Item]:
        """Yield the items of `split`, made to fit the inputs of `signature` (rate, channels)."""

    @abstractmethod
    def save(
        self, item: Item, outputs: Tensors, signature: Signature, folder: Path
    ) -> Sequence[SavedFile]:
        """Write `item` and its `outputs` below `folder` as files that a person can open."""


class Converter(Plugin[OptionsT]):
    """A stage that turns one artifact into another: its two faces are `plan` and `run`.

    `passes=True` marks a stage that passes its input on unchanged; it is never run.
    """

    accepts: ClassVar[frozenset[str]]
    passes: ClassVar[bool] = False

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Map the input's spec to the output's; `spec.format` is one of `accepts`."""
        return spec

    def advice(self, spec: ArtifactSpec) -> Sequence[Notice]:
        """Return notices about this stage on this machine, for an input of `spec`; no refusals.

        A plan and every report show them: "bf16 is not faster here". It compiles and asks nothing.
        Each text is one line, without the name of the stage.
        """
        return ()


class Exporter(Converter[OptionsT]):
    """Torch to an exchange format: ONNX, torch.export.

    `dynamic` says that the export serves inputs of any length, so that no window is needed.
    """

    kind = "exporter"
    accepts = frozenset({"torch"})

    @property
    def dynamic(self) -> bool:
        """Return whether the export serves windows of any length."""
        return False

    @abstractmethod
    def run(self, model: TorchModel, feeds: Tensors, work: StageContext) -> StageResult:
        """Export `model.core`; `feeds` are example inputs, one window long."""


class Graph(Converter[OptionsT]):
    """Graph to graph: simplify, fuse, make legal for a target."""

    kind = "graph"
    accepts = frozenset({"onnx"})

    @abstractmethod
    def run(self, artifact: Artifact, work: StageContext) -> StageResult:
        """Rewrite the graph without changing what it computes."""


class Quantizer(Converter[OptionsT]):
    """Lowers the precision of a graph or a module; calibration data may be required or optional."""

    kind = "quantizer"
    accepts = frozenset({"onnx"})
    calibration_needed: ClassVar[bool] = True

    @property
    def calibration_windows(self) -> int:
        """Return how many windows of calibration data it wants; 0 for none."""
        return 0

    @abstractmethod
    def run(self, artifact: Artifact, calibration: Calibration, work: StageContext) -> StageResult:
        """Quantise; `calibration` holds at most `calibration_windows` windows."""


class Dsp(Plugin[OptionsT]):
    """Maps the signature's inputs to the core's inputs, and back: STFT and iSTFT, or nothing."""

    kind = "dsp"

    @abstractmethod
    def bind(self, info: ModelInfo) -> Transform:
        """Return the transform for the model that `info` describes (see its `dsp_facts`)."""


class Chunker(Plugin[OptionsT]):
    """Cuts named axes into windows and joins the results. Output axes may be scaled (×2)."""

    kind = "chunker"

    def with_training_window(self, window: Mapping[str, int]) -> Chunker[Any]:
        """Return a chunker with the lengths that its options leave to the model filled in.

        `window` is the length per axis that the model was trained on, as its plan says. Return the
        chunker itself if no length is left open; raise InputError if the model does not give one.
        """
        return self

    @abstractmethod
    def window(self) -> Mapping[str, int]:
        """Return the length of a window per axis that is cut; empty when nothing is."""

    @abstractmethod
    def split(self, lengths: Mapping[str, int]) -> Sequence[Window]:
        """Return the windows that cover an input of `lengths`, given for every axis."""

    def sampler(self) -> Chunker[Any]:
        """Return the chunker whose windows are sampled: to measure on, and to calibrate with.

        Its `cut` gives the same tensors for a window as this one. A chunker whose windows overlap
        returns one whose windows do not: then what was measured stays valid if only the overlap
        changes. By default it is the chunker itself.
        """
        return self

    @abstractmethod
    def cut(self, inputs: Tensors, window: Window, signature: Signature) -> Tensors:
        """Return one window, padded to exactly the lengths of `window()`."""

    def resized(self, window: Mapping[str, int]) -> Chunker[Any]:
        """Return a chunker of the same sort with other window lengths; itself where it has none."""
        return self

    @abstractmethod
    def joiner(self, lengths: Mapping[str, int], signature: Signature) -> Joiner:
        """Return a joiner for an input of `lengths`."""


class Runtime(Converter[OptionsT]):
    """Compiles an artifact for a device, opens it, runs it.

    `compiles` says that `compile` makes a new artifact. `plays` says that a session is fast enough
    for whole inputs; where it is not (an emulator, a queue), the run probes a few windows with it
    and plays the whole with the recipe's `host` runtime. If this machine cannot open what
    `compile` makes here, `unopenable` says why: then the compiled artifact is never run, and the
    host plays the one before it. An empty `precisions` means any.
    `columns` gives the headings of facts in a table of compiled artifacts (`_bytes`, `_s`: units).
    If its sessions have no trace (`Session.placement`), a contract reads the fact
    `accelerator_coverage` of the compiled artifact, 0 to 1.
    """

    kind = "runtime"
    compiles: ClassVar[bool] = False
    plays: ClassVar[bool] = True
    precisions: ClassVar[frozenset[str]] = frozenset()
    columns: ClassVar[Mapping[str, str]] = {}

    def compile(self, artifact: Artifact, work: StageContext) -> StageResult:
        """Compile for the device, if the class `compiles`; raises DoesNotFitError."""
        raise TypeError(f"runtime `{self.name}` does not compile")

    def unopenable(self) -> str:
        """Return why this machine cannot open what `compile` makes here; "" where it can.

        A plan asks it, once. It is a phrase without a full stop: "the engine is for another GPU".
        Where it is not empty, `open` raises a LuthierError.
        """
        return ""

    @abstractmethod
    def open(
        self, artifact: Artifact, model: Callable[[], TorchModel], work: StageContext
    ) -> Session:
        """Open the compiled artifact (or the input); `model` opens the torch module on demand."""


class Evaluator(Plugin[OptionsT]):
    """Measures the outputs of one item in the terms of its field.

    `limits` are the limits that a contract may set on its metrics, by their names in a recipe. The
    worst metric of that name decides; if it breaks the limit, its item and label are named.
    """

    kind = "evaluator"
    limits: ClassVar[Mapping[str, LimitSpec]] = {}

    @abstractmethod
    def evaluate(self, played: EvaluatedItem, signature: Signature) -> Sequence[Metric]:
        """Return the measured metrics; each names its device."""


class Reporter(Plugin[OptionsT]):
    """Observes a run through the hooks of `core.plugin.hooks` and shows it to a person.

    A reporter marks the methods that it wants with `@hookimpl`; `core.plugin.hooks` lists them all.
    """

    kind = "reporter"


_ORDER: Sequence[type[Plugin[Any]]]
_ORDER = (Model, Dataset, Exporter, Graph, Quantizer, Dsp, Chunker, Runtime, Evaluator, Reporter)
#: Every kind in the order in which a recipe names them.
KINDS: Mapping[str, type[Plugin[Any]]] = {kind.kind: kind for kind in _ORDER}
