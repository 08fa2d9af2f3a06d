"""Checks values against annotations: finds None, a wrong type or NaN where it comes in.

The kinds of plugin declare in annotations what their methods return (`core/plugin/kinds.py`,
`core/plugin/stages.py`). The checks are derived from these, so that a new method is checked, too.
A value that is kept as JSON must have exactly a type that JSON returns: no NaN, no numpy number.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import re
import sys
import types
import typing
from collections import abc
from collections.abc import Callable
from typing import Any

__all__ = ["Check", "attributes", "check_of", "inside", "json_problem", "returned"]

#: Returns what is wrong with a value, in words that follow its name; empty if nothing is.
Check = Callable[[Any], str]

#: Integers of so many bits or more are not kept.
BITS = 64
#: Kinds of dtype that an array may have: float, integer, unsigned, boolean and complex.
NUMERIC = "fiubc"


class Tensors:
    """Stands for `core.plugin.values.Tensors`, which names numpy: a mapping of names to arrays."""


class _Unlike(str):
    """A problem with the type of a value, not with a part of a value of the right type."""

    __slots__ = ()


class _Names(dict[str, Any]):
    """Resolves the names in annotations that are imported for type checkers only."""

    def __missing__(self, name: str) -> Any:
        if name == "Array":
            return _array()
        for module in (
            "core.plugin.values",
            "core.plugin.stages",
            "core.plugin.kinds",
            "core.plugin.progress",
        ):
            found = getattr(sys.modules.get(module), name, None)
            if found is not None:
                return found
        raise KeyError(name)


def _names() -> _Names:
    # A torch module is not checked: loading torch takes seconds.
    torch = types.SimpleNamespace(nn=types.SimpleNamespace(Module=Any))
    return _Names(Tensors=Tensors, torch=torch)


def _array() -> Any:
    import numpy as np

    return np.ndarray


def returned(function: Callable[..., Any]) -> Any:
    """Return the type hint of the result of a function in the core's abstract classes."""
    hints = typing.get_type_hints(function, vars(sys.modules[function.__module__]), _names())
    return hints.get("return", Any)


@functools.cache
def attributes(cls: Any) -> dict[str, Check]:
    """Return the checks of the attributes that `cls` and its bases in the core annotate."""
    found: dict[str, Check] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.partition(".")[0] != "core":
            continue
        known = vars(sys.modules[base.__module__])
        names = _names()
        for name, hint in inspect.get_annotations(base).items():
            evaluated = eval(hint, known, names) if isinstance(hint, str) else hint  # noqa: S307  # an annotation in the core's own source
            if typing.get_origin(evaluated) is typing.ClassVar:
                (evaluated,) = typing.get_args(evaluated)
            found[name] = check_of(evaluated)
    return found


@functools.cache
def check_of(hint: Any) -> Check:
    """Return the check for a type hint; a hint without a constraint allows every value."""
    if hint in _LEAVES:
        return _LEAVES[hint]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or isinstance(hint, typing.TypeVar):
        return _anything
    if origin in (typing.Union, types.UnionType):
        return _any_of(hint, [check_of(one) for one in args])
    if origin is typing.Literal:
        return lambda value: "" if value in args else f"is {_shown(value)}, not one of {args}"
    if origin in _CONTAINERS:
        return _CONTAINERS[origin](hint, args)
    if origin is not None:
        return _instance(origin, hint)
    if dataclasses.is_dataclass(hint):
        return _fields(hint)
    return _instance(hint, hint)


def json_problem(value: Any) -> str:
    """Return why `value` would not survive JSON unchanged; empty if it would."""
    if isinstance(value, dict | list | tuple):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(value, dict) and type(key) is not str:
                return f"has the key {_shown(key)}, which is no text"
            wrong = json_problem(one)
            if wrong:
                return inside(f"[{key!r}]", wrong)
        return ""
    leaf = _LEAVES.get(type(value))
    return leaf(value) if leaf else _unlike(value, "text, a number, a list, a mapping or None")


def inside(place: str, wrong: str) -> str:
    """Return a problem of a part, with its place in front: `.facts['x'] is nan, ...`."""
    return f"{place}{wrong}" if wrong.startswith((".", "[")) else f"{place} {wrong}"


def _shown(value: object) -> str:
    """Return a value in a few words, whatever its own `repr` does."""
    kind = type(value)
    if kind in (bool, int, float, str, type(None)):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004  # of a line
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"of type `{module}{kind.__qualname__}`"


def _named(hint: Any) -> str:
    if hint is Tensors:
        return "a mapping of names to arrays"
    if isinstance(hint, type) and not typing.get_args(hint):
        return f"`{hint.__qualname__}`"
    return "`" + re.sub(r"\b(?:\w+\.)+(?=\w)", "", str(hint)) + "`"


def _unlike(value: object, promised: str) -> str:
    return _Unlike(f"is {_shown(value)}, not {promised}")


def _instance(cls: Any, hint: Any) -> Check:
    named = _named(hint)
    return lambda value: "" if isinstance(value, cls) else _unlike(value, named)


def _text(value: Any) -> str:
    if type(value) is not str:
        return _unlike(value, "`str`")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return f"is {ascii(value)[:60]}, which holds bytes that are no text"
    return ""


def _whole(value: Any) -> str:
    if type(value) is not int:
        return _unlike(value, "`int`")
    return "" if value.bit_length() < BITS else f"is a number of more than {BITS} bits"


def _number(value: Any) -> str:
    if type(value) is int:
        return _whole(value)
    if type(value) is not float:
        return _unlike(value, "`float`")
    return "" if math.isfinite(value) else f"is {value}, which is no finite number"


def _truth(value: Any) -> str:
    return "" if type(value) is bool else _unlike(value, "`bool`")


def _anything(_: Any) -> str:
    return ""


def _nothing(value: Any) -> str:
    return "" if value is None else _unlike(value, "None")


def _tensors(value: Any) -> str:
    if not isinstance(value, abc.Mapping):
        return _unlike(value, _named(Tensors))
    array = _array()
    for name, one in value.items():
        if type(name) is not str:
            return f"has the name {_shown(name)}, which is no text"
        if not isinstance(one, array):
            return f"[{name!r}] {_unlike(one, 'an array of numpy')}"
        if one.dtype.kind not in NUMERIC:
            return f"[{name!r}] is an array of `{one.dtype}`, not of numbers"
    return ""


_LEAVES: dict[Any, Check] = {
    str: _text,
    int: _whole,
    float: _number,
    bool: _truth,
    type(None): _nothing,
    None: _nothing,
    Tensors: _tensors,
}


def _any_of(hint: Any, checks: list[Check]) -> Check:
    named = _named(hint)

    def check(value: Any) -> str:
        deeper = ""
        for one in checks:
            wrong = one(value)
            if not wrong:
                return ""
            if not isinstance(wrong, _Unlike):
                deeper = wrong
        return deeper or _unlike(value, named)

    return check


def _sequence(cls: Any) -> Callable[[Any, tuple[Any, ...]], Check]:
    def make(hint: Any, args: tuple[Any, ...]) -> Check:
        named = _named(hint)
        if cls is tuple and Ellipsis not in args:
            return _row(named, [check_of(one) for one in args])
        each = check_of(args[0]) if args else check_of(Any)

        def check(value: Any) -> str:
            if not isinstance(value, cls) or isinstance(value, str | bytes):
                return _unlike(value, named)
            for index, one in enumerate(value):
                wrong = each(one)
                if wrong:
                    return inside(f"[{index}]", wrong)
            return ""

        return check

    return make


def _row(named: str, checks: list[Check]) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, tuple):
            return _unlike(value, named)
        if len(value) != len(checks):
            return f"has {len(value)} parts, not {len(checks)}"
        for index, (each, one) in enumerate(zip(checks, value, strict=True)):
            wrong = each(one)
            if wrong:
                return inside(f"[{index}]", wrong)
        return ""

    return check


def _mapping(cls: Any) -> Callable[[Any, tuple[Any, ...]], Check]:
    def make(hint: Any, args: tuple[Any, ...]) -> Check:
        named = _named(hint)
        of_key, of_value = map(check_of, args or (Any, Any))

        def check(value: Any) -> str:
            if not isinstance(value, cls):
                return _unlike(value, named)
            for key, one in value.items():
                wrong = of_key(key)
                if wrong:
                    return f"has the key {_shown(key)}, which {wrong}"
                wrong = of_value(one)
                if wrong:
                    return inside(f"[{key!r}]", wrong)
            return ""

        return check

    return make


def _stream(hint: Any, _: tuple[Any, ...]) -> Check:
    """Check that a value can be iterated; its items are checked as they come."""
    named = _named(hint)

    def check(value: Any) -> str:
        fits = isinstance(value, abc.Iterable) and not isinstance(value, str | bytes | abc.Mapping)
        return "" if fits else _unlike(value, named)

    return check


def _callable(*_: Any) -> Check:
    return lambda value: "" if callable(value) else _unlike(value, "a function")


def _class(*_: Any) -> Check:
    return lambda value: "" if isinstance(value, type) else _unlike(value, "a class")


_CONTAINERS: dict[Any, Callable[[Any, tuple[Any, ...]], Check]] = {
    tuple: _sequence(tuple),
    list: _sequence(list),
    set: _sequence(set),
    frozenset: _sequence(frozenset),
    abc.Sequence: _sequence(abc.Sequence),
    dict: _mapping(dict),
    abc.Mapping: _mapping(abc.Mapping),
    abc.Iterator: _stream,
    abc.Iterable: _stream,
    abc.Callable: _callable,
    type: _class,
}


def _fields(cls: Any) -> Check:
    named = _named(cls)

    @functools.cache
    def checks() -> list[tuple[str, Check]]:
        known = attributes(cls)
        return [(f.name, known.get(f.name) or check_of(Any)) for f in dataclasses.fields(cls)]

    def check(value: Any) -> str:
        if not isinstance(value, cls):
            return _unlike(value, named)
        for name, each in checks():
            wrong = each(getattr(value, name))
            if wrong:
                return inside(f".{name}", wrong)
        return ""

    return check
