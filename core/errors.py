"""Every error that Luthier raises on purpose, with its exit code.

    LuthierError                 exit 1   what, where, what is possible, what to do next
    ├── ConfigError              exit 2   an invalid recipe, option, group or value
    ├── MisfitError              exit 2   two stages whose formats, axes or precision differ
    ├── PluginError              exit 2   a plugin that breaks its contract, or two with one name
    ├── MissingLibraryError      exit 2   a plugin whose library is not installed
    ├── InputError               exit 1   audio, images or checkpoints that cannot be read
    ├── StageError               exit 1   a stage that failed while it ran
    │   └── DoesNotFitError      exit 1   a graph that does not fit a device or a limit
    ├── StoreError               exit 1   the store or the run folder cannot be read or written
    ├── UnsafePathError          exit 1   a path in a file that leads out of its folder
    └── ContractError            exit 3   a run that finished, but broke its recipe's contract

Messages follow one shape: a first line in lower case with names in backticks, then indented
lines that say where it happened, what is possible and what to do next.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from core.text.shown import in_one_line, shown

__all__ = [
    "TRACE",
    "ConfigError",
    "ContractError",
    "DoesNotFitError",
    "InputError",
    "LuthierError",
    "MisfitError",
    "MissingLibraryError",
    "PluginError",
    "StageError",
    "StoreError",
    "UnsafePathError",
    "did_you_mean",
]

#: What is a name or a place in a line of a message; it may hold any character, and ends no line.
_NAMES = re.compile(r"`[^`]*`|^(?:at|from|item): .*", re.DOTALL)
#: The last line of the message for an unexpected error.
TRACE = "see the whole trace: hydra.verbose=true"


class LuthierError(Exception):
    """An error for a person to read: `what`, then `lines`: where, what is possible, what next.

    Both may quote untrusted text: control characters are escaped, credentials hidden.
    """

    exit_code = 1

    def __init__(self, what: str, *lines: str) -> None:
        self.what = _shown(what)
        self.lines = tuple(_shown(line) for line in lines if line)
        super().__init__("\n  ".join((self.what, *self.lines)))


def _shown(line: str) -> str:
    return _NAMES.sub(lambda found: in_one_line(found[0]), shown(line))


class ConfigError(LuthierError):
    """An invalid recipe, option, group or value."""

    exit_code = 2


class MisfitError(LuthierError):
    """Two stages that do not fit; raised by the plan, before anything runs."""

    exit_code = 2


class PluginError(LuthierError):
    """A plugin that breaks its contract; names the plugin, its distribution and its file."""

    exit_code = 2


class MissingLibraryError(LuthierError):
    """A plugin whose library is not installed; holds the exact install command."""

    exit_code = 2


class InputError(LuthierError):
    """A file from the user that is missing, damaged or of another kind."""


class StageError(LuthierError):
    """A stage that failed while it ran."""


class DoesNotFitError(StageError):
    """A graph that does not fit a device, or a limit set for its compiler.

    Unlike other failures this is a verdict, which the store may keep (`core/plan/feasibility.py`).
    `cause` names in a word or two what ran out. `cacheable` is false where the same compiler with
    the same limits may succeed next time, for example because the system killed it. `seconds` and
    `peak_memory_mb` are what the attempt took; the run fills them in.
    """

    def __init__(self, what: str, *lines: str, cause: str, cacheable: bool = True) -> None:
        super().__init__(what, *lines)
        self.cause = cause
        self.cacheable = cacheable
        self.seconds = 0.0
        self.peak_memory_mb = 0.0


class StoreError(LuthierError):
    """The store or the run folder cannot be read or written."""


class UnsafePathError(LuthierError):
    """A path that was read from a file and leads out of its folder; nothing was touched there."""


class ContractError(LuthierError):
    """A result that breaks the recipe's contract; no part of it is shipped."""

    exit_code = 3


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return "did you mean `x`?" for the names in `known` nearest to `wrong`, or nothing."""
    near = difflib.get_close_matches(wrong, list(known), n=2, cutoff=0.6)
    return f"did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else ""
