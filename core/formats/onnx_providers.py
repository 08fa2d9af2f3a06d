"""Opens ONNX graphs on the execution providers that were asked for, and on no others in silence.

ONNX Runtime replaces a provider that cannot start by the CPU, in three ways that tell nobody:

- it drops a provider whose library cannot be loaded, with a line in its log;
- `InferenceSession` catches a provider's error, prints it, and opens or runs the graph again on the
  CPU (`enable_fallback`, on by default);
- a provider that starts may take no node of the graph. `get_providers()` names it all the same.

Here each of them is an error that gives the reason, unless a fallback is allowed.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import StageError
from core.formats.onnx_session import silent_onnxruntime

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["CPU", "GraphOn", "Provider", "assigned", "missing_library", "reason_of", "session_on"]

CPU = "CPUExecutionProvider"
#: A provider by its name, or with its options.
Provider = str | tuple[str, Mapping[str, str]]
#: Lets a session say which nodes each provider took (ONNX Runtime 1.24 and newer).
RECORD = "session.record_ep_graph_assignment_info"
#: How much of ONNX Runtime's own message an error carries; the rest is a stack of C++.
REASON_LINES, REASON_WIDTH = 3, 300


@dataclass(frozen=True)
class GraphOn:
    """A graph, and what is to compute it.

    `settings` makes the options of a session, anew for each one. `providers` are asked for in this
    order; a node that none of them takes runs on the CPU, which is named only if the CPU is what is
    wanted. If `plugged`, `settings` adds them itself (`add_provider_for_devices`), and `providers`
    only names them. `titles` are the providers' devices in words.
    """

    path: Path
    settings: Callable[[], onnxruntime.SessionOptions]
    providers: Sequence[Provider] = (CPU,)
    plugged: bool = False
    titles: Mapping[str, str] = field(default_factory=dict)
    allow_fallback: bool = False

    @property
    def wanted(self) -> tuple[str, ...]:
        """Return the names of the providers."""
        return tuple(one if isinstance(one, str) else one[0] for one in self.providers)

    def title(self, provider: str) -> str:
        """Return the device of a provider in words: `CPU` for `CPUExecutionProvider`."""
        return self.titles.get(provider, provider.removesuffix("ExecutionProvider"))


def session_on(graph: GraphOn) -> tuple[onnxruntime.InferenceSession, str]:
    """Open a graph; returns the session, and why it does not compute on what was asked for.

    That reason is "" where all providers started and at least one of them took a node. With another
    reason it is an error, unless `allow_fallback` is true; the session then computes on the CPU, or
    on those of the providers that started. Raises StageError, also for a graph that cannot be
    opened.
    """
    import onnxruntime

    session: onnxruntime.InferenceSession | None = None
    reason = "" if graph.plugged else _absent(graph.wanted)
    if not reason:
        try:
            given: dict[str, Any] = {} if graph.plugged else {"providers": [*graph.providers]}
            session = _opened(graph, **given)
        except Exception as error:  # it raises a class per status code, with no common base
            if graph.wanted == (CPU,):
                raise _unopened(graph.path, graph.title(CPU), error) from error
            reason = "; ".join(reason_of(error))
        else:
            reason = _idle(graph, session)
    if session is not None and not reason:
        return session, ""
    name = graph.title(graph.wanted[0])
    if not graph.allow_fallback:
        raise StageError(
            f"ONNX Runtime {onnxruntime.__version__} cannot run `{graph.path.name}` on {name}: "
            "it would fall back to the CPU",
            f"at: {graph.path}",
            f"why: {reason}",
            "install what is missing, or accept the CPU: runtime.allow_fallback=true",
        )
    if session is None:
        try:
            # Providers that are named here replace those of `settings`.
            session = _opened(graph, providers=[CPU])
        except Exception as error:
            raise _unopened(graph.path, graph.title(CPU), error) from error
    return session, reason


def assigned(session: onnxruntime.InferenceSession) -> dict[str, list[tuple[str, str]]]:
    """Return the nodes that each provider took when the graph was opened: name and operator.

    Empty before ONNX Runtime 1.24.
    """
    ask = getattr(session, "get_provider_graph_assignment_info", None)
    found: dict[str, list[tuple[str, str]]] = {}
    for piece in ask() if ask is not None else ():
        nodes = found.setdefault(piece.ep_name, [])
        nodes.extend((node.name, node.op_type) for node in piece.get_nodes())
    return found


def missing_library(provider: str, folder: Path | None = None) -> str:
    """Return why the library of a provider cannot be loaded; "" where it can, or where it has none.

    ONNX Runtime writes this into its log only. The system's own loader names the file that is
    missing. `folder` is that of ONNX Runtime's libraries.
    """
    import onnxruntime

    folder = folder or Path(onnxruntime.__file__).parent / "capi"
    wanted = provider.removesuffix("ExecutionProvider").lower()
    for file in sorted(folder.glob("*onnxruntime_providers_*")):
        word = file.name.partition("_providers_")[2].partition(".")[0]
        if word.replace("_", "") != wanted:
            continue
        try:
            ctypes.CDLL(str(file))
        except OSError as error:
            # Symbols of ONNX Runtime itself are there only while it loads the library.
            if "undefined symbol: Provider_" not in str(error):
                return str(error)
    return ""


def reason_of(error: Exception) -> list[str]:
    """Return an error's first lines without `[ONNXRuntimeError] : 1 : FAIL :` and blank ones."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error).strip())
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [line[:REASON_WIDTH] for line in lines[:REASON_LINES]]


def _absent(wanted: Sequence[str]) -> str:
    """Return which provider this build of ONNX Runtime does not have; "" where it has all."""
    import onnxruntime

    known = onnxruntime.get_available_providers()
    absent = next((name for name in wanted if name not in known), "")
    if not absent:
        return ""
    return f"this build of ONNX Runtime has no `{absent}`; it has: {', '.join(known)}"


def _opened(graph: GraphOn, **given: Any) -> onnxruntime.InferenceSession:
    import onnxruntime

    silent_onnxruntime()
    settings = graph.settings()
    settings.add_session_config_entry(RECORD, "1")
    # Without `enable_fallback=0` an error of a provider is printed, and the CPU takes its place.
    return onnxruntime.InferenceSession(
        str(graph.path), sess_options=settings, enable_fallback=0, **given
    )


def _idle(graph: GraphOn, session: onnxruntime.InferenceSession) -> str:
    """Return why no provider that was asked for computes anything; "" where one does."""
    if CPU in graph.wanted:
        return ""
    given = session.get_providers()
    lost = next((name for name in graph.wanted if name not in given), "")
    if lost:
        why = missing_library(lost) or "ONNX Runtime does not say why"
        return f"`{lost}` could not start: {why}"
    took = assigned(session)
    if took and not any(name in took for name in graph.wanted):
        return f"{', '.join(f'`{name}`' for name in graph.wanted)} took no node of the graph"
    return ""


def _unopened(path: Path, device: str, error: Exception) -> StageError:
    import onnxruntime

    return StageError(
        f"ONNX Runtime {onnxruntime.__version__} cannot open `{path.name}` on the {device}",
        f"at: {path}",
        *reason_of(error),
        "if it lacks an operator, try another opset (exporter.opset=20) or another runtime",
    )
