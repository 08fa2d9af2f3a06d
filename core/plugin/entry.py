"""A plugin as it was found: its class, with the distribution and file that it came from."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import (
    LuthierError,
    MissingLibraryError,
)
from core.plugin.boundary import called, guarded
from core.plugin.kinds import Plugin
from core.plugin.origin import Origin
from core.plugin.stages import Requirement
from core.plugin.values import Notice

__all__ = ["Entry"]


@dataclass(frozen=True)
class Entry:
    """A plugin class with the distribution and file that it came from."""

    kind: str
    name: str
    cls: type[Plugin[Any]]
    distribution: str
    file: str

    @property
    def origin(self) -> Origin:
        """Return the plugin's origin, for errors."""
        return Origin(self.kind, self.name, self.distribution, self.file)

    @property
    def summary(self) -> str:
        """Return the first line of the class's docstring."""
        return (inspect.getdoc(self.cls) or "").partition("\n")[0]

    @property
    def missing(self) -> tuple[Requirement, ...]:
        """Return the libraries that are not installed; imports none of them."""
        return tuple(lib for lib in self.cls.libraries if not _installed(lib.module))

    def problem(self) -> str:
        """Return why the plugin cannot run on this machine, and what mends it; empty if it can."""
        if self.missing:
            return "; ".join(
                f"{lib.module} is not installed: {lib.install}" for lib in self.missing
            )
        try:
            return called(self.origin, "unavailable", _class(self).unavailable)
        except LuthierError as error:
            return "; ".join((error.what, *error.lines))

    def findings(self) -> Sequence[Notice]:
        """Return further notices for `mode=doctor`; if the plugin fails, a warning that says so."""
        try:
            return called(self.origin, "findings", _class(self).findings)
        except LuthierError as error:
            # The printed line names the plugin already.
            said = error.what.removeprefix(f"{self.origin} failed: ")
            return [Notice("warning", f"its check failed: {said}")]

    def create(self, options: object) -> Plugin[Any]:
        """Make the plugin; raises MissingLibraryError with the exact install command.

        Whatever its methods do later is checked (core/plugin/boundary.py).
        """
        if self.missing:
            raise MissingLibraryError(
                f"{self.kind} `{self.name}` needs `{self.missing[0].module}`, not installed",
                *(f"install it: {lib.install}" for lib in self.missing),
            )
        return called(self.origin, "__init__", _class(self), options)


def _class(entry: Entry) -> type[Plugin[Any]]:
    return guarded(entry.cls, entry.origin)


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
