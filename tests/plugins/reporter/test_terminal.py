"""The terminal reporter, mostly without a live display: a pipe, a log, a narrow window."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from core import Metric, Notice
from core.plugin.records import CandidateRecord, PlanRecord, RunRecord
from plugins.reporter import terminal
from plugins.reporter._reading import time_left
from plugins.reporter._terminal.progress_bar import moving
from plugins.reporter.terminal import Terminal, TerminalOptions
from tests.plugins.reporter.conftest import CPU


def play(record: RunRecord, folder: Path, reporter: Terminal) -> None:
    """Call a reporter as a run does."""
    steps = tuple(stage.name for stage in record.stages)
    ran = sum(stage.status == "ran" for stage in record.stages)
    plan = PlanRecord(record.recipe, record.title, record.target, record.precision, steps, ran)
    reporter.luthier_run_started(plan=plan)
    for stage in record.stages:
        if stage.status == "ran":
            reporter.luthier_stage_started(stage=stage.name, title=stage.title)
            reporter.luthier_stage_progress(
                stage=stage.name, done=1, total=3, message="song [b]\nx"
            )
        reporter.luthier_stage_finished(record=stage)
    reporter.luthier_run_finished(record=record, folder=str(folder))
    reporter.luthier_run_placed(folder=str(folder))


def shown(record: RunRecord, folder: Path, *, tty: bool = False, **options: Any) -> str:
    """Return a reporter's output to a file, or to a stream that says it is a terminal."""
    reporter = Terminal(TerminalOptions(**options))
    out = io.StringIO()
    reporter._console = Console(
        file=out, force_terminal=tty, highlight=False, width=options.get("width", 100),
        _environ={"TERM": "xterm-256color"},
    )  # fmt: skip
    play(record, folder, reporter)
    return out.getvalue()


def test_a_pipe_gets_plain_lines(record: RunRecord, run_folder: Path) -> None:
    """A pipe gets one plain line per stage, without escape sequences and carriage returns."""
    text = shown(record, run_folder)
    assert not {"\x1b", "\r"} & set(text)
    lines = text.splitlines()
    for stage in record.stages:
        assert sum(line.split()[:2] == [stage.status, stage.name] for line in lines) == 1


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_terminal_breaks_no_line_of_the_summary_itself(
    record: RunRecord, run_folder: Path, width: int
) -> None:
    """Every line of the summary fits, so that the terminal does not break it inside a word."""
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown(record, run_folder, tty=True, width=width))
    lines = text[text.index("Error budget") :].splitlines()
    places = ("report ", "stems ", "bundle ", "results ")
    assert [line for line in lines if len(line) > width and not line.startswith(places)] == []


def test_the_key_sentences_are_there(record: RunRecord, run_folder: Path) -> None:
    """The output has the plan, budget, quality, speed, notices, and the place of each step."""
    text = shown(record, run_folder, width=170)
    for sentence in (
        "8 steps cached, 7 to run",
        "Error budget on 2 windows, SNR",
        "probe: compiled model on the emulator (1 of the 2 windows;",
        "41.2 dB, other 39.0 dB",
        "quantizer: numbers rounded to int8",
        "35.9 dB, other 33.7 dB",
        "27.9 dB, other 25.7 dB",
        f"measured on chunk: CPU (PyTorch); exporter, graph.onnxsim, quantizer and play: {CPU}; ",
        "Quality, mean of 2 items",
        "compiled model on the emulator",
        (
            "chunk (input cut into windows) makes the largest difference: it leaves an SNR of "
            "26.5 dB in other, 28.7 dB over all; next is quantizer with 33.7 dB in other, "
            "35.9 dB over all. "
        ),
        "BROKEN  `max_sdr_drop_db` asks for at most 0.1 dB: 0.12 dB",
        "held  `min_snr_db`",
        "int8 is the fastest that holds the contract",
        "121 ms per window (90 % between 110 ms and 149 ms), 6.1× real time",
        f"cold start 412 ms: open 380, first window 32, second 18, on {CPU}",
        "danger: random weights: the stems will not be separated",
        "warning: fallback to bundled",
        (
            "a few windows: 735 of 738 nodes on HTP (emulated) (w8a8 735), 3 on CPU (fp32 3), from "
            "ONNX Runtime's profile"
        ),
        (
            "whole input: what computed each node was not measured: runtime `onnxruntime` has no "
            "trace of it"
        ),
        "Samsung Galaxy S24 (Snapdragon 8 Gen 3) took no part in this run",
    ):
        assert sentence in text


@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.parametrize("width", [30, 60, 120])
def test_every_warning_stands_whole_before_the_first_figure(
    record: RunRecord, run_folder: Path, width: int, *, tty: bool
) -> None:
    """A long warning is shown whole before the first figure at any width, after any danger."""
    words = [f"word{number}" for number in range(120)]
    notices = (
        Notice("info", "by the way"),
        Notice("warning", " ".join(words)),
        Notice("danger", "beware"),
    )
    record = dataclasses.replace(record, notices=notices)
    text = re.sub("\x1b[^m]*m", "", shown(record, run_folder, tty=tty, width=width))
    closing = text[text.index("beware") :]
    before = closing[: closing.index("Error budget")]
    assert re.findall(r"word\d+", before) == words
    assert "by the way" not in before


def test_what_the_stems_leave_takes_the_place_of_sdr(record: RunRecord, run_folder: Path) -> None:
    """Without SDR, the residual is shown with the reason for the missing SDR."""
    metrics = (
        Metric("residual", -24.4, "dB", "CPU", "song", better="lower", note="SDR needs true stems"),
        Metric("level", -200.0, "dBFS", "CPU", "song", "drums"),
    )
    text = shown(dataclasses.replace(record, metrics=metrics), run_folder)
    assert "residual: SDR needs true stems" in text
    assert "silent" in text


def test_measures_of_any_evaluator_are_shown(record: RunRecord, run_folder: Path) -> None:
    """A metric of any evaluator is shown, under its known title or else its name."""
    metrics = (
        Metric("psnr", 31.254, "dB", "CPU", "cat", "image"),
        Metric("word_error_rate", 0.083, "", "CPU", "cat", "image"),
    )
    text = shown(dataclasses.replace(record, metrics=metrics), run_folder, width=80)
    lines = [line.split() for line in text.splitlines()]
    assert ["PSNR,", "dB", "31.25"] in lines
    assert ["word", "error", "rate", "0.08"] in lines


def test_labels_that_find_no_room_are_counted(record: RunRecord, run_folder: Path) -> None:
    """Labels that do not fit are counted, and the row `overall` stays."""
    text = shown(record, run_folder, width=40)
    assert "overall" in text
    assert "3 more columns in the report" in text


def test_paths_come_last_and_whole(record: RunRecord, tmp_path: Path) -> None:
    """The report's path is the last line and unbroken, so it can be copied."""
    folder = tmp_path / ("long " * 30)
    folder.mkdir()
    (folder / "report.html").touch()
    text = shown(record, folder, width=40)
    assert text.splitlines()[-1] == f"report  {folder / 'report.html'}"


@pytest.mark.parametrize("width", [30, 40, 60])
def test_a_narrow_terminal_keeps_every_number_whole(
    record: RunRecord, run_folder: Path, width: int
) -> None:
    """In a narrow terminal columns are left out, and no number is cut."""
    text = shown(record, run_folder, width=width)
    assert "…" not in text
    assert "7.67" in text


def test_a_terminal_gets_panels_and_progress(record: RunRecord, run_folder: Path) -> None:
    """In a terminal, a danger is red, the bar is erased, and markup in a message is text."""
    text = shown(record, run_folder, tty=True)
    assert "\x1b[31m" in text
    assert "song [b] x" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h")


def test_no_color_is_honoured(
    record: RunRecord, run_folder: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """With NO_COLOR, even a forced terminal gets no colour."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    play(record, run_folder, Terminal(TerminalOptions()))
    assert not [
        code for code in ("\x1b[31m", "\x1b[32m", "\x1b[33m") if code in capsys.readouterr().out
    ]


def test_quiet_shows_only_the_end(record: RunRecord, run_folder: Path) -> None:
    """With `quiet`, only the summary and its warnings are shown."""
    text = shown(record, run_folder, quiet=True)
    assert "to run" not in text
    assert "cached" not in text
    assert "danger: random weights" in text


def test_a_long_wait_in_a_log_says_what_it_waits_for(
    record: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a log, a line names the stage that takes long."""
    monkeypatch.setattr(terminal, "PATIENCE_S", 0.0)
    reporter, out = Terminal(TerminalOptions()), io.StringIO()
    reporter._console = Console(file=out, width=80)
    reporter.luthier_stage_started(stage="runtime", title="compile for the phone")
    assert reporter._waiting is not None
    reporter._waiting.join(10)
    reporter.luthier_stage_finished(record=record.stages[4])
    assert out.getvalue().splitlines()[0].split() == (
        ["...", "runtime", "compile", "for", "the", "phone:", "running"]
    )


def test_a_width_that_holds_nothing_is_refused() -> None:
    """A width that is too small is refused by the name of the option."""
    with pytest.raises(ValueError, match="width"):
        TerminalOptions(width=5)


def test_the_time_that_is_left_is_estimated_once_it_is_known(
    record: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first precision pays for shared steps; from the second on the pace is known."""
    now = iter((100.0, 160.0, 280.0, 281.0))
    monkeypatch.setattr(terminal, "clock", lambda: next(now))
    reporter = Terminal(TerminalOptions())
    reporter._console = Console(file=(out := io.StringIO()), width=100)
    results = [CandidateRecord("a8w8", "refused", "no kernel"), *record.candidates[:2]]
    for done, result in enumerate(results, 1):
        reporter.luthier_precision_tried(record=result, done=done, total=5)
    reporter.luthier_precision_tried(record=record.candidates[-1], done=5, total=5)
    lines = [line for line in out.getvalue().splitlines() if line]
    first, second, last = (r.precision for r in (*record.candidates[:2], record.candidates[-1]))
    assert [line.rpartition(" ")[0] for line in lines[:2]] == [
        "1 of 5 precisions tried, a8w8", f"2 of 5 precisions tried, {first}"
    ]  # fmt: skip
    assert lines[2].startswith(f"3 of 5 precisions tried, {second} ")
    assert lines[2].endswith(", about 4 min left")
    assert lines[3].startswith(f"5 of 5 precisions tried, {last} ")
    assert "left" not in "".join((*lines[:2], lines[3]))


@pytest.mark.parametrize("ends_well", [False, True])
@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_stopped_choice_shows_what_was_tried(
    record: RunRecord, run_folder: Path, width: int, *, ends_well: bool
) -> None:
    """After Ctrl-C the precisions tried so far are compared; a run that ends well has them once."""
    reporter = Terminal(TerminalOptions())
    reporter._console = Console(file=(out := io.StringIO()), width=width)
    for done, result in enumerate(record.candidates, 1):
        reporter.luthier_precision_tried(record=result, done=done, total=9)
    if ends_well:
        reporter.luthier_run_finished(record=record, folder=str(run_folder))
    reporter.luthier_run_ended()
    text = out.getvalue()
    assert text.count("Precisions") == 1
    table = text.partition("Precisions")[2]
    for result in record.candidates:
        assert result.precision in table
    if not ends_well:
        assert max(map(len, table.splitlines())) <= width
        assert "`max_sdr_drop_db` asks for at most" in table


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s left"), (89, "89 s left"), (100, "2 min left"), (240, "4 min left"),
     (9000, "2.5 h left")],
)  # fmt: skip
def test_time_left_is_round(seconds: float, said: str) -> None:
    """An estimate has no more digits than it deserves."""
    assert time_left(seconds) == said


@pytest.mark.parametrize(("elapsed", "said"), [(1.0, ""), (20.0, "2 min left")])
def test_the_bar_of_a_long_stage_shows_the_time_left(elapsed: float, said: str) -> None:
    """It is shown once the pace is known, never for a stage without a known end."""
    now = [0.0]
    for total, shown_time in ((70.0, said), (None, "")):
        out = io.StringIO()
        bar = moving(Console(file=out, force_terminal=True, width=100, get_time=lambda: now[0]))
        now[0] = 0.0
        task = bar.add_task("work", total=total, stage="s", message="")
        for step in range(1, 11):
            now[0] = elapsed * step / 10
            bar.update(task, completed=float(step))
        bar.console.print(bar.make_tasks_table(bar.tasks))
        assert ("left" in out.getvalue()) == bool(shown_time)
        assert shown_time in out.getvalue()
