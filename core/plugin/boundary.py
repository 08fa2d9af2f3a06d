"""The boundary to plugins: checks what they return, and names the plugin in their errors.

`guarded` returns a subclass of a plugin's class; the methods that its kind declares go through the
boundary. A returned object with methods of its own (a session, a transform, a joiner, another
plugin) gets such a subclass, too. Every method has one of three results: a value of the type that
the kind's annotation promises; a LuthierError, the plugin's own or one that names the plugin, its
distribution and its file; or an interruption (Ctrl-C, SIGTERM).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from core.plugin import annotation_checks
from core.plugin.kinds import KINDS, Plugin
from core.plugin.listable import ListableDataset
from core.plugin.origin import Origin, raised, refuse
from core.plugin.placement import Placement
from core.plugin.stages import Joiner, Session, TorchModel, Transform

__all__ = ["GUARDS", "HOOK", "called", "guarded", "read_contracts", "unlikely"]

T = TypeVar("T")

#: The attribute that pluggy looks for on a method; every hook of a reporter has it.
HOOK = "luthier_impl"
#: The classes of the core whose methods go through the boundary, in whatever derives from them.
_WITH_CONTRACT: tuple[Any, ...] = (*KINDS.values(), Session, Transform, Joiner)
#: Stands for an attribute that a class does not have.
_MISSING = object()


def called(origin: Origin, call: str, function: Callable[..., T], *args: Any) -> T:
    """Return the result of a plugin's function; turn any error into a LuthierError."""
    try:
        return function(*args)
    except BaseException as error:
        raised(error, origin, call)


@dataclass(frozen=True)
class _Contract:
    """The contract of one method: how its result is checked, and then wrapped."""

    check: annotation_checks.Check
    finish: Callable[[Any, Origin, str], Any] | None = None


def unlikely(placement: Placement | None) -> str:
    """Return why no trace can say this; empty where one can."""
    if placement is None:
        return ""
    for index, one in enumerate(placement.placed):
        if one.nodes < 0:
            return f".placed[{index}].nodes is {one.nodes}, below 0"
        if not one.device:
            return f".placed[{index}].device is empty"
    if not placement.source:
        return ".source is empty: it names the trace"
    if not placement.nodes:
        return ".placed counts no node; without a trace, return None"
    named, counted = len(placement.left), sum(one.nodes for one in placement.unasked)
    if named > counted:
        return f".left names {named} nodes that did not run as asked, and .placed counts {counted}"
    return ""


#: Checks of a method's result beyond its type, by class and method.
_LAWS: dict[str, Callable[[Any], str]] = {
    "Chunker.window": lambda value: next(
        (f"[{axis!r}] is {size}, not 1 or more" for axis, size in value.items() if size < 1), ""
    ),
    "Chunker.split": lambda value: "" if value else "is empty: no window covers the input",
    "Session.placement": unlikely,
    "Quantizer.calibration_windows": lambda value: "" if value >= 0 else f"is {value}, below 0",
}


@functools.cache
def _contracts(base: Any) -> dict[str, _Contract]:
    """Return the contract of every public method and property of a class of the core."""
    found: dict[str, _Contract] = {}
    for cls in reversed(base.__mro__):
        if cls.__module__.partition(".")[0] != "core":
            continue
        for name, attribute in vars(cls).items():
            function = attribute.fget if isinstance(attribute, property) else attribute
            if name.startswith("_") or not inspect.isfunction(function):
                continue
            found[name] = _contract(f"{base.__name__}.{name}", annotation_checks.returned(function))
    return found


def _contract(method: str, hint: Any) -> _Contract:
    origin = getattr(hint, "__origin__", hint)
    finish: Callable[[Any, Origin, str], Any] | None = None
    if isinstance(origin, type):
        if issubclass(origin, Plugin | Session | Transform | Joiner):
            finish = functools.partial(_adopted, base=origin)
        elif origin is TorchModel:
            finish = _opened
        elif issubclass(origin, Iterator):
            (each,) = hint.__args__
            finish = functools.partial(_yielded, check=annotation_checks.check_of(each))
    of_type, law = annotation_checks.check_of(hint), _LAWS.get(method)
    if hint is type(None):
        # A method that promises nothing may return anything.
        return _Contract(annotation_checks.check_of(Any))
    if law is None:
        return _Contract(of_type, finish)
    return _Contract(lambda value: of_type(value) or law(value), finish)


def _opened(model: TorchModel, origin: Origin, _: str) -> TorchModel:
    """Guard the forward pass of a model that was opened."""
    contract = _Contract(annotation_checks.check_of(annotation_checks.Tensors))
    return replace(model, reference=_guard(model.reference, contract, origin, "reference"))


def _yielded(
    values: Iterable[Any], origin: Origin, call: str, check: annotation_checks.Check
) -> Iterator[Any]:
    """Yield what a plugin yields, each value checked; the caller may stop in between."""
    stream = called(origin, call, iter, values)
    end = object()
    try:
        while (value := called(origin, call, next, stream, end)) is not end:
            wrong = check(value)
            if wrong:
                refuse(origin, call, wrong)
            yield value
    finally:
        close = getattr(stream, "close", None)
        if close is not None:
            called(origin, call, close)


def _adopted(value: Any, origin: Origin, call: str, base: Any) -> Any:
    """Let the methods of an object that a plugin returned go through the boundary, too."""
    cls = type(value)
    if "_origin" in vars(cls):
        return value
    for name, check in annotation_checks.attributes(base).items() if base is Session else ():
        given = called(origin, f"{call}.{name}", getattr, value, name, None)
        wrong = check(given)
        if not wrong and name == "at_once" and given < 1:
            wrong = f"is {given}, not 1 or more"
        if wrong:
            refuse(origin, f"{call}.{name}", wrong)
    try:
        object.__setattr__(value, "__class__", guarded(cls, origin))
    except TypeError as error:
        refuse(origin, call, f"is of a class that cannot be derived from: {error}")
    return value


def read_contracts() -> None:
    """Find out now what each method of every kind may return; else its first use finds it out."""
    for base in (*_WITH_CONTRACT, ListableDataset):
        _contracts(base)


def guarded(cls: type[T], origin: Origin) -> type[T]:
    """Return the checked subclass of `cls`: a plugin's class, or that of an object it returned.

    It has the same name, takes the same options, and is pickled as the class it derives from.
    """
    cache: dict[Origin, type[T]] = vars(cls).get("_guarded", {})
    if origin not in cache:
        cache[origin] = _subclass(cls, origin)
        cls._guarded = cache  # type: ignore[attr-defined]  # lives as long as the class
    return cache[origin]


def _subclass(cls: type[T], origin: Origin) -> type[T]:
    names: dict[str, Any] = {
        "__slots__": (),
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
        "__reduce_ex__": _reduced,
        "_origin": origin,
    }
    for base in _bases(cls):
        for name, contract in _contracts(base).items():
            attribute = inspect.getattr_static(cls, name, _MISSING)
            if attribute is not _MISSING:
                names[name] = _around(attribute, contract, origin, name)
    if issubclass(cls, Plugin) and cls.kind == "reporter":
        for name in dir(cls):
            attribute = inspect.getattr_static(cls, name)
            if inspect.isfunction(attribute) and hasattr(attribute, HOOK):
                names[name] = _hook(attribute, origin, name)
    make: Any = type(cls)
    made: type[T] = make(cls.__name__, (cls,), names)
    return made


def _bases(cls: type[Any]) -> Iterator[Any]:
    """Yield the classes of the core whose contract `cls` keeps.

    `issubclass` would ask every other plugin of the kind, too: that takes longer than to make it.
    """
    ancestors = cls.__mro__
    yield from (base for base in _WITH_CONTRACT if base in ancestors)
    if Plugin in ancestors and issubclass(cls, ListableDataset):
        yield ListableDataset


def _around(attribute: Any, contract: _Contract, origin: Origin, name: str) -> Any:
    if inspect.isfunction(attribute):
        return _guard(attribute, contract, origin, name)
    if isinstance(attribute, staticmethod | classmethod):
        return type(attribute)(_guard(attribute.__func__, contract, origin, name))
    if isinstance(attribute, property):
        get = attribute.fget or (lambda _: None)
        return property(_guard(get, contract, origin, name), attribute.fset, attribute.fdel)
    if isinstance(attribute, functools.cached_property):
        kept = attribute.__get__
        return property(_guard(lambda self: kept(self, type(self)), contract, origin, name))
    if hasattr(attribute, "__get__"):
        return attribute
    # A plain value in the place of a property or a method.
    wrong = contract.check(attribute)
    if wrong:
        return property(_guard(lambda _: attribute, contract, origin, name))
    return attribute


def _guard(
    function: Callable[..., Any], contract: _Contract, origin: Origin, name: str
) -> Callable[..., Any]:
    check, finish = contract.check, contract.finish
    counted = name == "run_many"

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            value = function(*args, **kwargs)
        except BaseException as error:
            if name == "resized" and isinstance(error, ValueError):
                raise  # its way of saying that it cannot have such windows
            raised(error, origin, name)
        wrong = check(value)
        if wrong:
            refuse(origin, name, wrong)
        if finish is None:
            return value
        finished = finish(value, origin, name)
        if counted:
            wanted = inspect.signature(Session.run_many).bind(*args, **kwargs).arguments["feeds"]
            return _as_many(finished, len(wanted), origin)
        return finished

    return functools.update_wrapper(call, function) if hasattr(function, "__name__") else call


def _as_many(outputs: Iterator[Any], wanted: int, origin: Origin) -> Iterator[Any]:
    """Yield one output for each window; a session that gives more or fewer is refused."""
    given = 0
    for one in outputs:
        given += 1
        if given <= wanted:
            yield one
    if given != wanted:
        refuse(origin, "run_many", f"gives {given} outputs for {wanted} windows")


def _hook(function: Callable[..., Any], origin: Origin, name: str) -> Callable[..., Any]:
    """Guard a hook of a reporter; its result is not checked."""
    if not inspect.isgeneratorfunction(function):
        return _guard(function, _Contract(annotation_checks.check_of(Any)), origin, name)

    @functools.wraps(function)
    def around(*args: Any, **kwargs: Any) -> Any:
        try:
            return (yield from function(*args, **kwargs))
        except GeneratorExit:
            raise
        except BaseException as error:
            raised(error, origin, name)

    return around


def _reduced(self: Any, protocol: Any) -> Any:
    """Pickle a guarded object as one of its unguarded class, with its origin."""
    cls = type(self)
    plain = cls.__mro__[1]
    made = super(cls, self).__reduce_ex__(protocol)
    if isinstance(made, str):
        return made
    function, args, *rest = made
    again = tuple(plain if one is cls else one for one in args)
    return (_restored, (cls._origin, function, again), *rest)


def _restored(origin: Origin, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    value = function(*args)
    object.__setattr__(value, "__class__", guarded(type(value), origin))
    return value


#: The code of the functions whose frames stand between the core and a plugin; each has an `origin`.
GUARDS = (
    called.__code__,
    next(c for c in _guard.__code__.co_consts if getattr(c, "co_name", "") == "call"),
    next(c for c in _hook.__code__.co_consts if getattr(c, "co_name", "") == "around"),
)
