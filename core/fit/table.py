"""The results of `mode=fit`: a table on the terminal, JSON, and a page in Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
from rich.table import Table as RichTable

from core.config.pipeline import Pipeline
from core.config.settings import Fit
from core.machine.environment import machine, versions
from core.plan.feasibility import Verdict
from core.plugin.values import Fact
from core.text.markdown import code, inline
from core.text.screen import screen
from core.text.shown import shown, shown_below

__all__ = ["Row", "Table", "said", "show", "write"]

#: The columns that hold words.
TEXTS = ("precision", "fits")


@dataclass(frozen=True)
class Row:
    """One window: its length along the axis, the verdict on it, and whether the store had it."""

    length: int
    verdict: Verdict
    cached: bool


@dataclass
class Table:
    """The results at one precision.

    `rate` is in samples per second where the axis has a rate. `longest` is the longest window
    that fits, `option` the override that asks for it.
    """

    precision: str
    axis: str
    rate: float | None
    columns: Mapping[str, str]
    rows: list[Row] = field(default_factory=list)
    longest: int | None = None
    option: str = ""

    def add(self, length: int, verdict: Verdict, *, cached: bool) -> None:
        """Add a row in its place: from short to long."""
        self.rows.append(Row(length, verdict, cached))
        self.rows.sort(key=lambda row: row.length)

    def size(self, length: int) -> str:
        """Return a length in words."""
        lasts = f" ({length / self.rate:.2f} s)" if self.rate else ""
        return f"{length:,} along {self.axis}{lasts}"

    def summary(self) -> str:
        """Return the result in a sentence."""
        if self.longest is None:
            tried = f", down to {self.size(self.rows[0].length)}" if self.rows else ""
            return f"{self.precision}: no window that was tried fits{tried}"
        above = next((row for row in self.rows if row.length > self.longest), None)
        text = f"{self.precision}: {self.size(self.longest)} fits"
        text += f", {above.length:,} does not" if above else ", the upper end of the search"
        return f"{text}: {self.option}" if self.option else text


def said(verdict: Verdict, *, cached: bool) -> str:
    """Return a verdict in a line."""
    origin = f"cached from {verdict.made_at[:16].replace('T', ' ')} UTC" if cached else "tried now"
    if verdict.fits:
        return f"fits: compiled in {verdict.seconds:.1f} s, {origin}"
    return f"does not fit: {verdict.why[0]}, {origin}"


def show(tables: Sequence[Table], wanted: Fit) -> None:
    """Print the table, a sentence per precision, and notes on how to read them."""
    console = screen()
    if not any(table.rows for table in tables):
        return
    head, *lines = _lines(tables)
    shown = RichTable(box=None, padding=(0, 1, 0, 0), header_style="bold")
    for name in head:
        # Headings break only between words, and so 80 columns are enough.
        narrowest = max(map(len, name.split()))
        side: Literal["left", "right"] = "left" if name in TEXTS else "right"
        shown.add_column(name, justify=side, min_width=narrowest, no_wrap=name == "window")
    for line in lines:
        shown.add_row(*line)
    console.print()
    console.print(shown)
    console.print()
    for table in tables:
        console.print(table.summary(), soft_wrap=True)
    for note in _notes(tables, wanted):
        console.print(note, style="dim", soft_wrap=True)


def write(
    folder: Path,
    pipeline: Pipeline,
    tables: Sequence[Table],
    wanted: Fit,
    started: datetime,
    command: str,
) -> None:
    """Write `fit.json` and `fit.md` below `folder`; `command` repeats the search."""
    about = {
        "recipe": pipeline.recipe,
        "command": command,
        "target": msgspec.to_builtins(pipeline.target),
        "runtime": pipeline.runtime.name,
        "runtime_options": msgspec.to_builtins(pipeline.runtime.options),
        "started": started.isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "notes": _notes(tables, wanted),
        "precisions": msgspec.to_builtins(tables),
    }
    (folder / "fit.json").write_text(json.dumps(shown_below(about), indent=1), encoding="utf-8")
    head, *lines = _lines(tables)
    page = [
        f"# What fits {inline(pipeline.target.title or pipeline.runtime.name)}",
        (
            f"Recipe {code(pipeline.recipe)}, {started:%Y-%m-%d %H:%M} UTC, "
            f"on this machine: {inline(machine())}."
        ),
        f"    {shown(command)}",
        "\n".join(f"- {inline(table.summary())}" for table in tables),
        "\n".join(
            f"| {' | '.join(map(inline, line))} |" for line in (head, ["---"] * len(head), *lines)
        ),
        *_notes(tables, wanted),
        "## Why not",
        *(
            f"{inline(table.precision)}, {table.size(row.length)}:\n\n"
            + "\n".join(
                f"    {shown(part)}" for line in row.verdict.why for part in line.split("\n")
            )
            for table in tables
            for row in table.rows
            if not row.verdict.fits
        ),
    ]
    if page[-1] == "## Why not":
        page.pop()
    (folder / "fit.md").write_text("\n\n".join(page) + "\n", encoding="utf-8")


def _lines(tables: Sequence[Table]) -> Iterator[list[str]]:
    """Yield the head and every row of the table as texts."""
    columns = dict(pair for table in tables for pair in table.columns.items())
    yield ["precision", "window", "fits", *columns.values(), "compile time", "host memory"]
    for table in tables:
        for row in table.rows:
            found = row.verdict
            lasts = f" ({row.length / table.rate:.2f} s)" if table.rate else ""
            yield [
                table.precision,
                f"{row.length:,}{lasts}",
                "yes" if found.fits else f"no: {found.cause}",
                *(_shown(name, found.facts.get(name)) for name in columns),
                f"{found.seconds:.1f} s",
                f"{found.peak_memory_mb:,.0f} MB",
            ]


def _shown(name: str, fact: Fact) -> str:
    """Return a fact in its unit, which is the suffix of its name."""
    if fact is None:
        return "-"
    if isinstance(fact, int | float) and name.endswith("_bytes"):
        return f"{fact / 1e6:.1f} MB"
    return f"{fact:.1f} s" if isinstance(fact, float) and name.endswith("_s") else str(fact)


def _notes(tables: Sequence[Table], wanted: Fit) -> list[str]:
    """Return the notes on how to read the table."""
    here = "Compiled on this machine; no device took part. Host memory is that of the whole process"
    taken = f"Windows are multiples of {wanted.step:,}; a window counts as one that fits"
    notes = [f"{here}, compiler included.", f"{taken} if a longer one fits."]
    if wanted.calibration_windows is not None:
        notes.append(
            f"Quantizers saw {wanted.calibration_windows} calibration window(s) at most. They "
            "decide the ranges, not whether a window fits: do not use the models compiled here."
        )
    causes = {row.verdict.cause for table in tables for row in table.rows}
    if "time limit" in causes:
        notes.append("A window that reached the time limit may fit on a faster machine.")
    return notes
