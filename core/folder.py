"""The run folder: what a run leaves for a person, whole or not at all.

outputs/<recipe>/<time>/
    stems/…, report.html, report.json    written by the dataset and the reporters
    recipe.lock.yaml                     a recipe that reproduces the run
    bundle/                              what is shipped to the device (core/bundle.py)
"""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from core.config import PLURAL, SLOTS
from core.errors import StoreError
from core.leftovers import check_there, owned_folder
from core.remedy import remedy
from core.shown import plain
from core.values import Artifact

__all__ = ["RunFolder", "lock", "named_folder", "new_folder", "unwritable"]


@dataclass
class RunFolder:
    """Where a run writes (`partial`), and the name that it gets once it ended well (`final`)."""

    partial: Path
    final: Path


def new_folder(root: Path, recipe: str) -> AbstractContextManager[RunFolder]:
    """Give a temporary folder, and its final name, the time, when the block ended well."""
    parent = root.expanduser().resolve() / recipe
    name = datetime.now().astimezone().strftime("%Y-%m-%d_%H-%M-%S")
    return _folder(parent, name, replaces=False)


def named_folder(path: Path) -> AbstractContextManager[RunFolder]:
    """Give a temporary folder that takes the place of `path` when the block ended well."""
    return _folder(path.parent, path.name, replaces=True)


@contextmanager
def _folder(parent: Path, name: str, *, replaces: bool) -> Iterator[RunFolder]:
    try:
        with owned_folder(parent, name) as partial:
            folder = RunFolder(partial, parent / name)
            yield folder
            check_there(partial)
            if replaces:
                shutil.rmtree(folder.final, ignore_errors=True)
            _place(folder, name)
    except OSError as error:
        raise unwritable("the run folder", error, parent) from error


def _place(folder: RunFolder, name: str) -> None:
    """Give the folder its final name, or the next one that is free: two runs may end at once."""
    number = 1
    while True:
        try:
            folder.partial.rename(folder.final)
        except OSError:
            if not folder.final.exists():
                raise
            number += 1
            folder.final = folder.final.with_name(f"{name}.{number}")
        else:
            return


def unwritable(
    what: str, error: OSError, place: Path, other: str = "output=/path/to/folder"
) -> StoreError:
    """Return the error that `what`, at `place`, cannot be written; `other` names another place."""
    reason, at = error.strerror or str(error), error.filename or place
    if isinstance(error, shutil.Error):
        # It holds a list of (source, target, reason), one for every file that failed.
        _, at, said = error.args[0][0]
        reason = re.sub(r"^\[Errno \d+\] (.*?)(: '.*)?$", r"\1", str(said), flags=re.DOTALL)
    return StoreError(f"{what} cannot be written: {reason}", f"at: {at}", remedy(error, other))


def lock(
    config: Mapping[str, Any], artifacts: Mapping[str, Artifact], versions: Mapping[str, str]
) -> str:
    """Return a recipe in YAML that holds every option, with the hashes and versions as comments.

    `artifacts` are those of the run, by the name of their step. Options that a stage settled
    replace those of the config.
    """
    config = _settled(config, artifacts)
    recipe: dict[str, Any] = {"title": config.get("title", "")}
    for key in ("target", "precision"):
        if (config.get(key) or {}).get("name"):
            recipe[key] = config[key]["name"]
    for slot in SLOTS:
        node = config.get(slot)
        if slot in PLURAL:
            recipe[slot] = {
                name: {k: v for k, v in (options or {}).items() if k != "plugin"}
                for name, options in (node or {}).items()
            }
        elif node is not None:
            recipe[slot] = node
    recipe["measure"] = config.get("measure")
    if config.get("scale"):
        recipe |= {key: config.get(key) for key in ("scale", "songs")}
    head = [
        "# Reproduces this run: python -m core recipe=recipe.lock.yaml",
        f"# weights sha256: {artifacts['model'].sha256}",
        *(f"# {name} {version}" for name, version in versions.items()),
    ]
    body: str = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    if plain(body) != body:
        # Escaped, a title stays what it is, and no terminal that shows the file obeys it.
        body = yaml.safe_dump(recipe, sort_keys=False)
    return "\n".join([*head, body])


def _settled(config: Mapping[str, Any], artifacts: Mapping[str, Artifact]) -> dict[str, Any]:
    """Return a copy of `config` with the options that stages settled: `slot` or `slot.plugin`."""
    merged = copy.deepcopy(dict(config))
    for step, artifact in artifacts.items():
        node = merged
        for key in step.split(".") if artifact.settled else ():
            node = node[key]
        node.update(artifact.settled)
    return merged
