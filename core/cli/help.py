"""The page behind `python -m core --help`."""

from __future__ import annotations

from collections.abc import Mapping

from core.config.recipes import Recipe
from core.text.screen import say

__all__ = ["page"]

TEXT = """\
Luthier fits a PyTorch model to the device that will play it.

A recipe names one plugin per stage: model, dataset, exporter, graph, quantizer, dsp, chunker,
runtime, evaluator, reporter. Luthier proves that they fit, runs them, keeps their results,
measures the cost of every step, and writes a report that opens in a browser.

usage: python -m core recipe=NAME [option=value ...]

recipes
{recipes}

examples
  python -m core recipe=s24_int8                          play the built-in input
  python -m core recipe=s24_int8 input=/path/to/file      play your file
  python -m core recipe=cpu_fp32 input='all/**/*.flac'    a batch, one item after another
  python -m core recipe=s24_int8 mode=plan                what would run, and why
  python -m core recipe=s24_int8 chunker.length=88200     change an option of a stage
  python -m core -m recipe=s24_int8 precision=int8,w8a16  try several, one run each
  python -m core recipe=s24_fit target=s25                the longest window for another phone

modes
  mode=run      the default: run the recipe, write stems, bundle and report
  mode=plan     every step with its input, output and cache state; nothing runs
  mode=fit      the longest window that compiles for the target, at each precision
  mode=list     every recipe, target and plugin
  mode=doctor   what works on this machine, and what to install for the rest
  mode=usage    what takes how much of the disk: results, run folders, and who uses them
  mode=clean    removes results from the store; shows them first
  mode=diff     what differs between two runs: diff.old=FOLDER diff.new=FOLDER

more
  precision=fp32|fp16|int8|a8w8|w8a16    model.weights=pretrained|bundled|random|FILE
  output=FOLDER  store=FOLDER|URL   --cfg job shows every option with its value
  hydra.verbose=true                shows the trace behind an error
  mode=doctor --json                the same for programs
  --recipe-schema                   prints the JSON Schema of recipes, for an editor
  --completion bash|zsh|fish        prints the script that completes commands when you press TAB
"""


def page(recipes: Mapping[str, Recipe]) -> None:
    """Print the page, with one line per recipe."""
    width = max((len(name) for name in recipes), default=0)
    lines = [f"  {name:<{width}}  {recipe.title}" for name, recipe in recipes.items()]
    say(TEXT.format(recipes="\n".join(lines) or "  none found"), end="")
