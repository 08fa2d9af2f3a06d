"""Traces an error to the plugin that it comes from, with its distribution and file."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, NoReturn

from core.errors import TRACE, LuthierError, PluginError, StageError
from core.machine.remedy import is_of_the_place, remedy
from core.plugin.annotation_checks import inside
from core.plugin.kinds import Plugin

__all__ = [
    "Left",
    "Origin",
    "Terminated",
    "blamed",
    "failure",
    "interruption",
    "origin_of",
    "raised",
    "refuse",
]

STORE = "store=/path/to/folder"


class Terminated(SystemExit):
    """The system asked this process to end, by SIGTERM or SIGHUP: no plugin did."""


class Left(BaseException):
    """A plugin called a function that would have ended the process at once."""


@dataclass(frozen=True)
class Origin:
    """The plugin whose code runs: its kind and name, its distribution and file."""

    kind: str
    name: str
    distribution: str
    file: str

    def __str__(self) -> str:
        return f"{self.kind} `{self.name}`"

    @property
    def lines(self) -> tuple[str, str]:
        """Return the lines that say where it is."""
        return (f"distribution: {self.distribution}", f"file: {self.file}")


def origin_of(plugin: Plugin[Any]) -> Origin:
    """Return the origin of a plugin; if the registry does not know it, from its module's file."""
    known: Origin | None = getattr(type(plugin), "_origin", None)
    if known is not None:
        return known
    cls = type(plugin)
    file = getattr(sys.modules.get(cls.__module__), "__file__", None) or "?"
    return Origin(cls.kind, cls.name, cls.__module__.partition(".")[0], file)


def failure(error: BaseException, what: str, *where: str) -> LuthierError:
    """Return the LuthierError for an unexpected error; `what` failed, and `where`.

    `what` stands first (`quantizer `qdq``), and the lines of `where` come after.
    """
    if isinstance(error, MemoryError):
        return StageError(
            f"{what} ran out of memory", *where, "choose a shorter window, or close other programs"
        )
    if isinstance(error, RecursionError):
        return StageError(f"{what} called itself without end: {error}", *where, TRACE)
    if type(error).__module__.partition(".")[0] == "safetensors":
        # It wraps the system's error, most often a full disk, in its own words.
        return StageError(
            f"{what} could not read or write tensors: {error}",
            *where,
            remedy(error, STORE) if is_of_the_place(error) else TRACE,
        )
    if isinstance(error, OSError):
        return StageError(
            f"{what} could not read or write: {error.strerror or error}",
            *where,
            f"at: {error.filename}" if error.filename else "",
            remedy(error, STORE) if is_of_the_place(error) else TRACE,
        )
    return StageError(f"{what} failed: {type(error).__name__}: {error}", *where, TRACE)


def blamed(error: BaseException, origin: Origin, call: str) -> LuthierError:
    """Return the error for a plugin's method that raised `error` instead of returning a value."""
    where = (f"in: `{call}`", *origin.lines)
    if isinstance(error, SystemExit | Left):
        how = f"sys.exit({error.code!r})" if isinstance(error, SystemExit) else str(error)
        return PluginError(
            f"{origin} would have ended the whole process: {how}",
            *where,
            "a plugin returns its result, or raises an error: `StageError` or `InputError`",
        )
    return failure(error, str(origin), *where)


def interruption(error: BaseException) -> BaseException | None:
    """Return the Ctrl-C, or the system's `Terminated`, behind an error; None without one.

    It comes at any line. A library that cleans up there may fail, and its error then has the
    interruption as its context.
    """
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        behind = waiting.pop()
        if isinstance(behind, KeyboardInterrupt | Terminated):
            return behind
        if behind is not None and id(behind) not in seen:
            seen.add(id(behind))
            waiting += [behind.__context__, behind.__cause__]
    return None


def raised(error: BaseException, origin: Origin, call: str) -> NoReturn:
    """Raise a plugin's error: unchanged if it is a LuthierError, else as `blamed` returns it."""
    stopped = interruption(error)
    if stopped is not None:
        raise stopped
    if isinstance(error, LuthierError) and error.exit_code in range(1, 256):
        raise error
    raise blamed(error, origin, call) from error


def refuse(origin: Origin, call: str, wrong: str) -> NoReturn:
    """Raise the error for a value that the kind does not allow; `wrong` says why, after `call`."""
    raise PluginError(
        f"{origin} gave a value that is not allowed: {inside(f'`{call}`', wrong)}",
        *origin.lines,
        "see the rules of its kind: core/plugin/kinds.py, core/plugin/stages.py",
    )
