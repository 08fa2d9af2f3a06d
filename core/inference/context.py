"""What the steps of one run share: the opened model, the bound dsp, the items."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from core.config.pipeline import Assembly
from core.inference.reference import Reference
from core.inference.signature import check_windows
from core.plugin.kinds import Dataset, Listed, Model, Plugin, Runtime, anew
from core.plugin.stages import Split, TorchModel, Transform, Work
from core.plugin.values import Artifact, Item, Notice
from core.store import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Bench", "Read"]


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
            "dsp": fingerprint.of_plugin(self.assembly.dsp),
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
            "stage": fingerprint.of_plugin(runtime),
            **({"model": fingerprint.of_plugin(model)} if opens else {}),
        }

    def transform(self, artifact: Artifact) -> Transform:
        """Return the dsp bound to the model that an artifact comes from."""
        return self.assembly.dsp.bind(artifact.info)

    def items(self, artifact: Artifact, work: Work) -> Iterator[Item]:
        """Yield the evaluation items, checked against the model's signature."""
        from core.inference.items import kept_items

        signature = artifact.info.signature
        return kept_items(self.assembly.dataset, "evaluation", signature, work.lasting)


def of(plugin: Plugin[Any]) -> dict[str, Any]:
    """Return what the results of a plugin depend on, under the name of its kind."""
    return {plugin.kind: fingerprint.of_plugin(plugin)}
