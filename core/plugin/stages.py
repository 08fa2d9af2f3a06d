"""The objects that stages give to plugins and get from them: work folders, windows, sessions.

The frozen dataclasses carry data; the small abstract classes (`Transform`, `Joiner`, `Session`)
are what a plugin returns when it was bound to a model, an input or an artifact.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self

from core.plugin.placement import Placement
from core.plugin.values import Artifact, Fact, Item, ModelInfo, Notice

if TYPE_CHECKING:
    import torch

    from core.plugin.progress import Progress
    from core.plugin.values import Tensors

__all__ = [
    "BundlePart",
    "Calibration",
    "EvaluatedItem",
    "Joiner",
    "LinkedLibrary",
    "Requirement",
    "SavedFile",
    "Session",
    "Split",
    "StageContext",
    "StageResult",
    "TorchModel",
    "Transform",
    "Window",
    "outside",
]

Split = Literal["calibration", "evaluation"]


@dataclass(frozen=True)
class Requirement:
    """A library that a plugin needs: the module to import, and the command that installs it."""

    module: str
    install: str
    distribution: str = ""


@dataclass(frozen=True)
class StageContext:
    """Where a stage may write (`folder`, empty and its own), and how it reports its progress.

    `state_dir` is where plugins keep data that must survive an interrupted run. Outside a run there
    is none, and the data goes below `folder`.
    """

    folder: Path
    progress: Progress
    state_dir: Path | None = None

    def copy(self, artifact: Artifact) -> Path:
        """Copy every file of `artifact` into the folder; returns the copy of its main file."""
        shutil.copytree(artifact.folder, self.folder, dirs_exist_ok=True)
        return self.folder / Path(artifact.path).name

    def state(self, name: str) -> Path:
        """Return the state folder of the plugin `name`, made on first use.

        It holds no results (the store keeps those), but data that a killed run needs to go on,
        such as the ids of jobs in a cloud. Runs side by side share it, so write files under a
        temporary name and rename them.
        """
        folder = (self.state_dir or self.folder / "state") / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@dataclass(frozen=True)
class StageResult:
    """The result of a stage: the main file inside its work folder, and its description.

    `keep=False` marks a substitute (for example a fallback), which the store must not answer with
    next time. `chosen_options` are options of the stage that it chose a value for: they go into the
    lock file, so that a run of it need not choose again. An option may be any JSON value, hence
    Any.
    """

    path: Path
    format: str
    precision: str
    facts: dict[str, Fact] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    model: ModelInfo | None = None
    keep: bool = True
    chosen_options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TorchModel:
    """An opened model: the part to export, and the model's own forward pass in FP32.

    `core` takes the tensors of `info.core_inputs` in order, each with a batch axis of 1 in front,
    and returns those of `info.core_outputs`. `reference` maps inputs to outputs by the names of
    the signature, without a batch axis, the way the model's author computes them.
    """

    info: ModelInfo
    core: torch.nn.Module
    reference: Callable[[Tensors], Tensors]


@dataclass(frozen=True)
class SavedFile:
    """A file written for a person: its path in the run folder and what it holds."""

    path: str
    label: str
    item: str


@dataclass(frozen=True)
class LinkedLibrary:
    """A library that an app must contain to run the bundle: its package, version, and size.

    `bytes` is None where no installed package shows the size: a size is measured, never guessed.
    `where` says what was measured: `libonnxruntime.so for Linux on x86_64`.
    """

    name: str
    version: str
    why: str
    bytes: int | None = None
    where: str = ""


@dataclass(frozen=True)
class BundlePart:
    """What a plugin adds to the bundle that goes to the device.

    `facts` are for `metadata.json`. `sources` are files of a program that runs the bundle, by
    their place in it: `core/bundle/write.py` says which, and what each must hold. `lines` are for
    the README, by language: what such a program must link, or how to load the model by hand.
    `libraries` are those that an app grows by, beside the bundle itself.
    """

    facts: Mapping[str, Fact] = field(default_factory=dict)
    sources: Mapping[str, Path] = field(default_factory=dict)
    lines: Mapping[str, str] = field(default_factory=dict)
    libraries: Sequence[LinkedLibrary] = ()


@dataclass(frozen=True)
class Calibration:
    """A stream of calibration feeds that can be read again: `count` windows, made on demand.

    Windows of one item follow each other, `per_item` of each; 0 where this is unknown.
    """

    count: int
    feeds: Callable[[], Iterable[Tensors]]
    per_item: int = 0


def outside(name: str) -> str:
    """Return the name of a signature's tensor in a host graph, distinct from names of the core."""
    return f"{name}.window"


class Transform(ABC):
    """A dsp plugin bound to one model: the host's side of every window."""

    @abstractmethod
    def forward(self, window: Tensors) -> tuple[Tensors, Tensors]:
        """Map one window to the core's inputs, and to the `remembered` tensors for `inverse`."""

    @abstractmethod
    def inverse(self, outputs: Tensors, remembered: Tensors) -> Tensors:
        """Map the core's outputs back to the outputs of the signature, of the window's length."""

    def graphs(self, window: Mapping[str, int], folder: Path) -> Mapping[str, Path] | None:
        """Write `forward` and `inverse` as ONNX models into `folder`, for windows of these lengths.

        With them a device needs no code for the transform. `forward` takes the inputs of the
        signature, each called `outside(name)`; it gives the core's inputs and the remembered
        tensors. `inverse` takes the core's outputs and the remembered tensors, and gives the
        outputs of the signature, called in the same way. Batch axes are as in the methods. Return
        an empty mapping if only the batch axis is to be computed, None if there are no such models.
        """
        return None


@dataclass(frozen=True)
class Window:
    """A piece of an input: its valid region per cut axis, in samples of the input."""

    index: int
    start: dict[str, int]
    stop: dict[str, int]


class Joiner(ABC):
    """Joins the outputs of windows, in a stream."""

    @abstractmethod
    def add(self, window: Window, outputs: Tensors) -> None:
        """Take the outputs of one window."""

    @abstractmethod
    def result(self) -> Tensors:
        """Return the whole outputs, once every window was added."""


class Session(ABC):
    """An opened artifact on a device.

    `device` says in words what computes, never what might. `on_target` is false for an emulator.
    `here` is false where another machine computes: then this machine's clock and memory say nothing
    about it. `at_once` is how many windows the session wants in one call of `run_many`. A session
    that runs several windows at once and times each sets `seconds` to the times of the last call.
    `cold_start_s` is for a device elsewhere that measured its own cold start: the seconds that it
    took to open the artifact, to run the first window, and to run the second one.
    `facts` are what the device reports of itself, for the report.
    """

    device: str
    on_target: bool = True
    here: bool = True
    at_once: int = 1
    seconds: Sequence[float] = ()
    cold_start_s: Sequence[float] = ()
    facts: Mapping[str, Fact] = MappingProxyType({})

    @abstractmethod
    def run(self, feeds: Tensors) -> Tensors:
        """Run one window through the core; names and batch axis as the artifact has them."""

    def run_many(self, feeds: Sequence[Tensors], progress: Progress) -> Iterator[Tensors]:
        """Run several windows; a session that pays for every start overrides this."""
        for index, feed in enumerate(feeds):
            yield self.run(feed)
            progress(index + 1, len(feeds))

    def placement(self, feeds: Tensors) -> Placement | None:
        """Return what computed each node, from the runtime's own trace; None if it has none.

        The core calls it once, after it took all times and the peak memory. So a session may open a
        second, profiled session here, and run one window in it: `feeds`, a window that the session
        ran before. A session that traced itself already needs no `feeds`.
        """
        return None

    def close(self) -> None:  # noqa: B027  # optional: most sessions hold nothing
        """Release everything that the session holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@dataclass(frozen=True)
class EvaluatedItem:
    """One item with everything that was computed for it, for an evaluator.

    `outputs` come from the graph that ships, `reference` from FP32 PyTorch with the same windows,
    `ideal` from FP32 PyTorch with the windows that the model was trained on. `windows` are the
    pieces that `outputs` were joined from. In a sweep over windows `reference` is that of the best
    of them, the same for every point: `against` says in words which windows it had.
    """

    item: Item
    outputs: Tensors
    reference: Tensors
    ideal: Tensors
    windows: Sequence[Window]
    device: str
    against: str = "the same windows"
