"""What the converting stages of a pipeline advise on this machine, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence

from core.config.pipeline import Pipeline
from core.plugin.values import ArtifactSpec, Notice
from core.steps.chain import chain

__all__ = ["advice"]


def advice(pipeline: Pipeline) -> tuple[Notice, ...]:
    """Return the notices of every stage that works on what it gets, and of the host if it plays.

    A precision that changes nothing is told first. The others name their stage: ``runtime `torch`:
    ...``. A stage that passes its input on gives none.
    """
    spec = ArtifactSpec(pipeline.model.plan().format)
    idle = pipeline.idle_precision
    found = [Notice("warning", idle)] if idle else []
    for link in chain(pipeline):
        if link.slot != "runtime":
            spec = link.gives
        if not link.plugin.passes:
            found += _named(link.slot, link.plugin.name, link.plugin.advice(link.takes))
    host = pipeline.host
    if host is not None and not pipeline.plays_itself:
        found += _named("host", host.name, host.advice(spec))
    return tuple(dict.fromkeys(found))


def _named(slot: str, name: str, notices: Sequence[Notice]) -> list[Notice]:
    return [Notice(one.severity, f"{slot} `{name}`: {one.text}") for one in notices]
