"""The chain of converting stages, from the torch module to what a device runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from core.config.pipeline import Pipeline
from core.plugin.kinds import Converter
from core.plugin.values import ArtifactSpec

__all__ = ["Link", "chain"]


@dataclass(frozen=True)
class Link:
    """One stage of the chain from the torch module to what a device runs."""

    slot: str
    plugin: Converter[Any]
    takes: ArtifactSpec
    gives: ArtifactSpec


def chain(pipeline: Pipeline) -> Iterator[Link]:
    """Yield every converting stage with what it takes and gives, without checking that it fits."""
    spec = ArtifactSpec(pipeline.model.plan().format)
    stages: list[tuple[str, Converter[Any] | None]] = [
        ("exporter", pipeline.exporter),
        *(("graph", graph) for graph in pipeline.graph),
        ("quantizer", pipeline.quantizer),
        ("runtime", pipeline.runtime),
    ]
    for slot, plugin in stages:
        if plugin is None:
            continue
        untouched = plugin.passes or spec.format not in plugin.accepts
        gives = spec if untouched else plugin.plan(spec)
        yield Link(slot, plugin, spec, gives)
        spec = gives
