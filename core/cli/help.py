"""The page behind `python -m core --help`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from core.config.recipes import Recipe
from core.machine.program import program
from core.text.screen import columns, say, screen

__all__ = ["page"]

#: Lines of prose are not longer on a wide terminal, nor in a pipe.
PROSE = 100
#: The least room for an explanation beside what it explains; with less it stands below.
ROOM = 24

FITS = "Luthier fits a PyTorch model to the device that will play it."
RECIPE = (
    "A recipe names one plugin per stage: model, dataset, exporter, graph, quantizer, dsp, "
    "chunker, runtime, evaluator, reporter. Luthier proves that they fit, runs them, keeps their "
    "results, measures the cost of every step, and writes a report that opens in a browser."
)
EXAMPLES = (
    ("recipe=s24_int8", "play the built-in input"),
    ("recipe=s24_int8 input=/path/to/file", "play your file"),
    ("recipe=cpu_fp32 input='all/**/*.flac'", "a batch, one item after another"),
    ("recipe=s24_int8 mode=plan", "what would run, and why"),
    ("recipe=s24_int8 chunker.length=88200", "change an option of a stage"),
    ("-m recipe=s24_int8 precision=int8,w8a16", "try several, one run each"),
    ("recipe=s24_fit target=s25", "the longest window for another phone"),
)
MODES = (
    ("mode=run", "the default: run the recipe, write stems, bundle and report"),
    ("mode=plan", "every step with its input, output and cache state; nothing runs"),
    ("mode=fit", "the longest window that compiles for the target, at each precision"),
    ("mode=list", "every recipe, target and plugin"),
    ("mode=doctor", "what works on this machine, and what to install for the rest"),
    ("mode=usage", "what takes how much of the disk: results, run folders, and who uses them"),
    ("mode=clean", "removes results from the store; shows them first"),
    ("mode=diff", "what differs between two runs: diff.old=FOLDER diff.new=FOLDER"),
)
MORE = (
    ("precision=NAME", "fp32, fp16, int8, a8w8, w8a16 and those that mode=list names"),
    ("model.weights=NAME", "pretrained, bundled, random, or a file"),
    ("output=FOLDER", "where run folders go"),
    ("store=FOLDER|URL", "where results are kept"),
    ("--cfg job", "shows every option with its value"),
    ("hydra.verbose=true", "shows the trace behind an error"),
    ("mode=doctor --json", "what works on this machine, for programs"),
    ("--recipe-schema", "prints the JSON Schema of recipes, for an editor"),
    (
        "--completion bash|zsh|fish",
        "prints the script that completes commands when you press TAB",
    ),
)


def page(recipes: Mapping[str, Recipe]) -> None:
    """Print the page, with one line per recipe, as wide as the terminal."""
    say("\n".join(_page(recipes, columns(screen()))))


def _page(recipes: Mapping[str, Recipe], width: int | None) -> Iterator[str]:
    """Yield the lines; without a width each entry is a whole line, for a program."""
    for paragraph in (FITS, RECIPE):
        yield from (*textwrap.wrap(paragraph, min(width or PROSE, PROSE)), "")
    # A command is never wrapped, so that it can be copied.
    yield f"usage: {program()} recipe=NAME [option=value ...]"
    titles = [(name, recipe.title) for name, recipe in recipes.items()]
    yield from _section("recipes", titles or [("none found", "")], width)
    yield from _section(
        "examples", [(f"{program()} {words}", why) for words, why in EXAMPLES], width
    )
    yield from _section("modes", MODES, width)
    yield from _section("more", MORE, width)


def _section(title: str, rows: Sequence[tuple[str, str]], width: int | None) -> Iterator[str]:
    """Yield a heading, and each row in two columns, or in two lines where they have no room."""
    yield from ("", title)
    left = max(len(first) for first, _ in rows) + 4
    longest = max(len(second) for _, second in rows)
    if width is not None and left + min(longest, ROOM) > width:
        for first, second in rows:
            yield f"  {first}"
            yield from (f"      {line}" for line in textwrap.wrap(second, max(width - 6, 1)))
        return
    for first, second in rows:
        lines = [second] if width is None else textwrap.wrap(second, width - left)
        for number, line in enumerate(lines or [""]):
            yield f"  {'' if number else first:<{left - 2}}{line}".rstrip()
