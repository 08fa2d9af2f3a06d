"""What the steps of one run share: the opened model, the bound dsp, the items."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from core.config.pipeline import Pipeline
from core.inference.reference import Reference
from core.inference.signature import check_windows
from core.plugin.kinds import Dataset, Model, Plugin, Runtime, anew
from core.plugin.listable import ListableDataset
from core.plugin.stages import Split, StageContext, TorchModel, Transform
from core.plugin.values import Artifact, Item, Notice
from core.store import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Read", "RunContext"]


@dataclass(frozen=True)
class Read:
    """User files that a plugin reads, and their identity when the step was planned.

    A dataset gives the identity of a split, a model that of its weights.
    """

    plugin: Model[Any] | Dataset[Any]
    identity: str | tuple[str, ...]
    split: Split | None = None

    def changed(self) -> str:
        """Return what has changed since then, in words; empty if nothing has."""
        # Ask a new instance, because this one may remember what it has looked up.
        fresh = anew(self.plugin)
        if isinstance(fresh, Dataset):
            now: str | tuple[str, ...] = fresh.identity(self.split or "evaluation")
        else:
            now = fresh.identity()
        if now == self.identity:
            return ""
        names = [one.name for one in fresh.sources()] if isinstance(fresh, ListableDataset) else []
        if len(names) == len(now) == len(self.identity):
            of = zip(names, self.identity, now, strict=True)
            return f"`{next(name for name, before, after in of if before != after)}`"
        return f"the data of {self.plugin.kind} `{self.plugin.name}`"


class RunContext:
    """What the steps of one run share: the opened model, the bound dsp, the items.

    Everything is opened on first use, so that a run whose results are all kept imports no torch.
    `calibration_windows` limits the windows that a quantizer gets, if only the shape of its
    result matters.
    """

    def __init__(self, pipeline: Pipeline, calibration_windows: int | None = None) -> None:
        self.pipeline = pipeline
        self.calibration_windows = calibration_windows
        self._opened: dict[str, TorchModel] = {}
        self._unsteady: dict[str, Notice] = {}

    def open(self, model: Artifact) -> TorchModel:
        """Open the torch module once per run, or each time anew if its calls change it.

        So no step's result depends on which steps ran before it.
        """
        key = model.sha256
        if key not in self._opened or key in self._unsteady:
            opened, told = self._anew(model), None
            if key not in self._unsteady:
                told = functools.partial(self._unsteady.__setitem__, key)
            plugin = self.pipeline.model
            reference = Reference(
                opened, f"{plugin.kind} `{plugin.name}`", lambda: self._anew(model), told
            )
            self._opened[key] = replace(opened, reference=reference)
        return self._opened[key]

    def _anew(self, model: Artifact) -> TorchModel:
        check_windows(self.pipeline, model.info)
        opened = self.pipeline.model.open(model, self.pipeline.chunker.window())
        inference = getattr(opened.core, "eval", None)  # a model that is not exported may have none
        if inference is not None:
            inference()
        return opened

    def unsteady(self, model: Artifact) -> tuple[Notice, ...]:
        """Return the notice about a model that gave two answers to one window, if it did."""
        return tuple(self._unsteady[key] for key in (model.sha256,) if key in self._unsteady)

    @functools.cached_property
    def depends_on_windows(self) -> dict[str, Any]:
        """Return what the tensors of a window depend on: the dsp and the window's lengths."""
        return {
            "dsp": fingerprint.of_plugin(self.pipeline.dsp),
            "window": dict(self.pipeline.chunker.window()),
        }

    @functools.cached_property
    def reads_items(self) -> tuple[Read]:
        """Return what a step reads outside of the store if it uses evaluation items."""
        dataset = self.pipeline.dataset
        return (Read(dataset, dataset.identity("evaluation"), "evaluation"),)

    @functools.cached_property
    def depends_on_items(self) -> dict[str, Any]:
        """Return what the evaluation items depend on."""
        dataset = self.pipeline.dataset
        return {**of(dataset), "items": list(self.reads_items[0].identity)}

    def depends_on_runtime(self, runtime: Runtime[Any]) -> dict[str, Any]:
        """Return what a session's results depend on: the runtime, and the module if it opens it."""
        model = self.pipeline.model
        opens = model.plan().format in runtime.accepts
        return {
            "stage": fingerprint.of_plugin(runtime),
            **({"model": fingerprint.of_plugin(model)} if opens else {}),
        }

    def transform(self, artifact: Artifact) -> Transform:
        """Return the dsp bound to the model that an artifact comes from."""
        return self.pipeline.dsp.bind(artifact.info)

    def items(self, artifact: Artifact, work: StageContext) -> Iterator[Item]:
        """Yield the evaluation items, checked against the model's signature."""
        from core.inference.items import cached_items

        signature = artifact.info.signature
        return cached_items(self.pipeline.dataset, "evaluation", signature, work.state_dir)


def of(plugin: Plugin[Any]) -> dict[str, Any]:
    """Return what the results of a plugin depend on, under the name of its kind."""
    return {plugin.kind: fingerprint.of_plugin(plugin)}
