"""Presets: named options of a plugin, a target or a precision, `<folder>/<group>/<name>.yaml`.

Presets in the box lie in `conf/`, where Hydra finds them. Presets of other distributions never
reach Hydra as files: a comment in one (`# @package hydra.job_logging`) or a folder
(`hydra/callbacks`) could place it anywhere in the config. They are read here, checked against
`core/config/grammar.py`, and passed on as plain nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.config.grammar import check_preset
from core.config.yaml_file import read_mapping
from core.errors import ConfigError
from core.plugin.kinds import KINDS

__all__ = ["GROUPS", "Preset", "plugin_of", "read_group", "read_presets"]

#: The groups that a preset may belong to.
GROUPS = ("target", "precision", *KINDS)


@dataclass(frozen=True)
class Preset:
    """One preset; `node` is the content of its file."""

    group: str
    name: str
    file: Path
    node: dict[str, Any]

    @property
    def title(self) -> str:
        """Return its title, a single line; empty if it has none."""
        return str(self.node.get("title", ""))


def read_presets(folders: Iterable[Path]) -> list[Preset]:
    """Return the presets below each of `folders`, in order of group and name.

    Raises ConfigError for a file that is no preset, and for two of one group and name.
    """
    found: dict[tuple[str, str], Preset] = {}
    for file in (file for folder in folders for file in _files(folder)):
        group, name = file.parent.name, file.stem
        other = found.get((group, name))
        if other is not None:
            raise ConfigError(
                f"two presets of {group} are named `{name}`", f"{other.file}", f"{file}",
                "rename one",
            )  # fmt: skip
        found[group, name] = _read(group, name, file)
    return list(found.values())


def read_group(folder: Path, group: str) -> list[Preset]:
    """Return the presets of one group below a folder, in order of their names."""
    return [_read(group, file.stem, file) for file in sorted((folder / group).glob("*.yaml"))]


def plugin_of(preset: Preset, presets: Iterable[Preset]) -> str:
    """Return the plugin that a preset configures: the last of a chain of presets."""
    by_name = {one.name: one for one in presets if one.group == preset.group}
    name, seen = preset.name, set[str]()
    while name in by_name and name not in seen:
        seen.add(name)
        below = [one for one in by_name[name].node.get("defaults") or () if one != "_self_"]
        name = str(below[0]) if below else name
    return name


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder of presets; raises ConfigError for an unknown group."""
    for inside in sorted(folder.iterdir() if folder.is_dir() else ()):
        if inside.name.startswith((".", "_")) or not inside.is_dir():
            continue
        if inside.name not in GROUPS:
            raise ConfigError(
                f"a folder of presets has the unknown group `{inside.name}`",
                f"at: {inside}",
                f"groups: {', '.join(GROUPS)}",
                "rename the folder, or uninstall the distribution that brings it",
            )
        yield from sorted(inside.glob("*.yaml"))


def _read(group: str, name: str, file: Path) -> Preset:
    where = f"preset `{name}` of {group}"
    try:
        node = read_mapping(file, where)
    except OSError as error:
        raise ConfigError(
            f"{where} cannot be read: {error.strerror or error}", f"file: {file}"
        ) from error
    if not name.isidentifier() or name.startswith("_"):
        raise ConfigError(
            f"{where} has a name that no recipe can use", f"file: {file}",
            "name it by letters, digits and underscores",
        )  # fmt: skip
    check_preset(node, group, where, str(file))
    return Preset(group, name, file, node)
