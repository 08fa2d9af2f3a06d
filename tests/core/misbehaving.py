"""Plugins that misbehave: any method of any kind, in any of the ways that there are."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from core import Exporter, Reporter, StageContext, StageResult, TorchModel, hookimpl
from core.plugin import hooks, kinds, listable, stages
from tests import toy

__all__ = ["BY_KIND", "METHODS", "PRODUCTS", "WAYS", "Weird", "misbehaving"]


class Weird(BaseException):
    """No Exception: what catches only those lets it through."""


def _loops() -> Any:
    return _loops()


def _raises(error: BaseException) -> Any:
    raise error


#: What a method does instead of its work.
WAYS: Mapping[str, Callable[[], Any]] = {
    "None": lambda: None,
    "an object": object,
    "sys.exit(0)": lambda: sys.exit(0),
    "os._exit(0)": lambda: os._exit(0),
    "BaseException": lambda: _raises(Weird("odd")),
    "GeneratorExit": lambda: _raises(GeneratorExit()),
    "RecursionError": _loops,
    "MemoryError": lambda: _raises(MemoryError()),
    "OSError": lambda: _raises(OSError(5, "Input/output error", "/dev/x")),
    "a bug": lambda: {}["missing"],
}


class Written(Exporter[Any]):
    """Writes down what the module computes."""

    name = "written"

    def run(self, model: TorchModel, feeds: Mapping[str, Any], work: StageContext) -> StageResult:
        """Write its gain."""
        file = work.folder / "gain.txt"
        file.write_text(str(float(model.reference({"x": np.ones((2, 1))})["y"][0, 0])))
        return StageResult(file, "torch", "fp32")


class Watching(Reporter[Any]):
    """Looks on at everything."""

    name = "watching"


def _watch(hook: str) -> Any:
    # Pluggy asks a hook for the names of what it takes.
    takes = ", ".join(["self", *inspect.signature(getattr(hooks, hook)).parameters])
    found: dict[str, Any] = {}
    exec(f"def {hook}({takes}): pass", found)  # noqa: S102  # a name of the core's own
    return hookimpl(found[hook])


for _hook in [n for n in vars(hooks) if n.startswith("luthier_")]:
    setattr(Watching, _hook, _watch(_hook))

#: A toy of every kind; a runtime that compiles, for that is the one with more to do.
BY_KIND: Mapping[str, type[kinds.Plugin[Any]]] = {
    "model": toy.Gain,
    "dataset": toy.Lines,
    "exporter": Written,
    "graph": toy.Copied,
    "quantizer": toy.Coarse,
    "dsp": toy.Straight,
    "chunker": toy.Even,
    "runtime": toy.Distant,
    "evaluator": toy.Largest,
    "reporter": Watching,
}
#: What a plugin gives that has methods of its own: its class, and the method that gives it.
PRODUCTS: Mapping[type[Any], tuple[str, str]] = {
    stages.Session: ("runtime", "open"),
    stages.Transform: ("dsp", "bind"),
    stages.Joiner: ("chunker", "joiner"),
}


def _of(base: type[Any]) -> list[str]:
    """Return the public methods and properties that a class of the core declares."""
    return [
        name
        for name, attribute in inspect.getmembers_static(base)
        if not name.startswith("_")
        and (inspect.isfunction(attribute) or isinstance(attribute, property))
    ]


#: Every method, as (kind, method) or (kind, method of what it gives). Found, not listed: one that
#: is added to a kind is tested from that day.
METHODS: list[tuple[str, str]] = [
    *((kind, name) for kind, base in kinds.KINDS.items() for name in _of(base)),
    *(("dataset", name) for name in _of(listable.ListableDataset)),
    *((kind, f"{give}().{name}") for base, (kind, give) in PRODUCTS.items() for name in _of(base)),
    *(("reporter", name) for name in _of(Watching) if name.startswith("luthier_")),
    ("model", "open().reference"),
]


def misbehaving(kind: str, method: str, does: Callable[[], Any]) -> type[kinds.Plugin[Any]]:
    """Return a class called `bad`, a toy of the kind but for one method that does as it likes."""
    base = BY_KIND[kind]
    give, _, of_product = method.partition("().")
    names: dict[str, Any] = {"name": "bad", "__doc__": "Misbehaves.", "__module__": __name__}
    if of_product:
        names[give] = _giving(getattr(base, give), of_product, does)
    else:
        names[give] = _instead(base, give, does)
    return type("Bad", (base,), names)


def _instead(base: type[Any], name: str, does: Callable[[], Any]) -> Any:
    """Return what stands for a method or a property of `base`."""
    declared = inspect.getattr_static(base, name)
    if isinstance(declared, property):
        return property(lambda _: does())

    @functools.wraps(declared)
    def method(*_: Any, **__: Any) -> Any:
        return does()

    return method


def _giving(give: Callable[..., Any], name: str, does: Callable[[], Any]) -> Callable[..., Any]:
    """Return a method whose product misbehaves."""

    @functools.wraps(give)
    def giving(*args: Any, **kwargs: Any) -> Any:
        product = give(*args, **kwargs)
        if isinstance(product, TorchModel):
            return replace(product, reference=lambda _: does())
        cls = type(product)
        bad = type(cls.__name__, (cls,), {name: lambda *_, **__: does()})
        product.__class__ = bad
        return product

    return giving
