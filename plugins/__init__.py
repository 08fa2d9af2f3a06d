"""The plugins in the box. They register through the same hooks as any other plugin.

A file `plugins/<kind>/<name>.py` implements `luthier_plugins`; helper code of a kind lives in
packages beside it (`plugins/model/_hybrid/`), what several kinds share of one vendor in packages
under `plugins/vendor/`. Packages are not searched. A file that fails to load affects no other.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import hookimpl
from core.plugin.broken import Broken, last_line
from core.plugin.origin import Terminated

if TYPE_CHECKING:
    from core.plugin.kinds import Plugin

HERE = Path(__file__).parent


@hookimpl
def luthier_plugins() -> Sequence[type[Plugin[Any]] | Broken]:
    """Return what every `plugins/<kind>/<name>.py` adds."""
    found: list[type[Plugin[Any]] | Broken] = []
    for kind in pkgutil.iter_modules([str(HERE)]):
        for module in pkgutil.iter_modules([str(HERE / kind.name)]):
            if not module.ispkg and not module.name.startswith("_"):
                found += _added_by(kind.name, module.name)
    return [*found, *_never_looked_at()]


def _added_by(kind: str, name: str) -> Sequence[type[Plugin[Any]] | Broken]:
    """Return the plugin classes of one file, or why there are none."""
    module_name, file = f"plugins.{kind}.{name}", str(HERE / kind / f"{name}.py")
    try:
        module = importlib.import_module(module_name)
        added = getattr(module, "luthier_plugins", None)
        if added is None:
            why = "it adds no plugin: end it with a `@hookimpl` function `luthier_plugins`"
            return [Broken(why, file, kind, name)]
        return list(added())
    except (KeyboardInterrupt, Terminated):
        raise
    except BaseException as error:
        return [Broken(last_line(error), file, kind, name)]


def _never_looked_at() -> Iterator[Broken]:
    """Yield the files that look like plugins and that Python cannot import."""
    for file in sorted(HERE.glob("*/*.py")):
        kind, name = file.parent.name, file.stem
        if file.name.startswith((".", "_")):
            continue
        if "." in name:
            why = "its name is not a module's: use letters, digits and underscores before `.py`"
            yield Broken(why, str(file), kind, name)
        elif not (file.parent / "__init__.py").is_file():
            why = f"its folder `{kind}` is not a kind: it has no `__init__.py`"
            yield Broken(why, str(file), kind, name)


@hookimpl
def luthier_recipes() -> Sequence[str]:
    """Return the folder of the recipes in the box."""
    return [str(HERE.parent / "recipes")]
