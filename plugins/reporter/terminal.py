"""Shows a run or a sweep in the terminal: its progress, and a summary at the end."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from time import monotonic as clock
from typing import TYPE_CHECKING

from core import Reporter, Requirement, hookimpl

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from core.plugin.records import (
        BatchRecord,
        CandidateRecord,
        PlanRecord,
        RunRecord,
        StageRecord,
        SweepRecord,
    )

__all__ = ["Terminal"]

#: After so many seconds a line says what a stage waits for, where nothing can move on the screen.
PATIENCE_S = 2.0
#: What becomes of a precision that ran to its end.
MEASURED = ("held", "missed")


@dataclass
class TerminalOptions:
    """How much the terminal shows."""

    quiet: bool = False
    """Show only the summary and the notices, no progress."""
    width: int | None = None
    """Columns to use instead of the terminal's own."""

    def __post_init__(self) -> None:
        """Raise ValueError for a width that no table fits."""
        if self.width is not None and not 30 <= self.width <= 1_000:  # noqa: PLR2004  # a number and a name; a wall
            raise ValueError(f"`width` is {self.width}: give 30 or more columns, up to 1,000")


class Terminal(Reporter[TerminalOptions]):
    """Shows progress while a run lasts, and a summary with everything one must know after it."""

    name = "terminal"
    Options = TerminalOptions
    libraries = (Requirement("rich", "pip install rich"),)

    def __init__(self, options: TerminalOptions) -> None:
        super().__init__(options)
        self._console: Console | None = None
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._waiting: threading.Timer | None = None
        self._name_width = 0
        self._saved: dict[str, str] = {}
        self._tried: list[CandidateRecord] = []
        self._paid: tuple[int, float] | None = None

    @property
    def console(self) -> Console:
        """Return the console; rich itself honours NO_COLOR, TERM=dumb and a pipe."""
        from core.text.screen import screen

        if self._console is None:
            self._console = screen(width=self.options.width, forgiving=True)
        return self._console

    @hookimpl
    def luthier_run_started(self, plan: PlanRecord) -> None:
        """Show the plan of the run."""
        if self.options.quiet:
            return
        from rich.text import Text

        cached = len(plan.steps) - plan.to_run
        target = plan.target.title or plan.target.name
        self._name_width = max(map(len, plan.steps), default=0)
        self.console.print(Text.assemble((plan.recipe, "bold"), f"  {plan.title}"))
        about = [f"target {target}"] if target else []
        about += [f"precision {plan.precision}", f"{cached} steps cached, {plan.to_run} to run"]
        self.console.print(f"{', '.join(about)}\n", style="dim")

    @hookimpl
    def luthier_run_ended(self) -> None:
        """Show the cursor again before any message of a failure, and what was found until then."""
        self._stop()
        if any(record.status in MEASURED for record in self._tried):
            from plugins.reporter._terminal.contract import tried

            self.console.print()
            for part in tried(self._tried, self.console.width):
                self.console.print(part)
        self._tried.clear()

    @hookimpl
    def luthier_stage_started(self, stage: str, title: str) -> None:
        """Show a spinner, or a line once the wait gets long where nothing can move."""
        self._stop()
        if self.options.quiet:
            return
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            from plugins.reporter._terminal.progress_bar import moving

            self._progress = moving(self.console)
            self._task = self._progress.add_task(title, total=None, stage=stage, message="")
            self._progress.start()
        else:
            self._waiting = threading.Timer(PATIENCE_S, self._say_waiting, (stage, title))
            self._waiting.daemon = True
            self._waiting.start()

    @hookimpl
    def luthier_stage_progress(self, stage: str, done: float, total: float, message: str) -> None:
        """Move the bar."""
        del stage
        if self._progress is not None and self._task is not None:
            self._progress.update(
                self._task, completed=done, total=total or None, message=" ".join(message.split())
            )

    @hookimpl
    def luthier_stage_finished(self, record: StageRecord) -> None:
        """Leave one line per stage."""
        self._stop()
        if self.options.quiet:
            return
        from rich.text import Text

        from plugins.reporter._reading import measured, megabytes

        state = ("  cached", "dim") if record.status == "cached" else ("  ran   ", "green")
        about = f"{measured(record)}, {megabytes(record.artifact.bytes)}".removeprefix(", ")
        line = Text.assemble(state, f"  {record.name:<{self._name_width}}  ", (about, "dim"))
        self.console.print(line, soft_wrap=not self.console.is_terminal)

    @hookimpl
    def luthier_precision_tried(self, record: CandidateRecord, done: int, total: int) -> None:
        """Say how many precisions are tried, and how long the others take at most."""
        self._stop()
        self._tried.append(record)
        if self.options.quiet or total == 1:
            return
        from plugins.reporter._reading import time_left

        now, said = clock(), f"{done} of {total} precisions tried"
        said += f", {record.precision} {record.status}"
        # The first one that runs also pays for the steps that all of them share.
        if self._paid is None and record.status in MEASURED:
            self._paid = done, now
        elif self._paid is not None and total > done:
            first, since = self._paid
            said += f", about {time_left((now - since) / (done - first) * (total - done))}"
        self.console.print(f"{said}\n", style="bold", soft_wrap=not self.console.is_terminal)

    @hookimpl
    def luthier_run_finished(self, record: RunRecord, folder: str) -> None:
        """Show the summary."""
        del folder
        from pathlib import PurePosixPath

        from plugins.reporter._terminal.run import show

        self._stop()
        self._tried.clear()
        parts = [PurePosixPath(saved.path).parts for saved in record.saved]
        self._saved = {part[0]: part[0] for part in parts if len(part) > 1}
        show(record, self.console)

    @hookimpl
    def luthier_batch_finished(self, record: BatchRecord, folder: str) -> None:
        """Show the items that were played and those that failed."""
        from plugins.reporter._terminal.batch import show_batch

        self._stop()
        show_batch(record, folder, self.console)

    @hookimpl
    def luthier_run_placed(self, folder: str) -> None:
        """Show where the report and the results lie."""
        from pathlib import Path

        self._stop()
        names = {"report.html": "report", **self._saved, "bundle": "bundle"}
        lines = [(title, Path(folder, name)) for name, title in names.items()]
        lines = [(title, path) for title, path in lines if path.exists()] or [
            ("results", Path(folder))
        ]
        width = max(len(title) for title, _ in lines) + 2
        self.console.print()
        for title, path in lines:
            # A path is never wrapped or styled, so that it can be copied.
            self.console.print(f"{title:<{width}}{path}", soft_wrap=True)

    # Runs after the reporters that write the page, so that its place can be shown.
    @hookimpl(trylast=True)
    def luthier_sweep_finished(self, record: SweepRecord, folder: str) -> None:
        """Show the table of points, which one is taken, and where the page lies."""
        from plugins.reporter._terminal.sweep import show

        self._stop()
        show(record, folder, self.console)

    def _say_waiting(self, stage: str, title: str) -> None:
        line = f"  ...   {stage}  {title}: running"
        self.console.print(line, soft_wrap=True)

    def _stop(self) -> None:
        """Stop moving lines, so that text and error messages stand alone."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


@hookimpl
def luthier_plugins() -> list[type[Terminal]]:
    """Return the reporter plugin of this file."""
    return [Terminal]
