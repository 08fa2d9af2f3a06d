"""One account in use: calls with explained errors, and this machine's record of its jobs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core import LuthierError, StageContext
from plugins.vendor.qai_hub import content, devices
from plugins.vendor.qai_hub.account import find_account
from plugins.vendor.qai_hub.failures import explained, is_local
from plugins.vendor.qai_hub.ledger import Ledger

if TYPE_CHECKING:
    from plugins.vendor.qai_hub.account import Account
    from plugins.vendor.qai_hub.patience import Waiting

__all__ = ["Hub", "hub_for"]

#: Objects of an account in one answer.
PAGE = 100


def hub_for(work: StageContext, patience: Waiting) -> Hub:
    """Return the account of this machine, in use; raises StageError when it cannot be used.

    Its record lies in the state folder of `qai_hub`, one for every user of a service.
    """
    account = find_account()
    work.progress(0, 0, f"signing in to {account.where}")
    return Hub(account, work, patience)


class Hub:
    """Uploads, submits and waits; every failure comes out as a StageError without the token."""

    def __init__(self, account: Account, work: StageContext, patience: Waiting) -> None:
        """Sign in; `work` provides the folder for temporary files."""
        from qai_hub import public_rest_api as rest

        self.account, self.work, self.patience = account, work, patience
        self.client = account.client()
        user = self.call("signing in", rest.get_auth_user, self.client.config)
        owner = content.job_name("user", [account.api_url, str(user.id)])
        self.ledger = Ledger(work.state("qai_hub") / owner)

    def call(self, doing: str, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """Call the client; its errors become a StageError."""
        try:
            return function(*given, **named)
        except LuthierError:
            raise
        except Exception as error:
            if is_local(error):
                raise
            # From None: the client's own words may hold a signed link, which a trace would show.
            raise explained(error, self.account, doing) from None

    def device(self, wanted: str) -> devices.Phone:
        """Return the device; raises StageError with the nearest names when there is none."""
        listed = self.call("looking for the device", self.client.get_devices)
        return devices.choose(wanted, listed, self.account)

    def lock(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Let one run at a time upload or submit under `name`; a wait is reported."""
        waits = "another run uploads or submits the same data; waiting for that run"
        return self.ledger.lock(name, lambda: self.work.progress(0, 0, waits))

    def forget(self, name: str) -> None:
        """Count the job as failed, so that the next try submits it under another name."""
        entry = self.ledger.read(name)
        self.ledger.write(replace(entry, id="", attempt=entry.attempt + 1))

    def pages(self, doing: str, ask: Callable[..., Any], field: str, most: int) -> Iterator[Any]:
        """Yield the objects of an account, newest first, from at most `most` answers."""
        for page in range(most):
            found = getattr(self.call(doing, ask, page * PAGE, PAGE), field)
            yield from found
            if len(found) < PAGE:
                return
