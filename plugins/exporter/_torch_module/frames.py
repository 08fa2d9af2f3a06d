"""Lines of a module's own code, told apart from those of PyTorch around it."""

from __future__ import annotations

import linecache
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

__all__ = ["Frame", "calling_frame", "frame_of_text", "frame_of_traceback", "is_users"]

#: The code of the exporters.
HERE = f"{Path(__file__).parents[1]}{os.sep}"
#: A place in a stack trace that PyTorch keeps as text.
WRITTEN = re.compile(
    r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<name>\S+)\n\s*(?P<code>.+)'
)


@dataclass(frozen=True)
class Frame:
    """A line of the module's code."""

    file: str
    line: int
    name: str = ""
    code: str = ""

    @classmethod
    def at(cls, file: str, line: int, name: str = "") -> Frame:
        """Return the frame with its code, where the file is there."""
        return cls(file, line, name, linecache.getline(file, line).strip())

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" + (f", in {self.name}" if self.name else "")
        return f"{place}: {self.code}" if self.code else place


def calling_frame() -> Frame | None:
    """Return the line of the module that runs now, called from a hook of PyTorch's."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001  # what `inspect.currentframe` gives, without this call
    while frame is not None and not frame.f_code.co_filename.startswith(HERE):
        if is_users(frame.f_code.co_filename):
            return Frame.at(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
        frame = frame.f_back
    return None


def frame_of_text(text: str) -> Frame | None:
    """Return the innermost line of the module in a stack trace that is kept as text."""
    frames = [
        Frame(found["file"], int(found["line"]), found["name"], found["code"].strip())
        for found in WRITTEN.finditer(text)
    ]
    own = [frame for frame in frames if is_users(frame.file)]
    return (own or frames)[-1] if frames else None


def frame_of_traceback(error: BaseException) -> Frame | None:
    """Return the innermost line of the module in a traceback."""
    own = [
        Frame(frame.filename, frame.lineno or 0, frame.name, frame.line or "")
        for frame in traceback.extract_tb(error.__traceback__)
        if is_users(frame.filename)
    ]
    return own[-1] if own else None


def is_users(file: str) -> bool:
    """Return whether a file belongs to neither PyTorch, Python nor the exporters here."""
    installed = "site-packages" in file or "dist-packages" in file
    if not installed and file.startswith(sysconfig.get_path("stdlib")):
        return False
    return not file.startswith(("<", HERE, *_libraries()))


def _libraries() -> Iterator[str]:
    for name in ("torch", "onnx", "onnxscript", "numpy"):
        module = sys.modules.get(name)
        if module is not None and module.__file__:
            yield f"{Path(module.__file__).parent}{os.sep}"


def _code(file: str, line: int) -> str:
    return linecache.getline(file, line).strip()
