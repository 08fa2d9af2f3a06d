"""Makes the plugins of the box as a recipe does: with the presets of `conf/`."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

from core import Artifact, ModelInfo, StageContext, StageResult

__all__ = ["as_artifact", "made", "work_in"]


@functools.cache
def _registry() -> Any:
    from core.config.compose import register
    from core.config.discovery import discover

    registry = discover()
    register(registry, {})
    return registry


@functools.cache
def made(kind: str, name: str, *overrides: str) -> Any:
    """Return the plugin that `<kind>=<name>` and more words of a command line make.

    The plugin is not guarded: its errors come unchanged.
    """
    word = f"[{name}]" if kind == "graph" else name
    from core.config.compose import composing
    from core.plugin.options import PLUGIN_KEY, build

    registry = _registry()
    with composing([f"{kind}={word}", *overrides]) as cfg:
        # The graph passes of a recipe are a list; here one pass is made.
        node = cfg[kind][name] if kind == "graph" else cfg[kind]
        entry = registry.find(kind, node[PLUGIN_KEY])
        return entry.cls(build(entry, node, kind))


def work_in(folder: Path) -> StageContext:
    """Return an empty work folder below `folder`."""
    from core import StageContext
    from core.plugin.progress import silent

    return StageContext(Path(tempfile.mkdtemp(dir=folder)), silent())


def as_artifact(result: StageResult, info: ModelInfo | None) -> Artifact:
    """Describe a plugin's result as a run does; raises as a run for a result it would refuse."""
    from core import Artifact
    from core.formats.onnx_bounds import checked
    from core.store.hashing import files_below, folder_digest

    folder = result.path.parent
    if result.path.suffix == ".onnx":
        checked(result.path)
    return Artifact(
        folder=str(folder),
        path=str(result.path),
        format=result.format,
        precision=result.precision,
        sha256=folder_digest(folder),
        bytes=sum(file.stat().st_size for file in files_below(folder)),
        model=info,
        facts=result.facts,
        notices=result.notices,
    )
