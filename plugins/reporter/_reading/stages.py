"""The rows of an error budget in words, and which of them cost the most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.measure.error_budget import CUT, LEAST_DB, WHOLE, Worst, losses, worst_of
from core.plugin.step_names import EXPORTER, PROBE, QUANTIZER, RUNTIME
from plugins.reporter._reading.tables import OVERALL, average, title_of
from plugins.reporter._reading.words import SAME_DB, decibels, figure, signed

if TYPE_CHECKING:
    from core.measure.error_budget import Loss
    from core.plugin.records import BudgetLine, RunRecord

__all__ = ["base_in_words", "costliest", "furthest", "row_in_words", "stage_in_words"]


def stage_in_words(record: RunRecord, line: BudgetLine) -> str:
    """Return what happened at this row, for a reader who knows no stage name."""
    made = next((stage.artifact for stage in record.stages if stage.name == line.stage), None)
    if line.stage.startswith("graph."):
        return f"graph rewritten by {line.stage.removeprefix('graph.')}"
    if line.stage == EXPORTER:
        return f"model exported to {made.format.upper()}" if made else "exported model"
    if line.stage == QUANTIZER:
        return f"numbers rounded to {made.precision}" if made else "numbers rounded"
    if line.stage == RUNTIME:
        return "compiled model"
    if line.stage == PROBE:
        return f"compiled model on {_kind(record, line.device)}"
    return {CUT: "input cut into windows", WHOLE: "whole input, as played"}.get(
        line.stage, line.stage
    )


def base_in_words(record: RunRecord) -> str:
    """Return the base of comparison of every row, together with the rows before it."""
    cut = any(line.stage == CUT for line in record.budget)
    return f"FP32 PyTorch in the windows of {'its training' if cut else 'the recipe'}"


def row_in_words(overall: float, worst: Worst) -> str:
    """Return both figures of a row: `29.4 dB, drums 13.2 dB`."""
    both, lowest = decibels(overall), decibels(worst.db)
    # Where nothing differs, no label is the worst.
    named = worst.label and lowest != decibels(SAME_DB)
    return f"{both}, {worst.label} {lowest}" if named else both


def furthest(line: BudgetLine) -> tuple[Worst | None, Worst | None]:
    """Return a row's worst label by itself and together with the rows before, where known."""
    return (
        None if line.step_db is None else worst_of(line.step_db, line.labels, line.label_step_db),
        None
        if line.total_db is None
        else worst_of(line.total_db, line.labels, line.label_total_db),
    )


def costliest(record: RunRecord) -> str:
    """Return the row of the budget that lost the most, the next one, and the loss of quality.

    "" where nothing was compared.
    """
    compared = [line for line in record.budget if line.step_db is not None]
    if not compared:
        return ""
    # Rows with equal losses keep their order.
    ranked = sorted(losses(record.budget), key=lambda loss: loss.worst.db)
    said = [_ranked(record, ranked), _together(compared), _fallen(record)]
    return " ".join(sentence for sentence in said if sentence)


def _ranked(record: RunRecord, ranked: list[Loss]) -> str:
    if not ranked:
        return "No stage lost anything beyond the rounding of FP32."
    first, *rest = ranked
    words = stage_in_words(record, first.line)
    named = first.line.stage if words == first.line.stage else f"{first.line.stage} ({words})"
    # Two cuts also differ in other ways than by the shorter windows.
    did = "makes the largest difference" if first.line.stage == CUT else "cost the most"
    said = f"{named} {did}: it leaves an SNR of {_left(record, first)}"
    if rest:
        said += f"; next is {rest[0].line.stage} with {_left(record, rest[0])}"
    return f"{said}."


def _left(record: RunRecord, loss: Loss) -> str:
    """Return the SNR that a row leaves, of its worst label first, since that decides the order."""
    line, worst = loss.line, loss.worst
    assert line.step_db is not None, "a row without a comparison loses nothing"
    said = f"{decibels(worst.db)} in {worst.label}, " if worst.label else ""
    said += f"{decibels(line.step_db)} over all" if said else decibels(worst.db)
    windows = max(other.windows for other in record.budget)
    return said + (
        f" (on {line.windows} of the {windows} windows)" if line.windows < windows else ""
    )


def _together(compared: list[BudgetLine]) -> str:
    """Return the SNR that all rows leave together, where more than one lost something."""
    last = next((line for line in reversed(compared) if line.total_db is not None), None)
    if last is None or last.total_db is None or sum(1 for _ in losses(compared)) < 2:  # noqa: PLR2004  # one alone is all
        return ""
    worst = worst_of(last.total_db, last.labels, last.label_total_db)
    up_to = "" if last is compared[-1] else f" up to {last.stage}"
    return f"Together{up_to}: {row_in_words(last.total_db, worst)}."


def _fallen(record: RunRecord) -> str:
    """Return the loss of the first measure that FP32 has too, such as the mean SDR."""
    table = average(record.metrics)
    row = table.rows.get(OVERALL, ()) if table else ()
    found = {metric.name: metric for metric in row if metric is not None}
    for name, here in found.items():
        reference = found.get(f"{name}_reference")
        if reference is None or here.unit != "dB" or here.better != "higher":
            continue
        loss = reference.value - here.value
        if loss > LEAST_DB:
            values = signed(f"({figure(reference.value, 2)} → {figure(here.value, 2)})")
            return (
                f"Mean {title_of(name)} fell {figure(loss, 2)} dB against FP32 PyTorch in "
                f"{record.against} {values}."
            )
    return ""


def _kind(record: RunRecord, device: str) -> str:
    if "emulator" in device.lower():
        return "the emulator"
    return "the target itself" if record.target_took_part else "another machine"
