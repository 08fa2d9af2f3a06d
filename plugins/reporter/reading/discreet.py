"""Takes out of a record what says nothing about the run and much about a person's machine.

A report is made to be sent on: absolute paths become names, and the values of keys that look
like secrets are hidden.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.record import RunRecord

__all__ = ["discreet"]

SECRET = re.compile(r"token|secret|password|passwd|api_?key|credential", re.IGNORECASE)
HIDDEN = "(hidden)"
QUOTES = "'\""
# ONNX names nodes `/encoder.0/conv/Conv`; what tells a path of this machine from those is that
# its first folder exists.
POSIX = re.compile(r"(?<![\w./:~])/(?:[^\s/'\"]+/)+[^\s/'\",;:)\]]*")
WINDOWS = re.compile(r"(?<!\w)(?:[A-Za-z]:\\|\\\\)[^\s'\"]+")
SETTING = re.compile(r"^(?P<key>\s*(?:- )?[\w.@-]+): *(?P<value>\S.*)$")


def discreet(record: RunRecord) -> RunRecord:
    """Return `record` with no absolute path of this machine and no secret in it."""
    import msgspec

    from core.record import RunRecord

    plain = msgspec.to_builtins(record)
    for stage in plain["stages"]:
        artifact = stage["artifact"]
        artifact["path"] = _name(artifact["path"])
        artifact["folder"] = ""
    plain["config"] = "\n".join(_line(line) for line in plain["config"].split("\n"))
    return msgspec.convert(_clean(plain), RunRecord)


def _clean(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: HIDDEN
            if isinstance(inner, str) and inner and SECRET.search(key)
            else _clean(inner)
            for key, inner in node.items()
        }
    if isinstance(node, list | tuple):
        return [_clean(inner) for inner in node]
    return _text(node) if isinstance(node, str) else node


def _line(line: str) -> str:
    """Return one line of YAML; a value that is a path may hold spaces."""
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
