"""A case of the sweep: a network with the inputs that it takes."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import nn

    Made = Callable[[np.random.Generator], Any]

__all__ = ["Case", "integers", "noise", "registered", "tokens"]


@dataclass(frozen=True)
class Case:
    """A torch module: `make` gives a fresh module with fixed weights; `module` has it in `CASES`.

    `inputs` give one array each, with a batch axis of 1 in front. `free` names the axes that may
    have any length, by input or output and position. The case is exported with these axes, and also
    played at half of the length.
    """

    module: str
    name: str
    make: Callable[[], nn.Module]
    inputs: Mapping[str, Made]
    outputs: tuple[str, ...] = ("y",)
    free: Mapping[str, Mapping[int, str]] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        """Pickle the case by its name: a class that a function made cannot be pickled."""
        return _named, (self.module, self.name)

    def feeds(self, seed: int) -> dict[str, Any]:
        """Return one window; the same seed gives the same window."""
        source = np.random.default_rng(seed)
        return {name: made(source) for name, made in self.inputs.items()}

    def halved(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Return a window with every free axis at half its length."""
        half = {}
        for name, array in feeds.items():
            cut = tuple(
                slice(-(-length // 2) if axis in self.free.get(name, {}) else None)
                for axis, length in enumerate(array.shape)
            )
            half[name] = np.ascontiguousarray(array[cut])
        return half


def _named(module: str, name: str) -> Case:
    cases: list[Case] = importlib.import_module(module).CASES
    return next(case for case in cases if case.name == name)


def registered(
    cases: list[Case],
    *,
    outputs: tuple[str, ...] = ("y",),
    free: Mapping[str, Mapping[int, str]] | None = None,
    **inputs: Made,
) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Return a decorator that adds a module's class to `cases`, under the name of the class."""

    def add(cls: type[nn.Module]) -> type[nn.Module]:
        import torch

        def make() -> nn.Module:
            torch.manual_seed(0)
            return cls().eval()

        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__.strip("_")).lower()
        cases.append(Case(cls.__module__, name, make, inputs, outputs, free or {}))
        return cls

    return add


def noise(*shape: int, scale: float = 1.0) -> Made:
    """Return a function that gives normally distributed floats of `shape`."""
    return lambda source: (scale * source.standard_normal(shape)).astype(np.float32)


def tokens(below: int, *shape: int) -> Made:
    """Return a function that gives whole numbers of 0 or more and less than `below`, as int64."""
    return lambda source: source.integers(0, below, shape)


def integers(*values: int) -> Made:
    """Return a function that gives fixed whole numbers, as int64, with a batch axis."""
    return lambda _: np.array([values], np.int64)
