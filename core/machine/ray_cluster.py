"""Joins a Ray cluster, or starts one of this machine alone, with no output on the terminal."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from core.errors import StageError

__all__ = ["joined", "quiet"]

#: Bytes. This is Ray's least; only paths and lines of text pass through its memory.
_MEMORY = 80 * 2**20
#: Ray's address of this machine alone.
LOCAL = "local"
#: Seconds that a cluster has to accept a connection.
PATIENCE_S = 10.0
#: Read when Ray is imported.
_ENVIRONMENT = {
    # Otherwise Ray warns how a later version treats accelerators, which nobody here asked for.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Equal lines of several workers are shown one by one, and without colours.
    "RAY_DEDUP_LOGS": "0",
    "RAY_COLOR_PREFIX": "0",
}


def quiet() -> None:
    """Set the variables that Ray reads when it is imported, so that it prints nothing."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextmanager
def joined(init: Mapping[str, Any], instead: str) -> Iterator[None]:
    """Join the cluster at `address` of `init`, the arguments of `ray.init`.

    Without one the variable `RAY_ADDRESS` gives it; without that, Ray starts on this machine alone
    and ends with the block. Raises StageError, which says what can be done `instead`, if Ray cannot
    be reached or started.
    """
    quiet()
    if not init.get("log_to_driver", True):
        # Ray's C++ half writes to the driver's terminal, past every logger: only fatal errors may.
        # If the output of workers is shown, each would begin by reporting this setting.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    if ray.is_initialized():
        yield
        return
    given = {name: value for name, value in init.items() if value is not None}
    # Without an address Ray would join whatever cluster somebody left running on this machine.
    address = given.pop("address", None) or os.environ.get("RAY_ADDRESS") or LOCAL
    # Ray refuses these options from those who join a cluster: they belong to its start.
    alone = {"include_dashboard": False, "object_store_memory": _MEMORY}
    ours = alone if address == LOCAL else {}
    try:
        _knock(address)
        with _nothing_on_stderr(), _own_signals():
            ray.init(**{"address": address, "logging_level": logging.ERROR, **ours, **given})
    except (ConnectionError, RuntimeError, TypeError, ValueError, OSError) as error:
        raise StageError(
            "Ray cannot be started" if ours else "Ray cannot be reached",
            "" if ours else f"at: {address}",
            next(iter(str(error).strip().splitlines()), type(error).__name__),
            "" if ours else f"see whether it runs: ray status --address={address}",
            instead,
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError where nothing listens at `host:port`: Ray itself would try for five minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE_S).close()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's handler of SIGTERM; that of Ray would print addresses and abort."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if before is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _nothing_on_stderr() -> Iterator[None]:
    """Silence standard error of this process, and of those that it starts, during the block.

    Ray's C++ half reports there that it was set to be silent.
    """
    with ExitStack() as restored:
        with suppress(OSError):  # there may be no standard error at all
            before = os.dup(2)
            restored.callback(os.close, before)
            nothing = os.open(os.devnull, os.O_WRONLY)
            restored.callback(os.close, nothing)
            os.dup2(nothing, 2)
            restored.callback(os.dup2, before, 2)
        yield
