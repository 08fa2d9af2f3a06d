"""Jobs of the service: each is submitted once, waited for, and described as facts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from core import Fact
from plugins.vendor.qai_hub import content, submitting, waiting

if TYPE_CHECKING:
    from plugins.vendor.qai_hub.hub import Hub
    from plugins.vendor.qai_hub.submitting import Submit

__all__ = ["Job", "Kind", "finished_job"]

Kind = Literal["compile", "quantize", "inference"]


@dataclass(frozen=True)
class Job:
    """A finished job: its id and page, and the service's description (`detail`, a message)."""

    id: str
    page: str
    name: str
    detail: Any
    facts: dict[str, Fact]


def finished_job(hub: Hub, kind: Kind, of: Sequence[str], prepare: Callable[[], Submit]) -> Job:
    """Return the finished job that computes `of`, submitted once ever.

    `prepare` uploads what the job needs, where it is not there yet, and returns the function
    that submits it under a name; neither is called for a job that exists.
    """
    name = content.job_name(kind, of)
    with hub.lock(name):
        entry = hub.ledger.read(name)
        if not entry.id or not waiting.known(hub, entry):
            entry = submitting.submitted(hub, kind, entry, prepare)
    detail = waiting.finished(hub, entry)
    page = hub.account.page(entry.id)
    return Job(entry.id, page, name, detail, waiting.times_of(entry, page, detail))
