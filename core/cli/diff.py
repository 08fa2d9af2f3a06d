"""`mode=diff`: what differs between two runs, and what it did to every figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from omegaconf import DictConfig

from core.config.settings import Form
from core.errors import ConfigError
from core.machine.program import line
from core.run.comparison import Change, Comparison, FigureChange, Run, compare, read_run
from core.text.screen import say, screen

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["SCHEMA", "diff", "number"]

#: Raised when a reader of older comparisons would misread this one.
SCHEMA = "luthier.diff/1"
#: An SNR of this many dB stands for two results without a difference.
SAME_DB = 200.0
MEGA = 1e6
COLOURS = {"better": "green", "worse": "red"}


def diff(cfg: DictConfig) -> None:
    """Print the comparison of `diff.old` with `diff.new`, as text or as JSON."""
    if not cfg.diff.old or not cfg.diff.new:
        raise ConfigError(
            "`mode=diff` compares two runs, and one is missing",
            f"give both: {line(['mode=diff', 'diff.old=FOLDER', 'diff.new=FOLDER'])}",
            "each is a run folder, its report.json, or its recipe.lock.yaml",
        )
    found = compare(read_run(str(cfg.diff.old)), read_run(str(cfg.diff.new)))
    if cfg.diff.form is Form.json:
        content = {"schema": SCHEMA, **msgspec.to_builtins(found)}
        for side in ("old", "new"):
            content[side] = {key: content[side][key] for key in ("place", "title", "started")}
        say(msgspec.json.format(msgspec.json.encode(content), indent=1).decode())
    else:
        _show(found, screen())


def _show(found: Comparison, console: Console) -> None:
    for name, run in (("old", found.old), ("new", found.new)):
        console.print(f"{name}  {run.place}", soft_wrap=True)
        console.print(f"     {_about(run)}", soft_wrap=True)
    lists = (
        ("Recipe", found.recipe, found.old.options and found.new.options),
        ("Versions", found.versions, found.old.versions and found.new.versions),
        ("Machine", found.machine, found.old.machine and found.new.machine),
        ("Contract", found.contract, found.old.started and found.new.started),
    )
    for title, changes, known in lists:
        if known:
            _changes(console, title, changes)
    if not found.old.figures or not found.new.figures:
        console.print("\nNo figures to compare: a lock file has none, a run folder has them.")
        return
    _figures(console, found.figures)


def _about(run: Run) -> str:
    if not run.started:
        return f"{run.title}, a lock file without figures"
    return f"{run.title}, {run.started[:16].replace('T', ' ')}"


def _changes(console: Console, title: str, changes: Sequence[Change]) -> None:
    if not changes:
        console.print(f"\n{title}: the same")
        return
    from rich.table import Table

    console.print(f"\n{title}", style="bold")
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    for change in changes:
        table.add_row(change.name, f"{_said(change.old)} → {_said(change.new)}")
    console.print(table)


def _said(value: str | None) -> str:
    return "none" if value is None else value or "empty"


def _figures(console: Console, figures: Sequence[FigureChange]) -> None:
    from rich.table import Table

    shown = [figure for figure in figures if figure.verdict != "same"]
    same = len(figures) - len(shown)
    console.print(f"\nFigures: {len(shown)} differ, {same} are the same", style="bold")
    if not shown:
        return
    table = Table(box=None, padding=(0, 2, 0, 2))
    for title in ("figure", "old", "new", "change", ""):
        table.add_column(title, justify="left" if title in ("figure", "") else "right")
    for figure in shown:
        table.add_row(
            ", ".join(filter(None, (figure.name, figure.of))),
            number(figure.old, figure.unit),
            number(figure.new, figure.unit),
            _by(figure),
            figure.verdict,
            style=COLOURS.get(figure.verdict),
        )
    console.print(table)
    devices = dict.fromkeys(device for figure in shown for device in figure.devices)
    if devices:
        console.print(f"measured on {'; '.join(devices)}", soft_wrap=True)


def number(value: float | None, unit: str) -> str:
    """Return a figure with its unit; a size in MB."""
    if value is None:
        return "-"
    if unit == "dB":
        text = "no difference" if value >= SAME_DB else f"{value:.2f} dB"
    elif unit in ("bytes", "B"):
        text = f"{value / MEGA:.3g} MB"
    else:
        text = f"{value:.4g} {unit}".strip()
    return text.replace("-", "\N{MINUS SIGN}")


def _by(figure: FigureChange) -> str:
    """Return the change: in dB as a difference, else in per cent where that means something."""
    if figure.old is None or figure.new is None:
        return ""
    by = figure.new - figure.old
    if figure.unit.startswith("dB"):
        text = "" if SAME_DB in (figure.old, figure.new) else f"{by:+.2f} dB"
    else:
        text = f"{100 * by / figure.old:+.1f} %" if figure.old > 0 else f"{by:+.4g}"
    return text.replace("-", "\N{MINUS SIGN}")
