"""The plugins in the box. They come in through the same hooks as anybody's.

A file `plugins/<kind>/<name>.py` implements `luthier_plugins`; helper code of a kind lives in
packages beside it (`plugins/model/hybrid/`), what several kinds share of one vendor in packages
under `plugins/vendor/`. Packages are not searched.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import hookimpl
from core.errors import PluginError

if TYPE_CHECKING:
    from core.kinds import Plugin

HERE = Path(__file__).parent


@hookimpl
def luthier_plugins() -> Sequence[type[Plugin[Any]]]:
    """Return what every `plugins/<kind>/<name>.py` adds."""
    found: list[type[Plugin[Any]]] = []
    for kind in pkgutil.iter_modules([str(HERE)]):
        for module in pkgutil.iter_modules([str(HERE / kind.name)]):
            if not module.ispkg:
                found += _added_by(f"plugins.{kind.name}.{module.name}")
    return found


def _added_by(name: str) -> Sequence[type[Plugin[Any]]]:
    """Return the plugin classes of one file; raises PluginError when it fails or adds none."""
    file = HERE.joinpath(*name.split(".")[1:]).with_suffix(".py")
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"plugin file `{name}` cannot be imported: {type(error).__name__}: {error}",
            f"file: {file}",
            "mend it, or remove the file",
        ) from error
    if not hasattr(module, "luthier_plugins"):
        raise PluginError(
            f"`{name}` adds no plugin: it has no function `luthier_plugins`",
            f"file: {file}",
            "end the file with a `@hookimpl` function that returns its plugin classes",
            "helper code of a kind lives in a package beside its plugins",
        )
    try:
        return list(module.luthier_plugins())
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"`luthier_plugins` of `{name}` failed: {type(error).__name__}: {error}",
            f"file: {file}",
            "mend it, or remove the file",
        ) from error


@hookimpl
def luthier_recipes() -> Sequence[str]:
    """Return the folder of the recipes in the box."""
    return [str(HERE.parent / "recipes")]
