"""Opens an ONNX graph on the provider that a recipe names, so that nothing else computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import StageError
from core.formats.onnx_providers import CPU, GraphOn, assigned, session_on
from plugins.runtime._providers.known import KNOWN, Provider
from plugins.runtime._providers.plugged import devices_of, in_words

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["Asked", "Opened", "opened"]

#: How many nodes an error names.
NAMED = 5


@dataclass(frozen=True)
class Asked:
    """What a recipe says of the provider: the options of the runtime of the same names."""

    provider: Provider
    kind: str
    options: Mapping[str, str]
    software: bool
    allow_fallback: bool


@dataclass(frozen=True)
class Opened:
    """A session and its graph; `title` and `device` say what computes.

    `reason` says why the CPU computes all of it, or some nodes, although another provider was asked
    for; empty where it does not.
    """

    session: onnxruntime.InferenceSession
    graph: GraphOn
    title: str
    device: str = ""
    reason: str = ""


def opened(path: Path, asked: Asked, settings: Callable[[], onnxruntime.SessionOptions]) -> Opened:
    """Open a graph on the provider of `asked`; `settings` makes the options of a session.

    Raises StageError where it cannot be opened, and where the CPU would compute some of it although
    another provider was asked for, unless `asked` allows that: then it names what it leaves.
    """
    provider, offer = asked.provider, KNOWN[asked.provider]
    told = {**offer.options, **asked.options}
    if provider is Provider.cpu:
        graph = GraphOn(path, settings)
        return Opened(session_on(graph)[0], graph, offer.title)
    titles = {provider.value: offer.title}
    if not offer.module:
        graph = GraphOn(
            path,
            settings,
            [(provider.value, told)],
            titles=titles,
            allow_fallback=asked.allow_fallback,
        )
        return _checked(graph, offer.title)
    found, reason = devices_of(provider, asked.kind, software=asked.software)
    if reason and not asked.allow_fallback:
        raise StageError(
            f"ONNX Runtime cannot run `{path.name}` on {offer.title}",
            reason,
            "or accept the CPU: runtime.allow_fallback=true",
        )

    def with_device() -> onnxruntime.SessionOptions:
        made = settings()
        if found:
            made.add_provider_for_devices(found[:1], told)
        return made

    graph = GraphOn(
        path,
        with_device,
        [provider.value],
        plugged=True,
        titles=titles,
        allow_fallback=asked.allow_fallback,
    )
    return _checked(graph, offer.title, in_words(provider, found[0]) if found else "", reason)


def _checked(graph: GraphOn, title: str, device: str = "", reason: str = "") -> Opened:
    """Open a graph that another provider than the CPU is to compute, and see what it took."""
    session, why = session_on(graph)
    if why:
        return Opened(session, graph, "CPU", reason=reason or why)
    left = [node for node in assigned(session).get(CPU, []) if node[1] != "Constant"]
    if not left:
        return Opened(session, graph, title, device)
    names = [f"{operator}: {name or 'a node without a name'}" for name, operator in left[:NAMED]]
    count = f"{title} leaves {len(left)} nodes of `{graph.path.name}` to the CPU"
    if not graph.allow_fallback:
        more = len(left) - len(names)
        raise StageError(
            count,
            f"at: {graph.path}",
            *names,
            f"and {more} more" if more else "",
            "change the graph, or let the CPU compute them: runtime.allow_fallback=true",
        )
    return Opened(session, graph, f"{title} and CPU", device, count)
