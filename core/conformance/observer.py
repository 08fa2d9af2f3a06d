"""The contracts of evaluators and reporters: finite numbers with a device, files in the folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar

import pluggy

from core.conformance.base import PluginSuite
from core.plugin import hooks
from core.plugin.records import (
    Axis,
    BatchRecord,
    CandidateRecord,
    Failed,
    Point,
    RunRecord,
    SweepMetric,
    SweepRecord,
)
from core.plugin.stages import EvaluatedItem
from core.plugin.values import Signature

__all__ = ["EvaluatorSuite", "ReporterSuite"]


class EvaluatorSuite(PluginSuite):
    """Name one item that was `played`, and the `signature` of the model that played it."""

    signature: ClassVar[Signature]
    played: ClassVar[EvaluatedItem]

    def test_every_metric_is_finite_and_says_where(self) -> None:
        """Each number can be shown and plotted, and names what it was measured on."""
        metrics = self.make().evaluate(self.played, self.signature)
        assert metrics
        for metric in metrics:
            assert math.isfinite(metric.value), metric
            assert metric.device == self.played.device, metric
            assert metric.unit, metric


class ReporterSuite(PluginSuite):
    """Name the `record` of a run to report on; its saved files may be missing."""

    record: ClassVar[RunRecord]

    def test_it_reports_into_the_run_folder(self, tmp_path: Path) -> None:
        """It takes part through the hooks, and writes nowhere but into the run folder."""
        folder = tmp_path / "run"
        folder.mkdir()
        manager = pluggy.PluginManager(hooks.PROJECT)
        manager.add_hookspecs(hooks)
        manager.register(self.make())
        manager.check_pending()
        for stage in self.record.stages:
            manager.hook.luthier_stage_started(stage=stage.name, title=stage.title)
            manager.hook.luthier_stage_progress(stage=stage.name, done=1, total=2, message="half")
            manager.hook.luthier_stage_finished(record=stage)
        tried = CandidateRecord("int8", "held")
        manager.hook.luthier_precision_tried(record=tried, done=1, total=2)
        manager.hook.luthier_run_finished(record=self.record, folder=str(folder))
        manager.hook.luthier_run_placed(folder=str(folder))
        assert [p.name for p in tmp_path.iterdir()] == ["run"]

    def test_it_reports_a_sweep_into_its_folder(self, tmp_path: Path) -> None:
        """A point that was refused has no figures, and no folder."""
        folder = tmp_path / "runs" / "sweep-0"
        folder.mkdir(parents=True)
        figure = SweepMetric("snr", "SNR to FP32", "dB", "higher", objective=True)
        points = (
            Point(1, {"length": "1"}, "done", "python -m core length=1", "", {"snr": 30.0},
                  {"snr": "CPU"}, "length-1", front=True),
            Point(2, {"length": "2"}, "refused", "python -m core length=2", "no room"),
        )  # fmt: skip
        sweep = SweepRecord(
            "toy", "a toy", "python -m core -m length=1,2", self.record.started, 2.0,
            (Axis("length", ("1", "2")),), (figure,), points, 1, "the best", "this machine", {},
        )  # fmt: skip
        manager = pluggy.PluginManager(hooks.PROJECT)
        manager.add_hookspecs(hooks)
        manager.register(self.make())
        manager.hook.luthier_sweep_finished(record=sweep, folder=str(folder))
        assert [p.name for p in tmp_path.iterdir()] == ["runs"]
        assert [p.name for p in folder.parent.iterdir()] == ["sweep-0"]

    def test_it_reports_a_batch_into_its_folder(self, tmp_path: Path) -> None:
        """An item that failed has a reason, and nothing else."""
        folder = tmp_path / "runs" / "batch-0"
        folder.mkdir(parents=True)
        batch = BatchRecord(
            "toy", "a toy", self.record.started, 2.0, 3, 1, 1, (Failed("a.wav", "no audio"),),
            1.0, 1, "CPU", (),
        )  # fmt: skip
        manager = pluggy.PluginManager(hooks.PROJECT)
        manager.add_hookspecs(hooks)
        manager.register(self.make())
        manager.hook.luthier_batch_finished(record=batch, folder=str(folder))
        assert [p.name for p in tmp_path.iterdir()] == ["runs"]
        assert [p.name for p in folder.parent.iterdir()] == ["batch-0"]
