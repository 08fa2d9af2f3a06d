"""Luthier fits a PyTorch model to the device that will play it.

    import luthier

    run = luthier.run("cpu_fp32", input="song.flac")
    run.outputs["song"]["vocals"]

`run`, `plan`, `sweep`, `separate`, `open` and `list` do what the command line does. Everything else
is what a plugin imports: the kinds of plugin, the values that they exchange, `hookimpl`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any


def _check_core() -> None:
    """Raise ImportError if `core`, which is looked up by its name, is another project's."""
    found = importlib.util.find_spec("core")
    place = found.origin if found is not None else None
    ours = Path(__file__).resolve().parents[1] / "core" / "__init__.py"
    if place is None or not ours.is_file() or Path(place).resolve() != ours:
        raise ImportError(
            f"Luthier needs its own package `core`, and Python finds another one: {place}\n"
            f"  Luthier's is: {ours.parent}\n"
            "  start from another folder, or with the command `luthier`, which does not look for "
            "packages in the working folder"
        )


_check_core()

from core import *  # noqa: E402, F403  # what plugins import; checked above
from core import __all__ as _of_core  # noqa: E402
from core import __version__  # noqa: E402

if TYPE_CHECKING:
    from luthier.catalogue import Catalogue, list  # noqa: A004  # the word of the command line
    from luthier.opened import Opened
    from luthier.opening import open  # noqa: A004  # as a file is opened
    from luthier.outputs import Outputs
    from luthier.runs import Plan, PlannedStep, Run, plan, run
    from luthier.separation import Separated, separate
    from luthier.sweeps import Sweep, sweep

#: Where each name is that loads only once it is used: plugins import this package, too.
_PLACES = {
    "Catalogue": "catalogue",
    "Opened": "opened",
    "Outputs": "outputs",
    "Plan": "runs",
    "PlannedStep": "runs",
    "Run": "runs",
    "Separated": "separation",
    "Sweep": "sweeps",
    "list": "catalogue",
    "open": "opening",
    "plan": "runs",
    "run": "runs",
    "separate": "separation",
    "sweep": "sweeps",
}
#: `from luthier import *` leaves Python's own `list` and `open` as they are.
_BUILTINS = ("list", "open")
__all__ = [*_of_core, *(name for name in _PLACES if name not in _BUILTINS), "__version__"]  # noqa: PLE0604  # texts, all of them


def __getattr__(name: str) -> Any:
    """Load what runs recipes once it is used."""
    if name not in _PLACES:
        raise AttributeError(f"module `luthier` has no attribute `{name}`")
    return getattr(importlib.import_module(f"luthier.{_PLACES[name]}"), name)


def __dir__() -> Sequence[str]:
    """Return every public name."""
    return sorted([*__all__, *_BUILTINS])
