"""Keeps Luthier's use of Hydra apart from that of the program which it runs in.

Hydra holds its state in singletons of the process: what is stored under `model`, which config is
the current one, whether it is initialised. A notebook or a program may use Hydra for itself. So
Luthier has singletons of its own, which take the place of the program's while Luthier works.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton

__all__ = ["own_hydra"]

#: Hydra's state belongs to the process, so calls from several threads run one after the other.
_LOCK = threading.RLock()
_OWN: dict[type, Any] = {}
#: What Hydra's store has before anybody adds to it.
_OF_HYDRA = ("hydra", "_dummy_empty_config_.yaml")
#: Hydra prints errors in its own way unless it is told to let them through.
_ERRORS = "HYDRA_FULL_ERROR"


def _forked() -> None:
    """Take a new lock in a forked process: a thread that stayed behind may hold the old one."""
    global _LOCK  # noqa: PLW0603  # the old one is never released here
    _LOCK = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@contextmanager
def own_hydra() -> Iterator[None]:
    """Give Hydra the state that belongs to Luthier while the block runs, then the program's again.

    A second thread waits until the first one is done.
    """
    with _LOCK:
        theirs, arguments, errors = Singleton._instances, sys.argv, os.environ.get(_ERRORS)  # noqa: SLF001  # Hydra's own way copies the whole state, and drops its plugins
        patched = "__deepcopy__" in vars(ConfigStore)
        Singleton._instances = _own(theirs)  # noqa: SLF001  # see above
        os.environ[_ERRORS] = "1"
        try:
            yield
        finally:
            Singleton._instances = theirs  # noqa: SLF001  # see above
            sys.argv = arguments
            if errors is None:
                del os.environ[_ERRORS]
            else:
                os.environ[_ERRORS] = errors
            if not patched and "__deepcopy__" in vars(ConfigStore):
                # `register` sets it, which makes composing faster; others may rely on copies.
                delattr(ConfigStore, "__deepcopy__")


def _own(theirs: dict[type, Any]) -> dict[type, Any]:
    """Return Luthier's singletons: a store with Hydra's part alone, and Hydra's found plugins."""
    if not _OWN:
        Plugins.instance()  # and with it the registry of what reads configs
        before = ConfigStore.instance()
        own = object.__new__(ConfigStore)
        own.repo = {name: before.repo[name] for name in _OF_HYDRA if name in before.repo}
        apart = (ConfigStore, GlobalHydra, HydraConfig)
        _OWN.update({cls: one for cls, one in theirs.items() if cls not in apart})
        _OWN[ConfigStore] = own
    return _OWN
