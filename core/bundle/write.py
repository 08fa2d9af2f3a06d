"""Writes the bundle: the files for the device, and all that a program there must know.

    model.onnx, …                  the model for the device, as the runtime made it
    fallback/…                     the model it was compiled from, for a device that cannot run it
    pre.onnx, post.onnx            the dsp as graphs, where it has any (`Transform.graphs`)
    golden.bin, golden.json        one window with its results (core/bundle/golden.py)
    metadata.json                  signature, tensors, chunking, dsp, versions, hashes
    LICENCE-WEIGHTS.txt, README.md
    SHA256SUMS                     the hash of every other file
    python/, cpp/, kotlin/         a program that runs it (`Plugin.ships`)

In every language the program needs two parts, which plugins ship where they can; a language that
lacks one is left out. `window` (from the runtime) maps one window to its outputs. `join` (from the
chunker) has `play`, which uses `window` to map a whole input to a whole output. In Python `medium`
(from the dataset), if there is one, reads and writes files. Python reads `metadata.json`; for the
other languages the core writes constants (core/bundle/program.py).

Before a program opens anything, it compares every file with `SHA256SUMS`. The `id` of a bundle is a
hash of all files that compute; programs in C++ and Kotlin have it compiled in, so that an app does
not run with the files of another version. Equal artifacts give equal bundles on one machine.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec

from core.bundle import golden, program, readme
from core.config.pipeline import Pipeline
from core.machine.environment import versions
from core.plugin.stages import BundlePart, outside
from core.plugin.values import Artifact, ModelInfo
from core.store.hashing import digest, file_digest, files_below
from core.text.shown import plain, shown_below, without_credentials

__all__ = ["FORMAT", "SUMS", "write_bundle"]

#: Increased when a program for the older format would misread `metadata.json`.
FORMAT = 1
#: The hashes of all other files, as `sha256sum` writes and checks them.
SUMS = "SHA256SUMS"


def write_bundle(
    bundle: Path,
    pipeline: Pipeline,
    shipped: Artifact,
    source: Artifact | None,
    expected: golden.Expected | None = None,
) -> None:
    """Write the bundle of `shipped`; `source`, which it was compiled from, is the fallback.

    `expected` is its golden window, by which a program tests itself; None where there is none.
    """
    shutil.copytree(shipped.folder, bundle)
    if source is not None:
        shutil.copytree(source.folder, bundle / "fallback")
    info = shipped.info
    parts = {
        slot: plugin.ships(info)
        for slot, plugin in (
            ("runtime", pipeline.runtime),
            ("chunking", pipeline.chunker),
            ("dsp", pipeline.dsp),
            ("medium", pipeline.dataset),
        )
    }
    about = _about(bundle, pipeline, shipped, source, parts)
    about["golden"] = _golden(bundle, about, expected)
    about["id"] = digest(sorted(_hashes(bundle).items()))
    languages = program.write(bundle, about, [*parts.values()])
    (bundle / "LICENCE-WEIGHTS.txt").write_text(readme.licence(info), encoding="utf-8")
    page = readme.readme(about, languages, [*parts.values()], _files(bundle))
    (bundle / "README.md").write_text(page, encoding="utf-8")
    about["files"] = _files(bundle)
    if about["golden"]:
        # The rest is in the table itself.
        about["golden"] = {"table": golden.TABLE, "tolerance_db": about["golden"]["tolerance_db"]}
    about = shown_below(about, without_credentials)
    text = json.dumps(about, indent=1, ensure_ascii=False)
    if plain(text) != text:
        # Names must not change; escaped, they cannot control a terminal.
        text = json.dumps(about, indent=1)
    (bundle / "metadata.json").write_text(f"{text}\n", encoding="utf-8")
    lines = [f"{found}  {name}\n" for name, found in _hashes(bundle).items()]
    (bundle / SUMS).write_text(f"# bundle {about['id']}\n{''.join(lines)}", encoding="utf-8")


def _files(bundle: Path) -> dict[str, dict[str, Any]]:
    """Return the size and the SHA-256 of every file of the bundle, by its name."""
    return {
        name: {"sha256": found, "bytes": (bundle / name).stat().st_size}
        for name, found in _hashes(bundle).items()
    }


def _hashes(bundle: Path) -> dict[str, str]:
    every = {file.relative_to(bundle).as_posix(): file for file in files_below(bundle)}
    return {name: file_digest(file) for name, file in sorted(every.items())}


def _golden(
    bundle: Path, about: dict[str, Any], expected: golden.Expected | None
) -> dict[str, Any] | None:
    """Write the golden window, and return its table."""
    if expected is None:
        return None
    precisions = {
        name: about[name]["precision"] for name in ("model", "fallback") if about[name] is not None
    }
    return golden.write(bundle, expected, precisions, dsp=bool(about["host_graphs"]))


def _about(
    bundle: Path,
    pipeline: Pipeline,
    shipped: Artifact,
    source: Artifact | None,
    parts: dict[str, BundlePart],
) -> dict[str, Any]:
    """Return `metadata.json` without its list of files; writes the dsp's graphs."""
    info = shipped.info
    graphs = _host_graphs(bundle, pipeline, info)
    return {
        "format": FORMAT,
        "recipe": pipeline.recipe,
        "title": pipeline.title,
        "target": msgspec.to_builtins(pipeline.target),
        "precision": pipeline.precision,
        "model": _model(bundle, shipped, ""),
        "fallback": _model(bundle, source, "fallback/") if source is not None else None,
        "runtime": {
            "plugin": pipeline.runtime.name,
            **({"never_run": pipeline.never_run} if pipeline.never_run else {}),
            **parts["runtime"].facts,
        },
        "signature": msgspec.to_builtins(info.signature),
        "core": {"inputs": info.core_inputs, "outputs": info.core_outputs},
        "host_graphs": graphs or None,
        "tensors": _tensors(info, graphs),
        "dsp": {
            "plugin": pipeline.dsp.name,
            "model_facts": info.dsp_facts,
            **parts["dsp"].facts,
        },
        "chunking": {
            "plugin": pipeline.chunker.name,
            "window": dict(pipeline.chunker.window()),
            **parts["chunking"].facts,
        },
        "weights": {
            "origin": info.weights,
            "licence": info.licence or None,
            "parameters": info.parameters,
        },
        "versions": versions(),
    }


def _model(bundle: Path, artifact: Artifact, below: str) -> dict[str, Any]:
    """Describe a model file of the bundle, with its tensors if it is a graph."""
    name = f"{below}{Path(artifact.path).relative_to(artifact.folder).as_posix()}"
    return {
        "file": name,
        "format": artifact.format,
        "precision": artifact.precision,
        "steps": artifact.steps,
        "sha256": artifact.sha256,
        **_graph(bundle / name),
    }


def _graph(file: Path) -> dict[str, Any]:
    if file.suffix != ".onnx":
        return {}
    from core.formats.onnx_graph import describe

    return describe(file)


def _host_graphs(
    bundle: Path, pipeline: Pipeline, info: ModelInfo
) -> dict[str, dict[str, Any]] | None:
    """Write the dsp's graphs and describe them; empty for a batch axis alone, None for none."""
    transform = pipeline.dsp.bind(info)
    written = transform.graphs(pipeline.chunker.window(), bundle)
    if written is None:
        return None
    return {
        name: {"file": file.relative_to(bundle).as_posix(), **_graph(file)}
        for name, file in written.items()
    }


def _tensors(
    info: ModelInfo, graphs: dict[str, dict[str, Any]] | None
) -> dict[str, dict[str, str]] | None:
    """Return a program's names for the signature's inputs and outputs; None without dsp graphs."""
    if graphs is None:
        return None
    named = {}
    for side, specs, core in (
        ("inputs", info.signature.inputs, info.core_inputs),
        ("outputs", info.signature.outputs, info.core_outputs),
    ):
        own = [spec.name for spec in specs]
        named[side] = dict(zip(own, map(outside, own) if graphs else core, strict=True))
    return named
