"""Static quantisation to integers by NNCF, OpenVINO's own quantiser, with control of the loss."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from core import (
    Artifact,
    ArtifactSpec,
    Calibration,
    Fact,
    Notice,
    Quantizer,
    Requirement,
    StageContext,
    StageError,
    StageResult,
    hookimpl,
)
from core.config.bounds import MOST_WINDOWS, check_within
from core.formats.onnx_graph import inferred, save
from plugins.quantizer._nncf.described import described, endless, reverted
from plugins.quantizer._nncf.prepared import check_weights, left_in_float, once, told, unshared
from plugins.quantizer._nncf.process import UNCONTROLLED, ask, played_db
from plugins.quantizer._nncf.windows import Written, written
from plugins.quantizer._onnx import activations, cleaned, nodes_matching
from plugins.quantizer._onnx.graph.operands import structural_nodes
from plugins.quantizer._onnx.qdq.graph import masked, nothing_in, too_few

REMEDY = "shorten `exclude`"
#: The most dB that a limit may ask for: nothing in 8 bits is nearer.
MOST_DB = 120.0
#: Below this SNR, on a window that ranges come from, a graph is hardly the same network.
FAR_DB = 10.0


class Preset(Enum):
    """How activations are quantised; weights are symmetric in both."""

    performance = "performance"
    mixed = "mixed"


class Ranges(Enum):
    """How a range follows from the values of all windows, in NNCF's words."""

    minmax = "MINMAX"
    mean_minmax = "MEAN_MINMAX"
    median_minmax = "MEDIAN_MINMAX"
    mean_quantile = "MEAN_QUANTILE"
    histogram = "HISTOGRAM"


class Bias(Enum):
    """How biases are corrected for the mean error of a layer."""

    fast = "fast"
    full = "full"
    none = "none"


class Halved(Enum):
    """Which weights use half of the 8-bit range."""

    none = "disable"
    first_layer = "first_layer_only"
    all = "enable"


@dataclass
class NncfOptions:
    """The options of quantisation by NNCF."""

    preset: Preset = Preset.mixed
    """Ranges of activations: performance (centred on zero) or mixed (wherever the values are)."""
    windows: int = 24
    """How many windows of calibration data the ranges come from."""
    ranges: Ranges | None = None
    """How a range follows from the windows: minmax, mean_minmax, median_minmax, mean_quantile or
    histogram; null leaves the choice to NNCF."""
    bias_correction: Bias = Bias.fast
    """How biases are corrected for the mean error of each layer: fast (layer by layer), full (after
    all layers before it are corrected, which takes many times as long), or none."""
    transformer: bool = False
    """The model is a transformer: attention is quantised by patterns of its own, and SmoothQuant
    moves large values from activations into weights."""
    smooth_quant: float = 0.95
    """How much SmoothQuant moves in matrix products, 0 to 1; below 0 for none. With `transformer`
    only."""
    half_range: Halved = Halved.none
    """Which weights use half of the 8-bit range, for programs that compute with kernels which
    saturate (x86 without VNNI): none, first_layer or all. The runtimes here need none: they compute
    exactly."""
    exclude: list[str] = field(default_factory=list)
    """What stays in float: operators or patterns of node names."""
    min_snr_db: float | None = None
    """Accuracy control: SNR in dB that the quantised graph must hold against the float graph, at
    its worst output, over the windows held back for it. Operators are reverted to float, those that
    cost most first, until it does. null quantises without a limit."""
    held_windows: int = 3
    """How many more windows are held back from the ranges to measure that SNR on; they stay in
    memory, with their outputs."""
    ranking_windows: int = 1
    """On how many of those, the worst first, each operator's cost is measured. What is reverted is
    measured on all."""
    most_reverted: int | None = None
    """Most groups of operators that accuracy control may revert; null for any number."""
    time_limit_s: float = 14400.0
    """Seconds that all of it may take."""

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of its range."""
        for name in ("windows", "held_windows", "ranking_windows", "most_reverted"):
            check_within(self, name, 1, MOST_WINDOWS)
        if self.smooth_quant > 1:
            raise ValueError(f"`smooth_quant` cannot be {self.smooth_quant}; it is 1 at most")
        if self.min_snr_db is not None and not 0 < self.min_snr_db <= MOST_DB:
            raise ValueError(
                f"`min_snr_db` cannot be {self.min_snr_db}; it is above 0, up to {MOST_DB:g}"
            )
        if self.time_limit_s <= 0:
            raise ValueError(f"`time_limit_s` cannot be {self.time_limit_s}; it is above 0")


class Nncf(Quantizer[NncfOptions]):
    """Quantises weights and activations to 8 bits with NNCF, where OpenVINO has integer kernels."""

    name = "nncf"
    Options = NncfOptions
    libraries = (
        Requirement("nncf", "pip install 'luthier[nncf]'"),
        Requirement("onnxruntime", "pip install onnxruntime"),
        Requirement("onnx", "pip install onnx"),
    )

    @property
    def calibration_windows(self) -> int:
        """Return how many windows of calibration data the quantizer wants, with those held back."""
        options = self.options
        return options.windows + (0 if options.min_snr_db is None else options.held_windows)

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Map a float graph to one of 8-bit weights and activations."""
        traits = {"unsigned activations"}  # behind a ReLU, also with the preset `performance`
        if self.options.preset is Preset.mixed:
            traits.add("asymmetric activations")
        return ArtifactSpec(spec.format, "int8", frozenset(traits))

    def run(self, artifact: Artifact, calibration: Calibration, work: StageContext) -> StageResult:
        """Quantise the graph; inputs and outputs stay FP32.

        With `min_snr_db`, the fact `snr_db` is the SNR of the result at its worst output on the
        windows held back, `quantised_snr_db` that before any operator was reverted, and `reverted`
        names those that were. Raises InputError for calibration data that cannot be used,
        StageError for a graph that has nothing to quantise, that overflows or that NNCF does not
        take, and for a limit that it does not hold.
        """
        options = self.options
        model = once(unshared(cleaned(inferred(Path(artifact.path)))))
        if not activations(model):
            raise nothing_in(artifact, REMEDY)
        check_weights(model, Path(artifact.path))
        chosen, unfit = nodes_matching(model, options.exclude, "exclude"), left_in_float(model)
        ignored = {*chosen, *unfit, *structural_nodes(model)}
        held = 0 if options.min_snr_db is None else options.held_windows
        with tempfile.TemporaryDirectory(dir=work.folder) as folder:
            float_ = Path(folder) / "float.onnx"
            work.progress(0, calibration.count, "preparing the graph")
            save(model, float_)
            model, masks = masked(model, float_.parent, calibration)
            given = written(float_, calibration, held, work.progress)
            answer = ask(
                float_,
                artifact,
                given,
                ignored,
                _plain(options),
                options.time_limit_s,
                work.progress,
            )
            quantised = float_.with_name("quantised.onnx")
            lowered = cleaned(inferred(quantised))
            if lost := endless(lowered):
                raise _without_scale(lost, artifact)
            facts = described(lowered, len(given.windows))
            near = played_db(float_, quantised, given, artifact)
            notices = (*masks, *given.notices, *told(model, unfit), *_said(answer), *_far(near))
            if held:
                before = reverted(float_.with_name(UNCONTROLLED), lowered)
                facts |= _control(answer, before)
                notices += self._held(facts, before, given)
        if not facts["quantised_nodes"]:
            raise nothing_in(artifact, REMEDY)
        path = work.folder / "model.onnx"
        save(lowered, path)
        facts["bytes"] = sum(file.stat().st_size for file in work.folder.iterdir())
        notices += too_few(len(given.windows), options.windows)
        return StageResult(path, "onnx", "int8", facts, notices)

    def _held(
        self, facts: Mapping[str, Fact], names: list[str], given: Written
    ) -> tuple[Notice, ...]:
        """Return the notices about accuracy control; raises StageError for a limit not held."""
        asked, got = self.options.min_snr_db, float(str(facts["snr_db"]))
        before_db = float(str(facts["quantised_snr_db"]))
        assert asked is not None
        if got < asked:
            raise StageError(
                f"NNCF does not reach `min_snr_db` {asked:g}: {got:.1f} dB with "
                f"{len(names)} operators reverted to float, {before_db:.1f} dB "
                "with none",
                f"still quantised: {facts['quantised_nodes']} operators",
                "ask for less (quantizer.min_snr_db), allow more operators "
                "(quantizer.most_reverted), or choose precision=int8 or mixed, which have 16 bits",
            )
        text = (
            f"{len(names)} of {len(names) + int(str(facts['quantised_nodes']))} operators were "
            f"reverted to float: {got:.1f} dB in place of {before_db:.1f}"
        )
        found = [Notice("info", text if names else "no operator had to be reverted to float")]
        if not given.apart:
            text = (
                f"{len(given.windows)} calibration window(s) are too few to hold any back: "
                "`min_snr_db` was measured on those that the ranges come from"
            )
            found.append(Notice("warning", text))
        return tuple(found)


def _plain(options: NncfOptions) -> dict[str, Any]:
    """Return the options as JSON, in NNCF's own words."""
    plain = asdict(options)
    return {name: v.value if isinstance(v, Enum) else v for name, v in plain.items()}


def _said(answer: Mapping[str, Any]) -> tuple[Notice, ...]:
    return tuple(Notice("warning", f"NNCF: {text}") for text in answer["warnings"])


def _far(snr_db: float) -> tuple[Notice, ...]:
    """Return the notice about a graph that hardly computes what the float graph does."""
    if snr_db >= FAR_DB:
        return ()
    text = (
        f"the quantised graph is far from the float graph: {snr_db:.1f} dB at its worst output, on "
        "a window that it is calibrated on"
    )
    advice = "let NNCF revert operators (quantizer.min_snr_db=20), or use precision=int8 or mixed"
    return (Notice("warning", f"{text}; {advice}"),)


def _control(answer: Mapping[str, Any], names: list[str]) -> dict[str, Fact]:
    return {
        "snr_db": answer["snr_db"],
        "quantised_snr_db": answer["quantised_snr_db"],
        "reverted": names,
    }


def _without_scale(tensors: list[str], artifact: Artifact) -> StageError:
    return StageError(
        f"{len(tensors)} tensor(s) have no range, first `{tensors[0]}`: they hold infinities",
        f"at: {artifact.path}",
        "leave the operators around them in float (quantizer.exclude=[...]), or use precision=int8",
    )


@hookimpl
def luthier_plugins() -> list[type[Nncf]]:
    """Return the plugin of this file."""
    return [Nncf]
