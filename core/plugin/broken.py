"""Installed code that cannot be used: a plugin, a file of plugins, or a distribution."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path

from core.errors import (
    LuthierError,
    PluginError,
)
from core.plugin.hooks import PROJECT

__all__ = ["Broken", "in_one_line", "last_line"]


@dataclass(frozen=True)
class Broken:
    """A plugin (by kind and name), a file or a distribution that cannot be used, and `why`.

    `kind` and `name` are empty where they are not known. If a distribution's hook cannot load one
    of its files, it returns one of these in place of the file's classes.
    """

    why: str
    file: str
    kind: str = ""
    name: str = ""
    distribution: str = ""

    def __str__(self) -> str:
        return self.error().what

    def error(self) -> PluginError:
        """Return the error for a recipe that needs it."""
        of = f"distribution `{self.distribution}`" if self.distribution else "a distribution"
        what = f"{self.kind} `{self.name}`" if self.kind and self.name else of
        return PluginError(
            f"{what} is broken: {self.why}",
            f"distribution: {self.distribution}" if self.distribution else "",
            f"file: {self.file}",
            "repair or remove it" + ("" if self.ours else f": pip uninstall {self.distribution}"),
        )

    @property
    def ours(self) -> bool:
        """Return whether it is a file of the box, or one that was put there."""
        return self.distribution in ("", PROJECT)


def last_line(error: BaseException) -> str:
    """Return the last line of an error's traceback, with the line of the file where it arose."""
    said = traceback.format_exception_only(error)[-1].strip() or type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError):
        return f"{said} ({Path(error.filename or '?').name}, line {error.lineno})"
    if not frames:
        return said
    return f"{said} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"


def in_one_line(error: LuthierError) -> str:
    """Return an error as one line, without the lines that `Broken` adds itself."""
    own = ("distribution: ", "file: ", "plugin: ")
    return "; ".join((error.what, *(line for line in error.lines if not line.startswith(own))))
