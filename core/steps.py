"""Lays a recipe out as steps, each with what its result depends on and how to make it.

model ─ exporter ─ graph… ─ quantizer ─ runtime          the artifact (core/convert.py)
  └─ sample ─ budget…, probe ──┐                         a few windows (core/compare.py)
  └─ reference, ideal, play ─ budget, evaluate           the whole input (core/whole.py)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from core import material, source
from core.assembly import Assembly
from core.exchange import Listed, Made, Split, TorchModel, Transform, Work
from core.fit_signature import check_windows
from core.kinds import Dataset, Model, Plugin, Runtime, anew
from core.reference import Reference
from core.values import Artifact, ArtifactSpec, Item, Notice

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Bench", "Read", "Step"]

Inputs = Mapping[str, Artifact]


@dataclass(frozen=True)
class Read:
    """Files of a person's that a plugin reads, and their identity when the step was planned.

    A dataset is asked for that of a split, a model for that of its weights.
    """

    plugin: Model[Any] | Dataset[Any]
    identity: str | tuple[str, ...]
    split: Split | None = None

    def changed(self) -> str:
        """Return what is no longer as it was; nothing if all is."""
        # A new instance is asked, because this one may remember what it has looked up.
        fresh = anew(self.plugin)
        if isinstance(fresh, Dataset):
            now: str | tuple[str, ...] = fresh.identity(self.split or "evaluation")
        else:
            now = fresh.identity()
        if now == self.identity:
            return ""
        names = [one.name for one in fresh.sources()] if isinstance(fresh, Listed) else []
        if len(names) == len(now) == len(self.identity):
            of = zip(names, self.identity, now, strict=True)
            return f"`{next(name for name, before, after in of if before != after)}`"
        return f"what {self.plugin.kind} `{self.plugin.name}` reads"


@dataclass(frozen=True)
class Step:
    """One unit of work whose result the store keeps.

    `inputs` name earlier steps. `depends` is the part of the store's key that is not an input:
    plain JSON. `plugin` names who does it, for a person, and `by` are those plugins. `gives` is
    what must come out. `reads` is what it reads outside of the store. `like` names the step whose
    result in the store serves as well: the same work, done for another purpose. `calls` are methods
    of the core that `run` calls of what it is given; which code of the core the result depends on
    follows from these and from `run` itself (core/source.py).
    """

    name: str
    title: str
    plugin: str
    inputs: tuple[str, ...]
    depends: dict[str, Any]
    run: Callable[[Inputs, Work], Made]
    takes: ArtifactSpec | None = None
    gives: ArtifactSpec | None = None
    options: dict[str, Any] = field(default_factory=dict)
    by: tuple[Plugin[Any], ...] = ()
    reads: tuple[Read, ...] = ()
    like: str = ""
    calls: tuple[Callable[..., Any], ...] = ()

    @property
    def entry(self) -> str:
        """Return the name that the store keeps the result under."""
        return self.like or self.name

    def material(self, inputs: Inputs) -> dict[str, Any]:
        """Return what the result depends on, given what its inputs turned out to be."""
        hashes = {name: inputs[name].sha256 for name in self.inputs}
        code = source.of_functions(self.run, *self.calls)
        return {"plugin": self.plugin, **self.depends, "code": code, "inputs": hashes}


class Bench:
    """What the steps of one run share: the opened model, the bound dsp, the items.

    Everything is opened on first use, so that a run whose results are all kept imports no torch.
    `calibration_windows` is the most that a quantizer is given, where its result is only looked
    at for its shape.
    """

    def __init__(self, assembly: Assembly, calibration_windows: int | None = None) -> None:
        self.assembly = assembly
        self.calibration_windows = calibration_windows
        self._opened: dict[str, TorchModel] = {}
        self._unsteady: dict[str, Notice] = {}

    def open(self, model: Artifact) -> TorchModel:
        """Open the torch module once per run; anew each time where its calls change it.

        So no step's result depends on which steps ran before it.
        """
        key = model.sha256
        if key not in self._opened or key in self._unsteady:
            opened, told = self._anew(model), None
            if key not in self._unsteady:
                told = functools.partial(self._unsteady.__setitem__, key)
            plugin = self.assembly.model
            reference = Reference(
                opened, f"{plugin.kind} `{plugin.name}`", lambda: self._anew(model), told
            )
            self._opened[key] = replace(opened, reference=reference)
        return self._opened[key]

    def _anew(self, model: Artifact) -> TorchModel:
        check_windows(self.assembly, model.info)
        opened = self.assembly.model.open(model, self.assembly.chunker.window())
        inference = getattr(opened.core, "eval", None)  # a model that is not exported may have none
        if inference is not None:
            inference()
        return opened

    def unsteady(self, model: Artifact) -> tuple[Notice, ...]:
        """Return what must be known of a model that gave two answers to one window."""
        return tuple(self._unsteady[key] for key in (model.sha256,) if key in self._unsteady)

    @functools.cached_property
    def depends_on_windows(self) -> dict[str, Any]:
        """Return what the tensors of a window depend on: the dsp and the window's lengths."""
        return {
            "dsp": material.of_plugin(self.assembly.dsp),
            "window": dict(self.assembly.chunker.window()),
        }

    @functools.cached_property
    def reads_items(self) -> tuple[Read]:
        """Return what is read outside of the store where evaluation items are."""
        dataset = self.assembly.dataset
        return (Read(dataset, dataset.identity("evaluation"), "evaluation"),)

    @functools.cached_property
    def depends_on_items(self) -> dict[str, Any]:
        """Return what the evaluation items depend on."""
        dataset = self.assembly.dataset
        return {**of(dataset), "items": list(self.reads_items[0].identity)}

    def depends_on_runtime(self, runtime: Runtime[Any]) -> dict[str, Any]:
        """Return what a session's results depend on: the runtime, and the module if it opens it."""
        model = self.assembly.model
        opens = model.plan().format in runtime.accepts
        return {
            "stage": material.of_plugin(runtime),
            **({"model": material.of_plugin(model)} if opens else {}),
        }

    def transform(self, artifact: Artifact) -> Transform:
        """Return the dsp bound to the model that an artifact comes from."""
        return self.assembly.dsp.bind(artifact.info)

    def items(self, artifact: Artifact, work: Work) -> Iterator[Item]:
        """Yield the evaluation items, checked against the model's signature."""
        from core.items import kept_items

        signature = artifact.info.signature
        return kept_items(self.assembly.dataset, "evaluation", signature, work.lasting)


def of(plugin: Plugin[Any]) -> dict[str, Any]:
    """Return what the results of a plugin depend on, under the name of its kind."""
    return {plugin.kind: material.of_plugin(plugin)}
