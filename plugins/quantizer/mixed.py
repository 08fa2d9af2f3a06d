"""Static quantisation with 8 bits where they cost little, and more where they cost much."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from core import (
    Artifact,
    ArtifactSpec,
    Calibration,
    Fact,
    Notice,
    Quantizer,
    Requirement,
    StageContext,
    StageResult,
    hookimpl,
)
from core.config.bounds import MOST_WINDOWS, check_within
from core.formats.precision_census import census, share
from plugins.quantizer._mixed_precision.assignment import given
from plugins.quantizer._mixed_precision.choice import Choice, Chooser
from plugins.quantizer._mixed_precision.grouping import Group, GroupBy, groups_of
from plugins.quantizer._mixed_precision.levels import Level, config_of
from plugins.quantizer._mixed_precision.sensitivity import chart
from plugins.quantizer._onnx import activations, cleaned, inferred
from plugins.quantizer._onnx.calibration.collect import Method, collect
from plugins.quantizer._onnx.qdq import graph
from plugins.quantizer._onnx.qdq.exclusions import doubts
from plugins.quantizer._windows.held import HeldBack

REMEDY = "put fewer groups at float"


@dataclass
class MixedOptions:
    """The options of mixed precision."""

    min_snr_db: float = 33.0
    """SNR in dB that the quantised graph must hold against the float graph, at the worst of its
    outputs, over the windows held back for it."""
    group_by: GroupBy = GroupBy.layer
    """What shares a level: layer (a convolution or matrix product with what follows it) or block
    (layers that share a scope of names, such as /encoder.0)."""
    levels: list[Level] = field(default_factory=lambda: [Level.int8, Level.int16])
    """What a group can be: int8 and int16 (bits of the activations; weights have 8), or float,
    which NPUs compute in FP16 or not at all."""
    assignment: dict[str, Level] = field(default_factory=dict)
    """Levels that are given, by a group's name or a pattern of names (/encoder.0/*): these groups
    are not analysed. The lock file of a run holds the level of every group, to be used again or
    edited."""
    per_channel: bool = True
    """One scale per output channel of a convolution's weights, instead of one for all."""
    method: Method = Method.minmax
    """How a range follows from the values seen: minmax, entropy or percentile."""
    percentile: float = 99.999
    """Percentage of the values that the range keeps, for the method percentile."""
    windows: int = 24
    """How many windows of calibration data the ranges come from."""
    held_windows: int = 3
    """How many more are held back from the ranges, to measure the SNR on; they stay in memory."""

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of its range."""
        for name in ("windows", "held_windows"):
            check_within(self, name, 1, MOST_WINDOWS)
        if not 50 < self.percentile <= 100:  # noqa: PLR2004  # half of the values, all of them
            raise ValueError(f"`percentile` cannot be {self.percentile}; it is above 50, up to 100")
        if not self.integers:
            raise ValueError("`levels` quantises nothing; give int8, int16 or both")

    @property
    def integers(self) -> list[Level]:
        """Return the levels that quantise."""
        return [level for level in self.levels if level is not Level.float]


class Mixed(Quantizer[MixedOptions]):
    """Measures what each layer costs at 8 bits, and gives more to as few as a limit asks for."""

    name = "mixed"
    Options = MixedOptions
    libraries = (
        Requirement("onnxruntime", "pip install onnxruntime"),
        Requirement("onnx", "pip install onnx"),
    )

    @property
    def calibration_windows(self) -> int:
        """Return how many windows of calibration data the quantizer wants, with those held back."""
        return self.options.windows + self.options.held_windows

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Map a float graph to one of mixed precision."""
        return ArtifactSpec(spec.format, "mixed")

    def run(self, artifact: Artifact, calibration: Calibration, work: StageContext) -> StageResult:
        """Quantise the graph; inputs and outputs stay FP32.

        The fact `sensitivity` is the chart (`_mixed_precision/sensitivity.py` describes its
        format), `snr_db` the SNR of the quantised graph at its worst output on the windows held
        back, and `predicted_snr_db` that of the groups' own noises together. The assignment is an
        option that the stage settled. Raises InputError for calibration data that cannot be used,
        StageError for a graph that has nothing to quantise or that overflows, for a limit that no
        assignment holds, and for an assignment that names no group.
        """
        options = self.options
        model = cleaned(inferred(Path(artifact.path)))
        if not activations(model):
            raise graph.nothing_in(artifact, REMEDY)
        target = work.folder / "model.onnx"
        with tempfile.TemporaryDirectory(dir=work.folder) as scratch, graph.quiet():
            work.progress(0, 0, "preparing the graph")
            model = graph.prepared(model, Path(scratch))
            model, masks = graph.masked(model, Path(scratch), calibration)
            groups = groups_of(model, options.group_by)
            fixed = given(groups, options.assignment)
            everything = {name: Level.int8 for group in groups for name in group.nodes}
            split = HeldBack(calibration, options.held_windows)
            ranges = collect(
                Path(scratch) / "float.onnx",
                split.others,
                config_of(model, everything, per_channel=True).op_types_to_quantize,
                options.method,
                options.percentile,
                work.progress,
            )
            told = doubts(model, config_of(model, everything, per_channel=True), ranges)
            chooser = Chooser(
                model,
                ranges,
                groups,
                split.windows,
                Path(scratch),
                options.per_channel,
                work.progress,
            )
            if not split.enough or len(fixed) == len(groups):
                precise = max(options.integers, key=lambda level: level.value)
                choice = chooser.given(dict.fromkeys(chooser.names, precise) | fixed, target)
            else:
                choice = chooser.cheapest(fixed, options.levels, options.min_snr_db, target)
        facts = _facts(choice, groups, ranges.windows)
        if not facts["quantised_nodes"]:
            raise graph.nothing_in(artifact, REMEDY)
        facts["bytes"] = sum(file.stat().st_size for file in work.folder.iterdir())
        found = {name: level.name for name, level in choice.levels.items()}
        chosen = {"assignment": found} if split.enough else {}
        notices = (*masks, *told, *self._notices(choice))
        if not split.enough:
            notices += (_too_few(calibration.count, self.calibration_windows),)
        return StageResult(target, "onnx", "mixed", facts, notices, chosen_options=chosen)

    def _notices(self, choice: Choice) -> tuple[Notice, ...]:
        macs = census(choice.path).macs
        text = f"{share(macs, ['w8a8']):.0%} of the multiply-accumulates have 8 bits"
        found = [Notice("info", text)]
        if choice.snr_db < self.options.min_snr_db:
            # Given as a whole by hand, or by another machine's lock file: nothing left to choose.
            text = (
                f"the given assignment reaches {choice.snr_db:.1f} dB, less than the "
                f"{self.options.min_snr_db:g} dB of `min_snr_db`"
            )
            found.append(Notice("warning", text))
        return tuple(found)


def _facts(choice: Choice, groups: list[Group], windows: int) -> dict[str, Fact]:
    """Return the facts of the graph, and the chart of the groups where they were analysed."""
    import onnx

    model = onnx.load(str(choice.path), load_external_data=False)
    facts = graph.facts_of(onnx.shape_inference.infer_shapes(model), choice.config, windows)
    facts |= {"groups": len(groups), "snr_db": choice.snr_db}
    if choice.predicted_db is not None:
        facts["predicted_snr_db"] = choice.predicted_db
    facts["sensitivity"] = chart(groups, choice.found, choice.levels)
    return facts


def _too_few(count: int, enough: int) -> Notice:
    text = f"{count} calibration window(s) are too few to choose levels: {enough} are enough"
    return Notice("warning", f"{text}; with fewer, every group has the most bits")


@hookimpl
def luthier_plugins() -> list[type[Mixed]]:
    """Return the plugin of this file."""
    return [Mixed]
