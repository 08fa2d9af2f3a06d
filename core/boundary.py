"""The boundary to plugins: what they give is checked, and what they raise bears their name.

`guarded` returns a subclass of a plugin's class whose methods, those that its kind declares, go
through the boundary; what a method gives that has methods of its own (a session, a transform, a
joiner, another plugin) becomes such a subclass's, too. Whatever a method does, one of three things
comes out: a value of the type that the kind's annotation promises, a LuthierError that names the
plugin, its distribution and its file, or Ctrl-C.
"""

from __future__ import annotations

import errno
import functools
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, NoReturn, TypeVar

from core import promise
from core.errors import LuthierError, PluginError, StageError
from core.exchange import Joiner, Listed, Session, TorchModel, Transform
from core.kinds import KINDS, Plugin

__all__ = [
    "Origin",
    "Terminated",
    "anew",
    "called",
    "check_class",
    "failure",
    "guarded",
    "hold_the_process",
    "origin_of",
]

T = TypeVar("T")

TRACE = "see the whole trace: hydra.verbose=true"
ROOM = "free some room, or choose another place: store=/path/to/folder"
#: The mark that pluggy looks for at a method, and so the attribute of every hook of a reporter.
_HOOK = "luthier_impl"
#: Stands for an attribute that a class does not have.
_MISSING = object()
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Terminated(SystemExit):
    """The system asked this process to end (SIGTERM, say): nothing that a plugin did."""


class _Left(BaseException):
    """A plugin called what would have ended the process at once."""


@dataclass(frozen=True)
class Origin:
    """Whose code runs: a plugin by kind and name, with its distribution and file."""

    kind: str
    name: str
    distribution: str
    file: str

    def __str__(self) -> str:
        return f"{self.kind} `{self.name}`"

    @property
    def lines(self) -> tuple[str, str]:
        """Return where a person finds it."""
        return (f"distribution: {self.distribution}", f"file: {self.file}")


def origin_of(plugin: Plugin[Any]) -> Origin:
    """Return whose a plugin is; one that came past the registry is known by its file."""
    known: Origin | None = getattr(type(plugin), "_origin", None)
    if known is not None:
        return known
    cls = type(plugin)
    file = getattr(sys.modules.get(cls.__module__), "__file__", None) or "?"
    return Origin(cls.kind, cls.name, cls.__module__.partition(".")[0], file)


def anew(plugin: T) -> T:
    """Return a plugin as its options make it, without what it holds open or remembers."""
    return type(plugin)(plugin.options)  # type: ignore[attr-defined, call-arg]  # as every plugin is made


def failure(error: BaseException, what: str, *where: str) -> LuthierError:
    """Return the message for an error that nobody raised for a person; `what` failed, and `where`.

    What failed stands first (`quantizer `qdq``), the lines of where it is come after.
    """
    if isinstance(error, MemoryError):
        return StageError(
            f"{what} ran out of memory", *where, "choose a shorter window, or close other programs"
        )
    if isinstance(error, RecursionError):
        return StageError(f"{what} called itself without end: {error}", *where, TRACE)
    if type(error).__module__.partition(".")[0] == "safetensors":
        # It wraps the system's error, a full disk most often, in words of its own.
        return StageError(
            f"{what} could not read or write tensors: {error}",
            *where,
            ROOM if "No space left" in str(error) else TRACE,
        )
    if isinstance(error, OSError):
        return StageError(
            f"{what} could not read or write: {error.strerror or error}",
            *where,
            f"at: {error.filename}" if error.filename else "",
            ROOM if error.errno in _FULL else TRACE,
        )
    return StageError(f"{what} failed: {type(error).__name__}: {error}", *where, TRACE)


def _blamed(error: BaseException, origin: Origin, call: str) -> LuthierError:
    """Return the error for what came out of a plugin's method instead of a value."""
    where = (f"in: `{call}`", *origin.lines)
    if isinstance(error, SystemExit | _Left):
        how = f"sys.exit({error.code!r})" if isinstance(error, SystemExit) else str(error)
        return PluginError(
            f"{origin} would have ended the whole process: {how}",
            *where,
            "a plugin returns its result, or raises an error: `StageError` or `InputError`",
        )
    return failure(error, str(origin), *where)


def _raised(error: BaseException, origin: Origin, call: str) -> NoReturn:
    if isinstance(error, KeyboardInterrupt | Terminated):
        raise error
    if isinstance(error, LuthierError) and error.exit_code in range(1, 256):
        raise error
    raise _blamed(error, origin, call) from error


def called(origin: Origin, call: str, function: Callable[..., T], *args: Any) -> T:
    """Return what a function of a plugin gives; whatever else it does is a LuthierError."""
    # `left` finds this frame, and those of the other functions in `_GUARDS`, by their code.
    try:
        return function(*args)
    except BaseException as error:
        _raised(error, origin, call)


def _refuse(origin: Origin, call: str, wrong: str) -> NoReturn:
    raise PluginError(
        f"{origin} gave what it may not: `{call}` {wrong}"
        if not wrong.startswith((".", "["))
        else f"{origin} gave what it may not: `{call}`{wrong}",
        *origin.lines,
        "see what its kind promises: core/kinds.py, core/exchange.py",
    )


# The contracts ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Contract:
    """What one method promises: the check of what it returns, and what becomes of that."""

    check: promise.Check
    finish: Callable[[Any, Origin, str], Any] | None = None


#: What a type cannot say: of a method of a kind or class, more that must hold of what it returns.
_LAWS: dict[str, Callable[[Any], str]] = {
    "Chunker.window": lambda value: next(
        (f"[{axis!r}] is {size}, not 1 or more" for axis, size in value.items() if size < 1), ""
    ),
    "Chunker.split": lambda value: "" if value else "is empty: no window covers the input",
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
            found[name] = _contract(f"{base.__name__}.{name}", promise.returned(function))
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
            finish = functools.partial(_yielded, check=promise.check_of(each))
    of_type, law = promise.check_of(hint), _LAWS.get(method)
    if hint is type(None):
        # Nobody looks at what comes where nothing was promised.
        return _Contract(promise.check_of(Any))
    if law is None:
        return _Contract(of_type, finish)
    return _Contract(lambda value: of_type(value) or law(value), finish)


def _opened(model: TorchModel, origin: Origin, _: str) -> TorchModel:
    """Guard the forward pass of a model that was opened."""
    contract = _Contract(promise.check_of(promise.Tensors))
    return replace(model, reference=_guard(model.reference, contract, origin, "reference"))


def _yielded(
    values: Iterable[Any], origin: Origin, call: str, check: promise.Check
) -> Iterator[Any]:
    """Yield what a plugin yields, each looked at; the caller may stop in between."""
    stream = called(origin, call, iter, values)
    end = object()
    try:
        while (value := called(origin, call, next, stream, end)) is not end:
            wrong = check(value)
            if wrong:
                _refuse(origin, call, wrong)
            yield value
    finally:
        close = getattr(stream, "close", None)
        if close is not None:
            called(origin, call, close)


def _adopted(value: Any, origin: Origin, call: str, base: Any) -> Any:
    """Let the methods of what a plugin gave go through the boundary, too."""
    cls = type(value)
    if "_origin" in vars(cls):
        return value
    for name, check in promise.attributes(base).items() if base is Session else ():
        given = called(origin, f"{call}.{name}", getattr, value, name, None)
        wrong = check(given)
        if not wrong and name == "at_once" and given < 1:
            wrong = f"is {given}, not 1 or more"
        if wrong:
            _refuse(origin, f"{call}.{name}", wrong)
    try:
        object.__setattr__(value, "__class__", guarded(cls, origin))
    except TypeError as error:
        _refuse(origin, call, f"is of a class that cannot be derived from: {error}")
    return value


# The guards ------------------------------------------------------------------------------------


def guarded(cls: type[T], origin: Origin) -> type[T]:
    """Return the subclass of a plugin's class, or of what a plugin gave, that is checked.

    It goes by the same name, is made from the same options, and is pickled as what it derives from.
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
            if inspect.isfunction(attribute) and hasattr(attribute, _HOOK):
                names[name] = _hook(attribute, origin, name)
    make: Any = type(cls)
    made: type[T] = make(cls.__name__, (cls,), names)
    return made


def _bases(cls: type[Any]) -> Iterator[Any]:
    """Yield the classes of the core whose contract `cls` keeps."""
    every: tuple[Any, ...] = (*KINDS.values(), Session, Transform, Joiner)
    yield from (base for base in every if issubclass(cls, base))
    if issubclass(cls, Plugin) and issubclass(cls, Listed):
        yield Listed


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
            _raised(error, origin, name)
        wrong = check(value)
        if wrong:
            _refuse(origin, name, wrong)
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
        _refuse(origin, "run_many", f"gives {given} outputs for {wanted} windows")


def _hook(function: Callable[..., Any], origin: Origin, name: str) -> Callable[..., Any]:
    """Guard a hook of a reporter; what it returns, nobody looks at."""
    if not inspect.isgeneratorfunction(function):
        return _guard(function, _Contract(promise.check_of(Any)), origin, name)

    @functools.wraps(function)
    def around(*args: Any, **kwargs: Any) -> Any:
        try:
            return (yield from function(*args, **kwargs))
        except GeneratorExit:
            raise
        except BaseException as error:
            _raised(error, origin, name)

    return around


def _reduced(self: Any, protocol: Any) -> Any:
    """Pickle as the class that a guarded one derives from, with its origin."""
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


def check_class(cls: type[Plugin[Any]], origin: Origin) -> None:
    """Raise PluginError for a class whose attributes are not what its kind promises."""
    for name, check in promise.attributes(KINDS[origin.kind]).items():
        value = inspect.getattr_static(cls, name, _MISSING)
        if value is _MISSING:
            raise PluginError(
                f"{origin} lacks the attribute `{name}`", f"plugin: {cls.__name__}", *origin.lines
            )
        wrong = "" if hasattr(value, "__get__") and not isinstance(value, type) else check(value)
        if wrong:
            _refuse(origin, name, wrong)
    if origin.kind == "reporter":
        _check_hooks(cls, origin)


def _check_hooks(cls: type[Plugin[Any]], origin: Origin) -> None:
    """Refuse a hook that does not exist: pluggy alone would never call it, without a word."""
    from core import hooks

    known = [n for n in vars(hooks) if n.startswith(f"{hooks.PROJECT}_")]
    for name in dir(cls):
        marked = getattr(inspect.getattr_static(cls, name), _HOOK, None)
        if marked is None:
            continue
        hook = marked.get("specname") or name
        if hook not in known:
            _refuse(origin, name, f"is no hook; hooks: {', '.join(known)}")
        takes = set(inspect.signature(getattr(hooks, hook)).parameters)
        asked = [n for n in inspect.signature(getattr(cls, name)).parameters if n != "self"]
        wrong = [n for n in asked if n not in takes]
        if wrong:
            takes_words = ", ".join(sorted(takes)) or "nothing"
            _refuse(origin, name, f"takes `{wrong[0]}`, and the hook gives {takes_words}")


# Leaving the process ---------------------------------------------------------------------------

#: The code of the functions whose frames stand between the core and a plugin.
_GUARDS = (
    called.__code__,
    next(c for c in _guard.__code__.co_consts if getattr(c, "co_name", "") == "call"),
    next(c for c in _hook.__code__.co_consts if getattr(c, "co_name", "") == "around"),
)
_held = threading.Event()
#: Set in a process that a plugin forked: it is the plugin's own, and ends as that wants.
_foreign = threading.Event()


def hold_the_process() -> None:
    """Let no plugin end this process by `os._exit`, or put another program in its place.

    The exit status would be the plugin's, 0 say, and no result there. Called inside of a plugin
    they raise instead; elsewhere, and in what a plugin forks, they do what they always do. A
    library in C that ends the process itself is out of reach.
    """
    if _held.is_set():
        return
    _held.set()
    for name in ("_exit", "execv", "execve"):
        setattr(os, name, _holding(name, getattr(os, name)))
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forked)


def _holding(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def leave(*args: Any, **kwargs: Any) -> Any:
        if not _foreign.is_set():
            said = f"os.{name}({', '.join(map(repr, args))})"
            if _inside(_frame_of(threading.current_thread())) is not None:
                raise _Left(said)
            origin = _inside(_frame_of(threading.main_thread()))
            if origin is not None and name == "_exit":
                # Raised in a thread of the plugin's it would reach nobody.
                told = _blamed(_Left(said), origin, "a thread of its own")
                os.write(2, f"error: {told}\n".encode(errors="backslashreplace"))
                real(told.exit_code)
        return real(*args, **kwargs)

    return leave


def _frame_of(thread: threading.Thread) -> FrameType | None:
    # The only way to another thread's; asked for once, when a process is about to end.
    return sys._current_frames().get(thread.ident or 0)  # noqa: SLF001  # CPython's own interface


def _inside(frame: FrameType | None) -> Origin | None:
    """Return the plugin whose code runs at `frame`, if it is one's."""
    while frame is not None:
        if frame.f_code in _GUARDS:
            found: Origin = frame.f_locals["origin"]
            return found
        frame = frame.f_back
    return None


def _forked() -> None:
    if _inside(_frame_of(threading.current_thread())) is not None:
        _foreign.set()
