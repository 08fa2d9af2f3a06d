"""What the lines of an error budget are, in words, and which of them cost the most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.budget import LEAST_DB, ROUNDING_DB, worst
from plugins.reporter.reading.tables import OVERALL, average, title_of
from plugins.reporter.reading.words import decibels, signed

if TYPE_CHECKING:
    from core.record import BudgetLine, RunRecord

__all__ = ["costliest", "stage_in_words"]


def stage_in_words(record: RunRecord, line: BudgetLine) -> str:
    """Return what was compared with FP32 PyTorch at this line, for one who knows no stage name."""
    made = next((stage.artifact for stage in record.stages if stage.name == line.stage), None)
    if line.stage.startswith("graph."):
        return f"graph rewritten by {line.stage.removeprefix('graph.')}"
    if line.stage == "exporter":
        return f"model exported to {made.format.upper()}" if made else "exported model"
    if line.stage == "quantizer":
        return f"numbers rounded to {made.precision}" if made else "numbers rounded"
    if line.stage == "runtime":
        return "compiled model"
    if line.stage == "probe":
        return f"compiled model on {_kind(record, line.device)}"
    return "input cut into windows, by itself" if line.stage == "chunk" else line.stage


def costliest(record: RunRecord) -> str:
    """Return which stage added the most error and what it did to the quality; "" for no loss."""
    loss, fallen = worst(record.budget), _fallen(record)
    if loss is None:
        return f"{fallen[0].upper()}{fallen[1:]}." if fallen else ""
    guilty, before = loss.line, loss.before
    if before is None:
        said = f"{guilty.stage} ({stage_in_words(record, guilty)}) cost the most: "
        said += f"{decibels(guilty.snr_db)} are left"
    else:
        said = f"{guilty.stage} cost the most: {signed(f'{before.snr_db:.1f}')} → "
        said += decibels(guilty.snr_db)
    said += f"; {fallen}." if fallen else "."
    # Chunking is measured against the training's windows, not against the stage before it.
    alone = min((line.snr_db for line in record.budget if not line.windows), default=ROUNDING_DB)
    if alone < guilty.snr_db:
        said += f" Cutting the input into windows weighs more: {decibels(alone)}, by itself."
    return said


def _fallen(record: RunRecord) -> str:
    """Return how far the first measure that was taken of FP32 too fell, e.g. the mean SDR."""
    table = average(record.metrics)
    row = table.rows.get(OVERALL, ()) if table else ()
    found = {metric.name: metric for metric in row if metric is not None}
    for name, here in found.items():
        reference = found.get(f"{name}_reference")
        if reference is None or here.unit != "dB" or here.better != "higher":
            continue
        loss = reference.value - here.value
        if loss > LEAST_DB:
            values = signed(f"({reference.value:.2f} → {here.value:.2f})")
            return f"mean {title_of(name)} fell {loss:.2f} dB against FP32 {values}"
    return ""


def _kind(record: RunRecord, device: str) -> str:
    if "emulator" in device.lower():
        return "the emulator"
    return "the target itself" if record.target_took_part else "another machine"
