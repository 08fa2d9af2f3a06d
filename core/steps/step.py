"""A step of a run, with what its result depends on and how to make it.

model ─ exporter ─ graph… ─ quantizer ─ runtime          the artifact (core/steps/convert.py)
  └─ sample ─ budget…, probe ──┐                         a few windows (core/steps/compare.py)
  └─ reference, ideal, play ─ budget, evaluate           the whole input (core/steps/play.py)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.inference.context import Read
from core.plugin.kinds import Plugin
from core.plugin.stages import StageContext, StageResult
from core.plugin.values import Artifact, ArtifactSpec
from core.store import source_code

__all__ = ["Step"]

Inputs = Mapping[str, Artifact]


@dataclass(frozen=True)
class Step:
    """One unit of work whose result the store keeps.

    `inputs` name earlier steps. `depends` is the part of the store's key that is not an input:
    plain JSON. `plugin` names in words the plugins that do it, and `by` are those plugins. `gives`
    is what must come out. `reads` is what it reads outside of the store. `like` names the step
    whose result in the store serves as well: the same work, done for another purpose. `calls` are
    methods of the core that `run` calls on its arguments; these and `run` itself determine which
    code of the core the result depends on (core/store/source_code.py).
    """

    name: str
    title: str
    plugin: str
    inputs: tuple[str, ...]
    depends: dict[str, Any]
    run: Callable[[Inputs, StageContext], StageResult]
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

    def fingerprint(self, inputs: Inputs) -> dict[str, Any]:
        """Return what the result depends on, given its inputs."""
        hashes = {name: inputs[name].sha256 for name in self.inputs}
        code = source_code.of_functions(self.run, *self.calls)
        return {"plugin": self.plugin, **self.depends, "code": code, "inputs": hashes}
