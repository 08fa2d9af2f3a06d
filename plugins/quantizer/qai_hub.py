"""Qualcomm AI Hub quantises the graph, with ranges from our calibration windows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from core import (
    Array,
    Artifact,
    ArtifactSpec,
    Calibration,
    Fact,
    InputError,
    Notice,
    Quantizer,
    Reach,
    Requirement,
    StageContext,
    StageResult,
    hookimpl,
)
from core.config.bounds import MOST_WINDOWS, check_within
from core.formats.onnx_graph import save
from plugins.quantizer._onnx import inferred
from plugins.quantizer._onnx.graph.constants import constants_lifted
from plugins.quantizer._onnx.graph.masks import nearer_masks


class Weight(Enum):
    """The type of weights; the service takes no other with these activations."""

    int8 = "INT8"


class Activation(Enum):
    """The type of activations."""

    int8 = "INT8"
    int16 = "INT16"


@dataclass
class HubQuantizerOptions:
    """The options of the quantizer `qai_hub`."""

    weight: Weight = Weight.int8
    """Type of the weights: int8."""
    activation: Activation = Activation.int8
    """Type of the activations: int8 makes precision `int8`, int16 makes `w8a16`."""
    windows: int = 24
    """How many windows of calibration data are sent."""
    poll_s: float = 5.0
    """Seconds between two questions about the job's state."""
    time_limit_s: float = 14400.0
    """Seconds that the job is waited for; it goes on without us, and is taken up again."""

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of its range."""
        check_within(self, "windows", 1, MOST_WINDOWS)
        if self.poll_s <= 0 or self.time_limit_s <= 0:
            raise ValueError("`poll_s` and `time_limit_s` must be above 0")


class HubQuantizer(Quantizer[HubQuantizerOptions]):
    """Quantises in Qualcomm's cloud to QuantizeLinear and DequantizeLinear around the operators."""

    name = "qai_hub"
    Options = HubQuantizerOptions
    libraries = (
        Requirement("qai_hub", "pip install qai-hub", "qai-hub"),
        Requirement("onnx", "pip install onnx"),
        Requirement("onnxruntime", "pip install onnxruntime"),
    )

    @property
    def calibration_windows(self) -> int:
        """Return how many windows of calibration data the quantizer wants."""
        return self.options.windows

    def reaches(self) -> Sequence[Reach]:
        """Return the service, which receives the graph and calibration windows."""
        from plugins.vendor.qai_hub import host

        return (Reach("asks", host(), "Qualcomm AI Hub"),)

    def plan(self, spec: ArtifactSpec) -> ArtifactSpec:
        """Map a float graph to one of 8-bit weights and 8- or 16-bit activations."""
        wide = self.options.activation is Activation.int16
        return ArtifactSpec(spec.format, "w8a16" if wide else "int8")

    def run(self, artifact: Artifact, calibration: Calibration, work: StageContext) -> StageResult:
        """Upload the graph and the windows, quantise there, download the quantised graph."""
        from plugins.vendor.qai_hub import (
            Waiting,
            content_of,
            dataset_name,
            fetch_model,
            finished_job,
            hub_for,
            remember_model,
            upload_dataset,
            upload_model,
        )

        options, source = self.options, Path(artifact.path)
        entries = _entries(source, calibration)
        with tempfile.TemporaryDirectory(dir=work.folder) as scratch:
            source, notices = _masked(source, calibration, Path(scratch))
            hub = hub_for(work, Waiting(options.poll_s, options.time_limit_s))

            def prepare() -> Callable[[str], object]:
                from qai_hub import QuantizeDtype

                model, dataset = upload_model(hub, source), upload_dataset(hub, entries)
                weight = QuantizeDtype[options.weight.value]
                activation = QuantizeDtype[options.activation.value]
                submit = hub.client.submit_quantize_job
                return lambda name: submit(model, dataset, weight, activation, name=name)

            types = f"w {options.weight.value} a {options.activation.value}"
            job = finished_job(
                hub, "quantize", [content_of(source), dataset_name(entries), types], prepare
            )
            made = fetch_model(hub, job.detail.target_model.model_id, work.folder)
            remember_model(hub, made, job.detail.target_model.model_id)
        facts: dict[str, Fact] = {**job.facts, "windows": len(next(iter(entries.values())))}
        return StageResult(made, "onnx", self.plan(artifact.spec).precision, facts, notices)


def _masked(
    source: Path, calibration: Calibration, folder: Path
) -> tuple[Path, tuple[Notice, ...]]:
    """Return the graph to send: `source`, or one in `folder` whose masks a range can hold.

    The service takes ranges as they are, and one with -inf or the least float leaves no signal.
    """
    model = constants_lifted(inferred(source))
    notices = nearer_masks(model, calibration.feeds(), folder)
    if not notices:
        return source, ()
    save(model, folder / "model.onnx")
    return folder / "model.onnx", notices


def _entries(source: Path, calibration: Calibration) -> dict[str, list[Array]]:
    """Return the calibration windows by input, in the order of the graph's own inputs."""
    import numpy as np
    import onnx

    graph = onnx.load(str(source), load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    entries: dict[str, list[Array]] = {v.name: [] for v in graph.input if v.name not in weights}
    for feed in calibration.feeds():
        for name, arrays in entries.items():
            if name not in feed or not np.isfinite(feed[name]).all():
                raise InputError(
                    f"a calibration window holds nothing usable for the input `{name}`",
                    "it is missing, or holds values that are not numbers",
                    "choose other data: calibration=<dataset>",
                )
            arrays.append(np.ascontiguousarray(feed[name]))
    if not all(entries.values()):
        raise InputError(
            "there is no calibration data: no window was given",
            "choose other data: calibration=<dataset>",
        )
    return entries


@hookimpl
def luthier_plugins() -> list[type[HubQuantizer]]:
    """Return the quantizer plugin of this file."""
    return [HubQuantizer]
