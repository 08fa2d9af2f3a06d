"""Whether weights are fit for the input of a run: a model's own warning, shown to the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from core.config.arguments import command, key_of
from core.config.compose import words_of_job
from core.config.pipeline import Pipeline
from core.config.recipes import Recipe
from core.plugin.values import ModelInfo, Notice

__all__ = ["unfit", "warning"]

#: Arguments that the command for other weights does not repeat: the model with its options, and
#: those that do not change what is run.
OTHERS = frozenset({"model", "measure", "reporter", "store", "output", "hydra"})


def unfit(pipeline: Pipeline, info: ModelInfo, recipes: Mapping[str, Recipe]) -> tuple[Notice, ...]:
    """Return the model's warning, with the command that takes other weights; none where they fit.

    Weights fit any input unless they say which (`ModelInfo.fit_for`).
    """

    def taken(instead: Sequence[str]) -> str:
        words = [word for word in words_of_job() if key_of(word).partition(".")[0] not in OTHERS]
        return f"`{command([*words, *instead], recipes)}`"

    return warning(pipeline, info, taken)


def warning(
    pipeline: Pipeline, info: ModelInfo, taken: Callable[[Sequence[str]], str]
) -> tuple[Notice, ...]:
    """Return the model's warning; `taken` says in words how the arguments for others are given."""
    fit = info.fit_for
    if fit is None or pipeline.dataset.name in fit.datasets:
        return ()
    said = [fit.warning]
    if fit.instead:
        said.append(f"take others: {taken(fit.instead)}")
    said += [fit.offline] if fit.offline else []
    return (Notice("danger", _sentences(said)),)


def _sentences(said: Sequence[str]) -> str:
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in said)
