"""Gives the whole input to the model in one piece."""

from collections.abc import Callable

import numpy as np

Arrays = dict[str, np.ndarray]


def play(inputs: Arrays, metadata: dict, run: Callable[[Arrays], Arrays]) -> Arrays:
    """Map whole inputs to whole outputs with one call of `run`."""
    del metadata  # nothing is cut
    return run(inputs)
