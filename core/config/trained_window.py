"""Window lengths that a recipe leaves to the model: those that it was trained on."""

from __future__ import annotations

import dataclasses
from typing import Any

from omegaconf import DictConfig

from core.errors import ConfigError, InputError
from core.plugin.kinds import Chunker, Model
from core.plugin.values import ModelInfo, ModelSpec, Notice

__all__ = ["are_trained", "other_training", "with_lengths"]

#: The share by which lengths of one window may differ: a layout rounds up to whole blocks.
NEAR = 0.1


def with_lengths(
    chunker: Chunker[Any], model: Model[Any], node: DictConfig | None, path: str
) -> Chunker[Any]:
    """Return the chunker with the lengths that its options leave to the model.

    The lengths also go into `node`, the chunker's part of the config at `path`, so that a reader of
    the lock file does not need the model. Raises ConfigError if the model does not give them.
    """
    try:
        found = chunker.with_training_window(model.plan().train_window)
    except InputError as error:
        raise ConfigError(
            error.what, f"at: {path}", f"model: `{model.name}`", *error.lines
        ) from error
    if found is chunker:
        return chunker
    before, after = (dataclasses.asdict(one.options) for one in (chunker, found))
    for key, value in after.items():
        if node is not None and value != before[key]:
            node[key] = value
    return found


def are_trained(chunker: Chunker[Any], spec: ModelSpec) -> bool:
    """Return whether the windows have the length that the plan gives for the training.

    A layout rounds up to whole blocks, 90,112 samples for 88,200: that is the same window.
    """
    window = chunker.window()
    return bool(window) and all(spec.train_window.get(axis) == n for axis, n in window.items())


def other_training(chunker: Chunker[Any], spec: ModelSpec, info: ModelInfo) -> tuple[Notice, ...]:
    """Return a warning if windows follow the plan, but the weights were trained on others.

    A plan names training windows before the weights are there, for example those of an
    architecture. A fallback, or a person's own checkpoint, may have been trained on others.
    """
    notices = []
    for axis, size in chunker.window().items():
        planned, true = spec.train_window.get(axis), info.train_window.get(axis)
        if planned is None or true is None or size != planned:
            continue
        if abs(planned - true) > NEAR * true:
            text = (
                f"the plan has windows of {size:,} along `{axis}`, but these weights were "
                f"trained on {true:,}: chunker.length={true}"
            )
            notices.append(Notice("warning", text))
    return tuple(notices)
