"""Every way in which the client, its storage or the network fails, as one message for a person."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from core import StageError

if TYPE_CHECKING:
    from plugins.vendor.qai_hub.account import Account

__all__ = ["cause_of", "explained", "is_gone", "is_local", "is_transient"]

Cause = Literal[
    "token", "slow_down", "unavailable", "too_large", "outdated", "gone", "cut", "silent",
    "unreachable", "strange", "storage", "refused",
]  # fmt: skip
#: How much of the service's own words a message carries.
WORDS = 300
_BOX = re.compile(r"[┌┐└┘─|\s]+")
_TOO_MANY = re.compile(r"too many (\d{3}) error responses")


def is_transient(error: BaseException) -> bool:
    """Return whether a repeated request may help later, where repeating it costs nothing."""
    return cause_of(error) in ("slow_down", "unavailable", "cut", "silent", "unreachable")


def is_gone(error: BaseException) -> bool:
    """Return whether the service lacks the object: it is deleted, or another account's."""
    return cause_of(error) == "gone"


def is_local(error: BaseException) -> bool:
    """Return whether this machine's disk failed, which the core explains better.

    Errors of the network are OSErrors too.
    """
    return isinstance(error, OSError) and cause_of(error) == "refused"


def cause_of(error: BaseException) -> Cause:
    """Return the kind of failure that an error of the client stands for.

    The client wraps most errors that it catches; the error's causes tell the true one.
    """
    for link in _chain(error):
        status = _status(link)
        named = _by_status(status) if status is not None else _by_type(link)
        if named is not None:
            return named
    return "refused"


def explained(error: BaseException, account: Account, doing: str) -> StageError:
    """Return the message for an error that came up while `doing` (as "uploading the model")."""
    cause, hub = cause_of(error), account.where
    words = account.scrub(_BOX.sub(" ", str(error)).strip())[:WORDS]
    again = "nothing is lost: jobs and uploads are remembered; run the same command again"
    at = f"while {doing}"
    if cause == "token":
        return StageError(
            f"{hub} refused the token: it is wrong or has expired",
            f"the token comes from {account.source}",
            f"get a new one: {account.web_url.rstrip('/')}/account/, "
            "then: qai-hub configure --api_token ...",
        )
    if cause == "slow_down":
        return StageError(f"{hub} asks to slow down (HTTP 429)", at, f"in some minutes: {again}")
    if cause == "unavailable":
        return StageError(f"{hub} is not available now", at, _said(words), again)
    if cause == "too_large":
        return StageError(
            f"{hub} refuses the upload as too large", at, _said(words),
            "send less in one job: runtime.job_mb=..., quantizer.windows=...",
        )  # fmt: skip
    if cause == "outdated":
        return StageError(
            f"{hub} no longer supports this version of its client", at,
            "install a newer one: pip install --upgrade qai-hub",
        )  # fmt: skip
    if cause == "gone":
        return StageError(f"{hub} does not have the requested item", at, _said(words), again)
    if cause == "strange":
        return StageError(
            f"the server at {account.api_url} is not Qualcomm AI Hub", at, _said(words),
            "a proxy or a login page may have answered; check the address and the network",
        )  # fmt: skip
    short = {
        "cut": f"the connection to {hub} was cut",
        "silent": f"{hub} did not answer in time",
        "unreachable": f"{hub} cannot be reached",
        "storage": f"the storage of {hub} refused",
    }.get(cause)
    if short is not None:
        return StageError(short, at, _said(words), again)
    return StageError(f"{hub} refused", at, _said(words))


def _said(words: str) -> str:
    return f"it said: {words}" if words else ""


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in found:
        found.append(link)
        link = link.__cause__ or link.__context__
    return found


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that an error stands for, wherever its class keeps it."""
    direct = getattr(error, "status_code", None)
    if isinstance(direct, int):
        return direct
    many = _TOO_MANY.search(str(error))
    return int(many[1]) if many else None


def _by_status(status: int) -> Cause | None:
    known: dict[int, Cause] = {
        401: "token", 404: "gone", 410: "gone", 413: "too_large", 426: "outdated", 429: "slow_down",
    }  # fmt: skip
    if 200 <= status < 300:  # noqa: PLR2004  # success, but not in the client's own protocol
        return "strange"
    return known.get(status) or ("unavailable" if 500 <= status < 600 else None)  # noqa: PLR2004


def _by_type(error: BaseException) -> Cause | None:
    """Return the cause that a class of the client, the network or the storage library names."""
    from google.protobuf.message import DecodeError
    from qai_hub.client import RateLimitedError, UserError
    from requests import JSONDecodeError

    text = str(error)
    if isinstance(error, RateLimitedError):
        return "slow_down"
    if isinstance(error, UserError):
        return (
            "token"
            if "authenticate" in text
            else ("gone" if "could not be found" in text else None)
        )
    if isinstance(error, DecodeError | JSONDecodeError):
        return "strange"
    if isinstance(error, AssertionError) and "ETag" in text:
        return "storage"
    return _by_network(error) or _by_storage(error)


def _by_network(error: BaseException) -> Cause | None:
    from requests import exceptions as http

    text = str(error)
    if isinstance(error, http.ChunkedEncodingError | http.ContentDecodingError):
        return "cut"
    # A timeout during the retries comes as a ConnectionError.
    if isinstance(error, http.Timeout) or (
        isinstance(error, http.ConnectionError) and re.search(r"timed? ?out", text, re.IGNORECASE)
    ):
        return "silent"
    if isinstance(error, http.ConnectionError):
        cut = re.search(r"reset|aborted|broken pipe|RemoteDisconnected", text, re.IGNORECASE)
        return "cut" if cut else "unreachable"
    return "cut" if isinstance(error, ConnectionError) else None


def _by_storage(error: BaseException) -> Cause | None:
    from botocore import exceptions as boto
    from s3transfer import exceptions as transfer

    if isinstance(error, boto.ReadTimeoutError | boto.ConnectTimeoutError):
        return "silent"
    if isinstance(error, boto.EndpointConnectionError):
        return "unreachable"
    if isinstance(
        error, boto.HTTPClientError | boto.IncompleteReadError | transfer.RetriesExceededError
    ):
        return "cut"
    if isinstance(error, boto.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return _by_status(status) if status in (429, *range(500, 600)) else "storage"
    return "storage" if isinstance(error, boto.BotoCoreError) else None
