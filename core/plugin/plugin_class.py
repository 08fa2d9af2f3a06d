"""Checks that a plugin's class keeps the contract of its kind, before a plugin is made."""

from __future__ import annotations

import dataclasses
import inspect
import keyword
import sys
from typing import Any

from core.errors import PluginError
from core.plugin import annotation_checks, hooks
from core.plugin.boundary import HOOK
from core.plugin.kinds import KINDS, Plugin
from core.plugin.origin import Origin, refuse

__all__ = ["Checked", "checked"]

#: Kind, name, class, distribution and file.
Checked = tuple[str, str, type[Plugin[Any]], str, str]
_MISSING = object()


def checked(cls: object, distribution: str) -> Checked:
    """Return the kind, name, class, distribution and file of a plugin's class.

    Raises PluginError for a class that breaks the contract of its kind.
    """
    if not inspect.isclass(cls):
        raise PluginError(
            f"`luthier_plugins` of distribution `{distribution}` returned {cls!r}, not a class"
        )
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None) or "?"
    where = (f"plugin: {cls.__name__}", f"distribution: {distribution}", f"file: {file}")
    kind = next((k for k in KINDS.values() if issubclass(cls, k)), None)
    if kind is None or not issubclass(cls, Plugin):
        raise PluginError(
            f"`{cls.__name__}` is no plugin: it derives from none of the kinds",
            *where,
            f"kinds in `core`: {', '.join(k.__name__ for k in KINDS.values())}",
        )
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not name.isidentifier():
        raise PluginError(
            f"{kind.kind} `{cls.__name__}` has no usable `name`: {name!r}",
            *where,
            'give the class an attribute such as `name = "my_plugin"`',
        )
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        raise PluginError(
            f"{kind.kind} `{name}` lacks {', '.join(f'`{method}`' for method in missing)}", *where
        )
    if not (inspect.isclass(cls.Options) and dataclasses.is_dataclass(cls.Options)):
        raise PluginError(f"{kind.kind} `{name}`: `Options` is not a dataclass", *where)
    origin = Origin(kind.kind, name, distribution, file)
    _check_attributes(cls, origin)
    return kind.kind, name, cls, distribution, file


def _check_attributes(cls: type[Plugin[Any]], origin: Origin) -> None:
    """Raise PluginError for a class whose attributes are not what its kind promises."""
    for name, check in annotation_checks.attributes(KINDS[origin.kind]).items():
        value = inspect.getattr_static(cls, name, _MISSING)
        if value is _MISSING:
            raise PluginError(
                f"{origin} lacks the attribute `{name}`", f"plugin: {cls.__name__}", *origin.lines
            )
        wrong = "" if hasattr(value, "__get__") and not isinstance(value, type) else check(value)
        if wrong:
            refuse(origin, name, wrong)
    for limit in getattr(cls, "limits", ()):
        if not limit.isidentifier() or keyword.iskeyword(limit):
            refuse(origin, "limits", f"has the name `{limit}`, which no recipe can set")
    if origin.kind == "reporter":
        _check_hooks(cls, origin)


def _check_hooks(cls: type[Plugin[Any]], origin: Origin) -> None:
    """Refuse a hook that does not exist: pluggy alone would silently never call it."""
    known = [n for n in vars(hooks) if n.startswith(f"{hooks.PROJECT}_")]
    for name in dir(cls):
        marked = getattr(inspect.getattr_static(cls, name), HOOK, None)
        if marked is None:
            continue
        hook = marked.get("specname") or name
        if hook not in known:
            refuse(origin, name, f"is no hook; hooks: {', '.join(known)}")
        takes = set(inspect.signature(getattr(hooks, hook)).parameters)
        asked = [n for n in inspect.signature(getattr(cls, name)).parameters if n != "self"]
        wrong = [n for n in asked if n not in takes]
        if wrong:
            takes_words = ", ".join(sorted(takes)) or "nothing"
            refuse(origin, name, f"takes `{wrong[0]}`, and the hook gives {takes_words}")
