"""Reads untrusted YAML: plain data only, with bounds that are checked before aliases expand.

Recipes, presets and lock files are read here. The result holds mappings with text as keys, lists,
text, numbers, booleans and null: no objects, no dates, no repeated keys.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
)

from core.errors import ConfigError

__all__ = ["LARGEST", "mapping_in", "read_mapping"]

#: Bytes of a file, and nodes (values, keys, lists, mappings) once aliases are written out. The lock
#: file of a network with an option per layer has some thousands.
LARGEST, NODES = 2**20, 20_000
#: Lists and mappings inside each other, aliases in a file, and characters of one value or key.
DEPTH, ALIASES, LONGEST = 24, 100, 20_000
#: Integers stay below this; Python refuses to write one of thousands of digits.
BIGGEST = 2**64
#: The tags that a value may have; other tags make objects, dates or bytes.
TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null"))
TREES = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq"))


class _Plain(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """The safe loader with numbers as YAML 1.2 has them: `1e-3`, no dates, no `12:30:45`."""


_Plain.yaml_implicit_resolvers = {
    first: [
        (tag, regex)
        for tag, regex in resolvers
        if tag.rpartition(":")[2] not in ("timestamp", "int", "float")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Plain.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$"),
    list("-+0123456789"),
)
_Plain.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"[-+]?(?:\d[\d_]*\.[\d_]*(?:[eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+|\.\d[\d_]*(?:[eE][-+]?\d+)?"
        r"|\.(?:inf|Inf|INF))$|\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


class _RefusedError(ValueError):
    """A fault of a file, and the line where it begins; 0 for the whole file."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(f"{reason}, in line {line}" if line else reason)


def read_mapping(file: Path, what: str) -> dict[str, Any]:
    """Return the mapping in a YAML file; `what` names it in errors: "recipe `mine`".

    Raises ConfigError for a file that is no YAML, no mapping, beyond the bounds of this module, or
    more than plain data. The caller handles OSError, FileNotFoundError included.
    """
    with _said_of(what, file), _refusals():
        return copy.deepcopy(_checked(_text(file)))


def mapping_in(text: str, what: str, file: Path) -> dict[str, Any]:
    """Return the mapping in YAML that stands in a text of `file`; raises as `read_mapping` does."""
    with _said_of(what, file), _refusals():
        if len(text) > LARGEST:
            raise _RefusedError(f"it is longer than {LARGEST:,} characters")
        return copy.deepcopy(_checked(text))


@contextmanager
def _said_of(what: str, file: Path) -> Iterator[None]:
    """Turn a refusal into the error for a person."""
    try:
        yield
    except _RefusedError as error:
        raise ConfigError(
            f"{what} cannot be read: {error}",
            f"file: {file}",
            "write keys and values as the built-in recipes do: text, numbers, lists, mappings",
        ) from error


@functools.lru_cache(maxsize=256)
def _checked(text: str) -> dict[str, Any]:
    """Return the mapping in a text within the bounds; the same files are read more than once."""
    walk = _Walk()
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        walk.take(event)
    return _loaded(text)


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn the errors of PyYAML, and those of Python that it lets through, into a refusal."""
    try:
        yield
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise _RefusedError(error.problem or "it is no YAML", line) from error
    except yaml.YAMLError as error:
        raise _RefusedError(" ".join(str(error).split())[:200]) from error
    except RecursionError as error:
        raise _RefusedError("it is nested too deeply") from error
    except (ValueError, OverflowError, LookupError) as error:
        # A number of thousands of digits, or a value that its tag does not allow: `!!int ""`.
        if isinstance(error, _RefusedError):
            raise
        raise _RefusedError(f"a value is not valid: {error}"[:200]) from error


def _text(file: Path) -> str:
    if file.exists() and not file.is_file():
        # Reading a pipe would block, and a device never ends.
        raise _RefusedError("it is no regular file")
    with file.open("rb") as opened:
        raw = opened.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise _RefusedError(f"it is larger than {LARGEST:,} bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _RefusedError(f"it is no UTF-8, from byte {error.start} on") from error


def _loaded(text: str) -> dict[str, Any]:
    """Build the content of a text that was walked through."""
    content = yaml.load(text, Loader=_Plain)  # noqa: S506  # a safe loader without dates
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise _RefusedError("it is no mapping of keys to values")
    _check_values(content)
    return content


def _check_values(value: object) -> None:
    """Refuse a key that YAML reads as a number or a boolean (`1:`, `on:`), and huge integers."""
    if isinstance(value, int) and abs(value) >= BIGGEST:
        raise _RefusedError("a whole number has more than 64 bits")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise _RefusedError(f"the key `{str(key)[:80]}` is no text: put it in quotes")
    if isinstance(value, dict | list):
        for inside in value.values() if isinstance(value, dict) else value:
            _check_values(inside)


@dataclass
class _Open:
    """A list or mapping that is being read: its nodes and depth so far, aliases written out."""

    anchor: str | None
    keys: set[str] | None
    nodes: int = 1
    depth: int = 1
    key: bool = True


class _Walk:
    """A walk through the events of a YAML text, without building anything of it."""

    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._known: dict[str, tuple[int, int]] = {}
        self._documents = self._aliases = 0

    def take(self, event: Event) -> None:
        """Take the next event; raises _RefusedError for one that is not allowed."""
        line = event.start_mark.line + 1
        if isinstance(event, DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _RefusedError("it holds more than one document", line)
        elif isinstance(event, CollectionStartEvent):
            self._begin(event, line)
        elif isinstance(event, CollectionEndEvent):
            done = self._open.pop()
            self._count(done.nodes, done.depth, line)
            if done.anchor:
                self._known[done.anchor] = (done.nodes, done.depth)
        elif isinstance(event, AliasEvent):
            self._alias(event, line)
        elif isinstance(event, ScalarEvent):
            self._scalar(event, line)

    def _begin(self, event: CollectionStartEvent, line: int) -> None:
        _check_tag(event.tag, TREES, line)
        self._place(None, line)
        self._open.append(
            _Open(event.anchor, set() if isinstance(event, MappingStartEvent) else None)
        )
        if len(self._open) > DEPTH:
            raise _RefusedError(f"it is nested more than {DEPTH} levels deep", line)

    def _alias(self, event: AliasEvent, line: int) -> None:
        self._aliases += 1
        if self._aliases > ALIASES:
            raise _RefusedError(f"it has more than {ALIASES} aliases", line)
        if event.anchor not in self._known:
            raise _RefusedError(f"the alias `{event.anchor[:40]}` names itself or nothing", line)
        self._place(None, line)
        self._count(*self._known[event.anchor], line)

    def _scalar(self, event: ScalarEvent, line: int) -> None:
        _check_tag(event.tag, TAGS, line)
        if len(event.value) > LONGEST:
            raise _RefusedError(f"a value is longer than {LONGEST:,} characters", line)
        if "\0" in event.value:
            raise _RefusedError("a value holds the character NUL", line)
        self._place(event.value, line)
        self._count(1, 0, line)
        if event.anchor:
            self._known[event.anchor] = (1, 0)

    def _place(self, text: str | None, line: int) -> None:
        """Record the next node of the innermost list or mapping; a key must be text, and unique."""
        keys = self._open[-1].keys if self._open else None
        if keys is None:
            return
        inside = self._open[-1]
        if inside.key:
            if text is None:
                raise _RefusedError("a key is no text", line)
            if text in keys:
                raise _RefusedError(f"the key `{text[:80]}` is there twice", line)
            keys.add(text)
        inside.key = not inside.key

    def _count(self, nodes: int, depth: int, line: int) -> None:
        """Add a finished node to the list or mapping around it."""
        if not self._open:
            return
        inside = self._open[-1]
        inside.nodes += nodes
        inside.depth = max(inside.depth, depth + 1)
        if inside.nodes > NODES:
            raise _RefusedError(f"it holds more than {NODES:,} values, aliases included", line)
        if len(self._open) + depth > DEPTH:
            raise _RefusedError(f"it is nested more than {DEPTH} levels deep", line)


def _check_tag(tag: str | None, allowed: frozenset[str], line: int) -> None:
    # The tag `!` alone says that a value is text.
    if tag is not None and tag != "!" and tag not in allowed:
        raise _RefusedError(f"the tag `{tag[:80]}` is not plain data", line)
