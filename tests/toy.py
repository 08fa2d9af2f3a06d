"""A whole set of small plugins without audio, to test the core by itself."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from core import (
    Artifact,
    ArtifactSpec,
    Calibration,
    Chunker,
    Dataset,
    DoesNotFitError,
    Dsp,
    EvaluatedItem,
    Evaluator,
    Graph,
    InputError,
    Item,
    Joiner,
    LimitSpec,
    Metric,
    Model,
    ModelInfo,
    ModelSpec,
    Placed,
    Placement,
    Quantizer,
    Runtime,
    SavedFile,
    Session,
    Signature,
    Source,
    Split,
    StageContext,
    StageResult,
    TensorSpec,
    TorchModel,
    Transform,
    Window,
    hookimpl,
)
from core.machine.file_names import as_text
from core.machine.path_patterns import matching, top_of
from core.measure.metrics import snr_db

SIGNATURE = Signature(
    (TensorSpec("x", ("row", "place"), (2, "place")),),
    (TensorSpec("y", ("row", "place"), (2, "place"), labels={"row": ("first", "second")}),),
)
#: The stages that ran, in order: tests check that nothing ran twice.
RAN: list[str] = []
#: The length of the window at which `distant` is interrupted, as by Ctrl-C; a test sets it.
INTERRUPTED_AT: int | None = None


@dataclass
class GainOptions:
    """The options of `gain`."""

    gain: float = 2.0
    """What the input is multiplied by."""
    edge: float = 0.0
    """By which part the first place of every window is off: the shorter windows are, the worse."""


class Gain(Model[GainOptions]):
    """Multiplies by a number."""

    name = "gain"
    Options = GainOptions

    def plan(self) -> ModelSpec:
        """Return the axes: rows of places."""
        return ModelSpec(
            ("row", "place"), dsp="straight", train_window={"place": 8}, free=("place",)
        )

    def identity(self) -> str:
        """Return the gain."""
        return f"gain:{self.options.gain}"

    def fetch(self, work: StageContext) -> StageResult:
        """Write the gain to a file."""
        RAN.append("model")
        file = work.folder / "gain.txt"
        file.write_text(str(self.options.gain))
        info = ModelInfo(
            SIGNATURE, ("x",), ("y",), {"edge": self.options.edge}, {"place": 8}, weights="a number"
        )
        return StageResult(file, "torch", "fp32", model=info)

    def open(self, artifact: Artifact, window: Mapping[str, int]) -> TorchModel:
        """Return the multiplication, which needs no torch."""
        gain = float(Path(artifact.path).read_text())

        def reference(inputs: Mapping[str, Any]) -> dict[str, Any]:
            return {"y": multiplied(inputs["x"], gain, artifact.info)}

        return TorchModel(artifact.info, None, reference)  # type: ignore[arg-type]  # nothing here exports it


def multiplied(array: Any, gain: float, info: ModelInfo) -> Any:
    """Return the model's output for a window, whose places are the last axis."""
    result = array * np.float32(gain)
    result[..., 0] *= 1 + np.float32(info.dsp_facts.get("edge", 0.0))
    return result


@dataclass
class RampOptions:
    """The options of `ramp`."""

    places: int = 20
    """The length of the one item."""
    calibrate_on_evaluation: bool = False
    """Whether the two splits share their item."""


class Ramp(Dataset[RampOptions]):
    """Gives one rising line."""

    name = "ramp"
    axes = ("row", "place")
    Options = RampOptions

    def identity(self, split: Split) -> tuple[str, ...]:
        """Return one id."""
        if self.options.calibrate_on_evaluation:
            return ("ramp",)
        return (f"ramp:{split}:{self.options.places}",)

    def items(self, split: Split, signature: Signature) -> Iterator[Item]:
        """Yield the line."""
        line = np.arange(2 * self.options.places, dtype=np.float32).reshape(2, -1) / 10
        yield Item(self.identity(split)[0], "line", {"x": line}, {"y": line * 2})

    def save(
        self, item: Item, outputs: Mapping[str, Any], signature: Signature, folder: Path
    ) -> Sequence[SavedFile]:
        """Write the numbers as text."""
        RAN.append("save")
        np.savetxt(folder / "y.txt", outputs["y"])
        return [SavedFile("y.txt", "y", item.name)]


@dataclass
class LinesOptions:
    """The options of `lines`."""

    path: str
    """A file, a folder, or a pattern."""


class Lines(Dataset[LinesOptions]):
    """Reads lines of numbers from files, one file at a time if need be."""

    name = "lines"
    axes = ("row", "place")
    opens = (".line",)
    Options = LinesOptions

    def identity(self, split: Split) -> tuple[str, ...]:
        """Return the content of every file."""
        return tuple(source.file.read_text() for source in self.sources())

    def items(self, split: Split, signature: Signature) -> Iterator[Item]:
        """Read one file after the other."""
        for source in self.sources():
            text = source.file.read_text()
            try:
                line = np.array([float(number) for number in text.split()], dtype=np.float32)
            except ValueError:
                raise InputError(f"`{source.name}` holds no numbers") from None
            yield Item(text, source.name, {"x": np.stack([line, -line])})

    def save(
        self, item: Item, outputs: Mapping[str, Any], signature: Signature, folder: Path
    ) -> Sequence[SavedFile]:
        """Write the numbers as text, in a folder as the other datasets do."""
        RAN.append(f"save {item.name}")
        (folder / "lines").mkdir()
        np.savetxt(folder / "lines" / "y.txt", outputs["y"])
        return [SavedFile("lines/y.txt", "y", item.name)]

    def sources(self) -> Iterator[Source]:
        """Yield the files."""
        path = Path(self.options.path)
        if path.is_file():
            yield Source(as_text(path.name), path)
        elif path.is_dir():
            yield from (
                Source(as_text(f.relative_to(path).as_posix()), f)
                for f in sorted(path.rglob("*.line"))
            )
        else:
            top = top_of(self.options.path)
            for file in matching(self.options.path):
                yield Source(as_text(file.relative_to(top).as_posix()), file)

    def only(self, source: Source) -> Lines:
        """Return the dataset of one file."""
        return Lines(LinesOptions(str(source.file)))


class Straight(Dsp[Any]):
    """Adds the batch axis and drops it."""

    name = "straight"

    def bind(self, info: ModelInfo) -> Transform:
        """Return the same transform for every model."""

        class Batch(Transform):
            """The batch axis."""

            def forward(self, window: Mapping[str, Any]) -> tuple[Any, Any]:
                """Add the batch axis."""
                return {"x": window["x"][None]}, {}

            def inverse(self, outputs: Mapping[str, Any], remembered: Mapping[str, Any]) -> Any:
                """Drop the batch axis."""
                return {"y": outputs["y"][0]}

        return Batch()


@dataclass
class EvenOptions:
    """The options of `even`."""

    length: int = 8
    """Places in a window."""
    overlap: int = 0
    """Places that two neighbours share: kept from the later one."""


class Even(Chunker[EvenOptions]):
    """Cuts places into windows of one length, padded with zeros."""

    name = "even"
    Options = EvenOptions

    def window(self) -> Mapping[str, int]:
        """Return the length of a window."""
        return {"place": self.options.length}

    def split(self, lengths: Mapping[str, int]) -> Sequence[Window]:
        """Return windows side by side."""
        size = self.options.length
        starts = range(0, lengths["place"], size - self.options.overlap)
        return [
            Window(i, {"place": s}, {"place": min(s + size, lengths["place"])})
            for i, s in enumerate(starts)
        ]

    def cut(self, inputs: Mapping[str, Any], window: Window, signature: Signature) -> Any:
        """Return one window."""
        piece = inputs["x"][:, window.start["place"] : window.stop["place"]]
        return {"x": np.pad(piece, ((0, 0), (0, self.options.length - piece.shape[1])))}

    def sampler(self) -> Even:
        """Return a chunker whose windows lie side by side."""
        return Even(replace(self.options, overlap=0))

    def resized(self, window: Mapping[str, int]) -> Even:
        """Return a chunker with windows of another length."""
        return Even(EvenOptions(window["place"]))

    def joiner(self, lengths: Mapping[str, int], signature: Signature) -> Joiner:
        """Return a joiner that puts windows side by side."""
        whole = np.zeros((2, lengths["place"]), dtype=np.float32)

        class Side(Joiner):
            """Writes windows to their places."""

            def add(self, window: Window, outputs: Mapping[str, Any]) -> None:
                """Write one window."""
                start, stop = window.start["place"], window.stop["place"]
                whole[:, start:stop] = outputs["y"][:, : stop - start]

            def result(self) -> Any:
                """Return all windows, joined."""
                return {"y": whole}

        return Side()


class Copied(Graph[Any]):
    """Copies the weights, as a rewriter would."""

    name = "copied"
    accepts = frozenset({"torch"})

    def run(self, artifact: Artifact, work: StageContext) -> StageResult:
        """Copy the weights."""
        RAN.append("graph")
        return StageResult(work.copy(artifact), "torch", "fp32")


@dataclass
class CoarseOptions:
    """The options of `coarse`."""

    fail: str = ""
    """What to raise while quantising: `bug`, `memory`, `interrupt`, or nothing; `kill` ends the
    process as a system out of memory does, `kill once` only the first time."""
    levels: int = 5
    """How many levels there are; 0 to find out."""
    loss: float = 0.0
    """By which part the gain is off afterwards."""
    seconds: float = 0.0
    """How long it takes."""


class Coarse(Quantizer[CoarseOptions]):
    """Reads its calibration and copies the weights."""

    name = "coarse"
    accepts = frozenset({"torch"})
    Options = CoarseOptions

    @property
    def calibration_windows(self) -> int:
        """Return the number of windows: two."""
        return 2

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Return the same format with precision int8."""
        return ArtifactSpec(spec.format, "int8")

    def run(self, artifact: Artifact, calibration: Calibration, work: StageContext) -> StageResult:
        """Copy the weights, after the error that `fail` requests."""
        RAN.append("quantizer")
        feeds = list(calibration.feeds())
        time.sleep(self.options.seconds)
        seen = len(feeds)
        if self.options.fail.startswith("kill"):
            died = work.state_dir / "died"
            if self.options.fail == "kill" or not died.exists():
                died.parent.mkdir(parents=True, exist_ok=True)
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        elif self.options.fail:
            (work.folder / "half-written").write_text("x")
            raise {
                "bug": ZeroDivisionError("x"),
                "memory": MemoryError(),
                "interrupt": KeyboardInterrupt(),
            }[self.options.fail]
        chosen = {}
        if self.options.levels == 0:
            RAN.append("search")
            chosen = {"levels": 7}
        (work.folder / "length.txt").write_text(str(feeds[-1]["x"].shape[-1]))
        file = work.copy(artifact)
        if self.options.loss:
            file.write_text(str(float(file.read_text()) * (1 + self.options.loss)))
        return StageResult(file, "torch", "int8", {"windows": seen}, chosen_options=chosen)


class Plain(Runtime[Any]):
    """Multiplies with numpy."""

    name = "plain"
    accepts = frozenset({"torch"})

    def open(
        self, artifact: Artifact, model: Callable[[], TorchModel], work: StageContext
    ) -> Session:
        """Return a session that multiplies."""
        gain = float(Path(artifact.path).read_text())

        class Multiply(Session):
            """A session with one multiplication."""

            device = "a pocket calculator"

            def run(self, feeds: Mapping[str, Any]) -> Any:
                """Multiply."""
                RAN.append("play")
                return {"y": multiplied(feeds["x"], gain, artifact.info)}

        return Multiply()


@dataclass
class DistantOptions:
    """The options of `distant`."""

    room: int = 1000
    """The places of the longest window that the device has room for."""
    cacheable: bool = True
    """Whether a refusal would be the same next time."""


class Distant(Plain):
    """Compiles for a device that is not here, and emulates it."""

    name = "distant"
    Options = DistantOptions
    compiles = True
    plays = False
    columns: ClassVar[Mapping[str, str]] = {"room_left_bytes": "room left"}

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Return the format of the compiled artifact."""
        return ArtifactSpec("distant", spec.precision)

    def compile(self, artifact: Artifact, work: StageContext) -> StageResult:
        """Copy the artifact, if its window fits."""
        RAN.append("runtime")
        length = int((Path(artifact.folder) / "length.txt").read_text())
        if length == INTERRUPTED_AT:
            raise KeyboardInterrupt
        if length > self.options.room:
            raise DoesNotFitError(
                f"{length} places do not fit", "take fewer", cause="room",
                cacheable=self.options.cacheable,
            )  # fmt: skip
        left = {"room_left_bytes": self.options.room - length}
        return StageResult(work.copy(artifact), "distant", artifact.precision, left)


@dataclass
class TwoDevicesOptions:
    """The options of `two_devices`."""

    elsewhere: int = 3
    """How many of its six nodes another device computes than the one that is asked for."""


class TwoDevices(Plain):
    """Multiplies with numpy, and says that two devices computed the nodes."""

    name = "two_devices"
    Options = TwoDevicesOptions

    def open(
        self, artifact: Artifact, model: Callable[[], TorchModel], work: StageContext
    ) -> Session:
        """Return a session that multiplies, with a trace of six nodes."""
        elsewhere = self.options.elsewhere
        multiply: Any = type(super().open(artifact, model, work))

        class Traced(multiply):  # type: ignore[misc]  # a class that is made when it is opened
            """A session that says what computed its nodes, after it ran the window."""

            def placement(self, feeds: Mapping[str, Any]) -> Placement:
                """Count six nodes; those elsewhere are named."""
                RAN.append(f"placement of {feeds['x'].shape[-1]} places")
                return Placement(
                    "a pencil",
                    (Placed("NPU", 6 - elsewhere, "int8"),
                     Placed("CPU", elsewhere, "fp32", asked=False)),
                    tuple((f"node {n}", "Multiply") for n in range(elsewhere)),
                )  # fmt: skip

        session: Session = Traced()
        return session


class Largest(Evaluator[Any]):
    """Measures the largest output."""

    name = "largest"
    limits: ClassVar[Mapping[str, LimitSpec]] = {"max_largest": LimitSpec("largest")}

    def evaluate(self, played: EvaluatedItem, signature: Signature) -> Sequence[Metric]:
        """Return one metric."""
        RAN.append("evaluate")
        return [Metric("largest", float(played.outputs["y"].max()), "1", played.device)]


class Near(Evaluator[Any]):
    """Measures the SNR to the truth, and its drop from the reference's SNR."""

    name = "near"
    limits: ClassVar[Mapping[str, LimitSpec]] = {"max_near_drop_db": LimitSpec("near_drop", "dB")}

    def evaluate(self, played: EvaluatedItem, signature: Signature) -> Sequence[Metric]:
        """Return both metrics in dB, for each row."""
        truth, metrics = played.item.references["y"], list[Metric]()
        for index, row in enumerate(("first", "second")):
            here, before = (
                snr_db(truth[index], outputs["y"][index])
                for outputs in (played.outputs, played.reference)
            )
            note, item, device = (
                f"below that with {played.against}",
                played.item.name,
                played.device,
            )
            drop = before - here
            metrics += [
                Metric("near", here, "dB", device, item, row, better="higher"),
                Metric("near_drop", drop, "dB", device, item, row, better="lower", note=note),
            ]
        return metrics


@hookimpl
def luthier_plugins() -> list[type[Any]]:
    """Add the toys."""
    stages = [Gain, Ramp, Lines, Straight, Even, Copied, Coarse, Plain, Distant, TwoDevices]
    return [*stages, Largest, Near]


@hookimpl
def luthier_presets() -> list[str]:
    """Add the precisions of the toy quantizer, and a target that runs them."""
    return [str(Path(__file__).parent / "presets")]
