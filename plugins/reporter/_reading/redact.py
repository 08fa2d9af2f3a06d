"""Removes from a record what says nothing about the run and much about a person's machine.

Users send reports on: absolute paths become names, values of keys that look like secrets are
hidden, and so are passwords in URLs. Characters that a terminal would obey are spelt out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from core.machine.program import quoted, unquoted
from core.text.shown import HIDDEN, SECRET, cleaner, shown

if TYPE_CHECKING:
    from core.plugin.records import RunRecord, SweepRecord

__all__ = ["redacted", "redacted_option", "redacted_sweep"]

QUOTES = "'\""
# ONNX names nodes `/encoder.0/conv/Conv`; a path of this machine differs from those: its first
# folder exists.
POSIX = re.compile(r"(?<![\w./:~])/(?:[^\s/'\"]+/)+[^\s/'\",;:)\]]*")
WINDOWS = re.compile(r"(?<!\w)(?:[A-Za-z]:\\|\\\\)[^\s'\"]+")
NUMBER = re.compile(r"[-+]?[\d.]+(?:e[-+]?\d+)?", re.IGNORECASE)
SETTING = re.compile(r"^(?P<key>\s*(?:- )?[\w.@-]+): *(?P<value>\S.*)$")


def redacted(record: RunRecord) -> RunRecord:
    """Return `record` with no absolute path of this machine and no secret in it."""
    import msgspec

    from core.plugin.records import RunRecord

    plain = msgspec.to_builtins(record)
    for stage in plain["stages"]:
        artifact = stage["artifact"]
        artifact["path"] = _name(artifact["path"])
        artifact["folder"] = ""
    clean = cleaner()
    plain["config"] = "\n".join(_line(line, clean) for line in plain["config"].split("\n"))
    # It stays as `redacted_option` left it.
    again = _command(plain.pop("command"))
    return msgspec.convert({**_clean(plain, clean), "command": again}, RunRecord)


def redacted_sweep(record: SweepRecord) -> SweepRecord:
    """Return `record` with no absolute path and no secret in it or in its commands."""
    import msgspec

    from core.plugin.records import SweepRecord

    plain = msgspec.to_builtins(record)
    for axis in plain["axes"]:
        axis["values"] = [redacted_option(axis["key"], value) for value in axis["values"]]
    for point in plain["points"]:
        point["values"] = {
            key: redacted_option(key, value) for key, value in point["values"].items()
        }
        point["command"] = _command(point["command"])
    plain["command"] = _command(plain["command"])
    # These stay as `redacted_option` left them; `_clean` would hide a swept `max_tokens=8`.
    kept = [(point.pop("values"), point.pop("command")) for point in plain["points"]]
    plain = {**_clean(plain, cleaner()), "axes": plain["axes"], "command": plain["command"]}
    for point, (values, command) in zip(plain["points"], kept, strict=True):
        point.update(values=values, command=command)
    return msgspec.convert(plain, SweepRecord)


def redacted_option(key: str, value: str) -> str:
    """Return the value of an option without secrets and paths; a secret is no number."""
    if value and SECRET.search(key) and not NUMBER.fullmatch(value):
        return HIDDEN
    # Hydra's grammar puts a path into quotes; its name alone needs none.
    value = shown(value)
    return ",".join(_text(p.strip(QUOTES) if _is_path(p) else p) for p in value.split(","))


def _command(command: str) -> str:
    """Return a command line whose overrides hold no path of this machine and no secret."""
    command = shown(command)
    try:
        words = unquoted(command)
    except ValueError:  # an open quote: treated as a sentence
        return _text(command)
    split = (word.partition("=") for word in words)
    return quoted(
        [
            f"{key}={redacted_option(key, value)}" if equals else _text(key)
            for key, equals, value in split
        ]
    )


def _clean(node: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(node, dict):
        return {
            clean(key): HIDDEN
            if isinstance(inner, str) and inner and SECRET.search(key)
            else _clean(inner, clean)
            for key, inner in node.items()
        }
    if isinstance(node, list | tuple):
        return [_clean(inner, clean) for inner in node]
    return _text(clean(node)) if isinstance(node, str) else node


def _line(line: str, clean: Callable[[str], str]) -> str:
    """Return one line of YAML; a value that is a path may hold spaces."""
    line = clean(line)
    setting = SETTING.match(line)
    if setting is None:
        return _text(line)
    key, given = setting["key"], setting["value"]
    if SECRET.search(key) and given not in ("null", "''", "{}", "[]"):
        return f"{key}: {HIDDEN}"
    return f"{key}: {_text(given.strip(QUOTES) if _is_path(given) else given)}"


def _text(text: str) -> str:
    """Return text without absolute paths; one that is nothing but a path becomes its name."""
    if "\n" not in text and _is_path(text):
        return _name(text)
    text = POSIX.sub(lambda found: _name(found[0]) if _is_path(found[0]) else found[0], text)
    return WINDOWS.sub(lambda found: _name(found[0]), text)


def _is_path(text: str) -> bool:
    bare = text.strip(QUOTES)
    if re.match(r"[A-Za-z]:\\|\\\\\w", bare):
        return True
    return bare.startswith("/") and bare.count("/") > 1 and _exists(bare.split("/")[1])


@lru_cache(maxsize=256)
def _exists(first: str) -> bool:
    return bool(first) and Path("/", first).is_dir()


def _name(path: str) -> str:
    return PureWindowsPath(path).name if "\\" in path else PurePosixPath(path).name
