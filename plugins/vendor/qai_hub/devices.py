"""The devices of Qualcomm AI Hub: the one that a recipe names, and the list for `mode=doctor`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core import LuthierError, Notice, StageError
from core.machine.program import line
from plugins.vendor.qai_hub.account import find_account
from plugins.vendor.qai_hub.failures import explained

if TYPE_CHECKING:
    from plugins.vendor.qai_hub.account import Account

__all__ = ["Phone", "choose", "findings"]

#: How long `mode=doctor` waits for an answer, and how similar a suggested name must be.
PATIENCE_S = 6
ALIKE, NEAREST = 0.4, 5


@dataclass(frozen=True)
class Phone:
    """A device by the name and system version that the service knows it by."""

    name: str
    os: str


def choose(wanted: str, devices: Sequence[Any], account: Account) -> Phone:
    """Return the newest system of the device `wanted`; raises StageError with similar names."""
    fitting = [d for d in devices if d.name.casefold() == wanted.strip().casefold()]
    if fitting:
        # The service lists one entry for every version of Android on the device.
        newest = max(fitting, key=lambda d: _version(d.os))
        return Phone(newest.name, newest.os)
    names = list(dict.fromkeys(d.name for d in devices))
    near = difflib.get_close_matches(wanted, names, n=NEAREST, cutoff=ALIKE)
    raise StageError(
        f"{account.where} has no device `{wanted}`",
        f"nearest: {', '.join(near)}" if near else f"it has {len(names)} others",
        f"see them all: {line(['mode=doctor'])}",
        "choose one: runtime.device=..., or `ai_hub_device` in the target",
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def findings() -> Sequence[Notice]:
    """Return the devices that the account sees, or why there is no list; asks once, for seconds."""
    try:
        account = find_account()
    except LuthierError as error:
        return [Notice("warning", "; ".join((error.what, *error.lines)))]
    try:
        devices = _listed(account)
    except Exception as error:
        told = explained(error, account, "listing the devices")
        return [Notice("warning", "; ".join((told.what, *told.lines)))]
    names: dict[str, list[str]] = {}
    for device in devices:
        names.setdefault(device.name, []).append(device.os)
    shown = ", ".join(f"{name} ({', '.join(sorted(set(os)))})" for name, os in names.items())
    return [Notice("info", f"{len(names)} devices at {account.where}: {account.scrub(shown)}")]


def _listed(account: Account) -> Sequence[Any]:
    """Ask for the devices without the client's retries, which go on for most of a minute."""
    from qai_hub import api_utils
    from qai_hub import public_api_pb2 as pb
    from qai_hub.util.session import create_session

    config = account.client().config
    session = create_session(internal_retries=False, response_timeout_seconds=PATIENCE_S)
    answer = session.get(
        api_utils.api_url(config, "devices"), headers=api_utils.auth_header(config)
    )
    devices: Sequence[Any] = api_utils.response_as_protobuf(answer, pb.DeviceList).devices
    return devices
