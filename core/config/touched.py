"""Lists what a run touches outside of itself, and refuses a recipe that reaches out unasked.

A recipe that is given by its path may be anybody's. It may name files in its own folder. If it
names a file elsewhere, a folder above or a host, the person who starts the run must repeat that on
the command line.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from omegaconf import DictConfig, OmegaConf

from core.config.arguments import command, key_of
from core.config.settings import PLURAL, SLOTS
from core.errors import ConfigError
from core.machine.path_patterns import top_of
from core.plugin.options import PLUGIN_KEY
from core.plugin.reach import Reach, is_address, is_reaching, names_something, reaching, words_of

if TYPE_CHECKING:
    from core.config.recipes import Recipe
    from core.plugin.kinds import Plugin
    from core.plugin.registry import Registry

__all__ = ["check_asked", "touched"]

#: How many files and folders of a recipe are searched for links that lead out.
LOOKED_AT = 100_000
#: `input=...` is declared as the option of a plugin would be.
INPUT: dataclasses.Field[Any] = reaching()


def check_asked(
    cfg: DictConfig,
    recipes: Mapping[str, Recipe],
    recipe: str,
    registry: Registry,
    typed: Sequence[str],
) -> None:
    """Raise ConfigError where a given recipe reaches out of its folder and nobody asked for it.

    `typed` are the overrides of the command line: the person chose these values.
    """
    source = recipes.get(recipe)
    if source is None or not source.given:
        return
    keys = set(map(key_of, typed))
    folder = source.file.resolve().parent
    composed = OmegaConf.to_container(cfg, resolve=False, enum_to_str=True)
    found: dict[str, str] = {}
    for path, value in _values(source.content, ""):
        if path in keys or (path == "dataset.path" and "input" in keys and cfg.input is not None):
            continue
        if _written(_at(composed, path)) == _written(value):  # nothing else took its place
            # A reference is judged by its value.
            meant = OmegaConf.select(cfg, path)
            option = _declared(cfg, registry, path)
            if any(_leads_out(text, folder, option) for text in _texts(meant)):
                found[path] = _written(meant)
    if found:
        words = [f"{path}={value}" for path, value in found.items()]
        raise ConfigError(
            f"recipe `{recipe}` names a place outside its own folder",
            f"file: {source.file}",
            *(f"{path}: {value}" for path, value in found.items()),
            "the author of a recipe could use such a place to read or send your data",
            f"if you want this, set it on the command line: {command([*typed, *words], recipes)}",
        )


def touched(plugins: Iterable[Plugin[Any]], store: str, output: str) -> list[Reach]:
    """Return every file, folder and host that runs of these plugins touch, each once."""
    found = [
        dataclasses.replace(reach, why=f"{plugin.kind} `{plugin.name}`: {reach.why}".rstrip(": "))
        for plugin in plugins
        for reach in plugin.reaches()
    ]
    folder = str(Path(output).expanduser().absolute())
    url = urlsplit(store) if "://" in store else None
    kept = Reach("asks", f"{url.netloc}", "store") if url else Reach("writes", store, "store")
    return [*dict.fromkeys([*found, kept, Reach("writes", folder, "output")])]


def _values(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Yield every value and list of a recipe but its title, under the key of an override."""
    if isinstance(value, Mapping):
        for key, inside in value.items():
            # The grammar has checked `plugin` and the names of stages.
            if key not in ("title", PLUGIN_KEY, "defaults"):
                yield from _values(inside, f"{path}.{key}" if path else key)
    elif value is not None and ("." in path or path == "input"):
        yield path, value


def _at(node: Any, path: str) -> object:
    """Return the value at a dotted key of nested mappings; None where there is none."""
    for key in path.split("."):
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _texts(value: object) -> Iterator[str]:
    """Yield a text, or every text in a list, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Sequence):
        for inside in value:
            yield from _texts(inside)
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))


def _written(value: object) -> str:
    """Return a text or a list as it stands on a command line."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{','.join(map(_written, value))}]"
    return str(value)


def _declared(cfg: DictConfig, registry: Registry, path: str) -> dataclasses.Field[Any] | None:
    """Return the option at `path`, if it is declared to name files, folders or hosts."""
    if path == "input":
        return INPUT
    slot, *keys = path.split(".")
    node: Any = cfg.get(slot) if slot in SLOTS else None
    if slot in PLURAL and keys:
        node = (node or {}).get(keys[0])
        keys = keys[1:]
    if node is None or not keys or PLUGIN_KEY not in node:
        return None
    options = registry.find(SLOTS[slot], node[PLUGIN_KEY]).cls.Options
    return next(
        (o for o in dataclasses.fields(options) if o.name == keys[0] and is_reaching(o)), None
    )


def _leads_out(value: str, folder: Path, option: dataclasses.Field[Any] | None) -> bool:
    """Return whether a text names a URL, or a file or folder outside of `folder`.

    Without a declared `option`, a text counts as a path only if it can be nothing else: the name of
    a node in a graph (`/encoder.0/Conv`) begins with a slash, too.
    """
    if option is not None and is_address(option):
        return bool(value)
    if option is not None and value in words_of(option):
        return False
    if "://" in value or value.startswith("~") or "\\" in value or PureWindowsPath(value).drive:
        return True
    parts = PurePosixPath(value).parts
    if ".." in parts:
        return True
    if option is None:
        return len(parts) > 1 and parts[0] == "/" and Path("/", parts[1]).exists()
    return names_something(value) and _holds_other(top_of(value), folder)


def _holds_other(top: Path, folder: Path) -> bool:
    """Return whether a file or folder is not below `folder`, or holds a link that leads out of it.

    An archive may contain links. For a folder that is too large to search, return True.
    """
    if not top.resolve().is_relative_to(folder):
        return True
    seen = 0
    for place, folders, files in os.walk(top):
        for name in (*folders, *files):
            seen += 1
            inside = Path(place, name)
            if inside.is_symlink() and not inside.resolve().is_relative_to(folder):
                return True
        if seen > LOOKED_AT:
            return True
    return False
