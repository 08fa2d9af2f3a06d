"""Waits for a job: reports its state, and explains why it failed or takes too long."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from core import DoesNotFitError, Fact, StageError
from plugins.vendor.qai_hub.failures import explained, is_gone, is_transient

if TYPE_CHECKING:
    from plugins.vendor.qai_hub.hub import Hub
    from plugins.vendor.qai_hub.ledger import Entry

__all__ = ["finished", "known", "times_of"]

WORDS = {
    "CREATED": "waits in the queue",
    "OPTIMIZING_MODEL": "compiles",
    "QUANTIZING_MODEL": "quantises",
    "LINKING_MODELS": "links",
    "PROVISIONING_DEVICE": "gets a device ready",
    "MEASURING_PERFORMANCE": "profiles on the device",
    "RUNNING_INFERENCE": "runs on the device",
}
#: JOB_FAILURE_TYPE_RUNTIME_OUT_OF_MEMORY and JOB_FAILURE_TYPE_RUNTIME_DEVICE_OOM.
NO_MEMORY_TYPES = (2004, 12001)
#: QNN's 1002 is QNN_COMMON_ERROR_MEM_ALLOC.
NO_MEMORY = re.compile(
    r"out.of.memory|\boom\b|mem_?alloc|(?:error|code)\D{0,12}1002\b", re.IGNORECASE
)
MINUTE = 60
#: How much of the service's own reason a message carries; the rest is a stack of frames.
REASON_WIDTH = 300


def known(hub: Hub, entry: Entry) -> bool:
    """Return whether the service still has a job that it gave an id for."""
    from qai_hub import public_rest_api as rest

    try:
        rest.get_job(hub.client.config, entry.id)
    except Exception as error:
        # Other failures are reported where the job is waited for.
        return not is_gone(error)
    return True


def finished(hub: Hub, entry: Entry) -> Any:
    """Wait for a job and return the service's description of it; raises StageError otherwise.

    A state that this client does not know is waited out like a known one, until the limit.
    """
    from qai_hub import public_api_pb2 as pb

    started = time.monotonic()
    state, quiet = "", ""
    while True:
        spent = time.monotonic() - started
        answer, problem = _asked(hub, entry)
        if answer is not None:
            detail = getattr(answer, answer.WhichOneof("job") or "", None)
            if detail is None:
                raise StageError(
                    f"job {entry.id} has a type that this client does not know",
                    hub.account.page(entry.id),
                    "install a newer client: pip install --upgrade qai-hub",
                )
            if detail.job_state == pb.JobState.JOB_STATE_DONE:
                return detail
            if detail.job_state == pb.JobState.JOB_STATE_FAILED:
                hub.forget(entry.name)
                raise _failed(hub, entry, answer, detail)
            state, quiet = _state(detail), ""
        else:
            quiet = f"; {problem.what if problem else 'no answer'}, asking again"
        if spent >= hub.patience.limit_s:
            raise _stalled(hub, entry, state, problem)
        message = f"job {entry.id} {state or 'has no known state yet'} ({_clock(spent)}){quiet}"
        hub.work.progress(spent, 0, f"{message}, {hub.account.page(entry.id)}")
        time.sleep(min(hub.patience.every_s, max(0.0, hub.patience.limit_s - spent)))


def _asked(hub: Hub, entry: Entry) -> tuple[Any, StageError | None]:
    """Ask for a job's state; an outage costs a request, not the run."""
    from qai_hub import public_rest_api as rest

    try:
        return rest.get_job(hub.client.config, entry.id), None
    except Exception as error:
        told = explained(error, hub.account, f"waiting for job {entry.id}")
        if is_transient(error):
            return None, told
        raise told from None


def _state(detail: Any) -> str:
    """Return a job's state in words; a number without a known name stands for itself."""
    from qai_hub import public_api_pb2 as pb

    names = {number: name for name, number in pb.JobState.items()}
    name = names.get(detail.job_state, "").removeprefix("JOB_STATE_")
    words = WORDS.get(name) or f"is in a state that this client does not know ({detail.job_state})"
    queued = _seconds(detail.creation_time, detail.start_time)
    return words if queued is None else f"{words}, after {_clock(queued)} in the queue"


def times_of(entry: Entry, page: str, detail: Any) -> dict[str, Fact]:
    """Return the job as facts: the address of its page, its waiting time and its run time."""
    spans = {
        "queue_s": _seconds(detail.creation_time, detail.start_time),
        "run_s": _seconds(detail.start_time, detail.completion_time),
    }
    known = {name: seconds for name, seconds in spans.items() if seconds is not None}
    return {"job": entry.id, "job_page": page, **known}


def _seconds(since: Any, until: Any) -> float | None:
    """Return the seconds between two of the service's times; None where one is not set."""
    first, last = since.ToNanoseconds(), until.ToNanoseconds()
    return max(0, last - first) / 1e9 if first and last else None


def _failed(hub: Hub, entry: Entry, answer: Any, detail: Any) -> StageError:
    details = getattr(detail, "error_details", "")
    said = f"{detail.failure_reason} {details}"
    short = " ".join((detail.failure_reason or details).split())[:REASON_WIDTH]
    reason = hub.account.scrub(short) or "it gives no reason"
    if answer.failure_type in NO_MEMORY_TYPES or NO_MEMORY.search(said):
        return DoesNotFitError(
            "the model does not fit: the device or its compiler ran out of memory",
            f"job {entry.id}: {reason}",
            hub.account.page(entry.id),
            "choose a shorter window, or 8-bit activations",
            cause="device memory",
            cacheable=False,  # the service may change its compiler at any time
        )
    return StageError(
        f"job {entry.id} of {hub.account.where} failed: {reason}",
        hub.account.page(entry.id),
        "its page has the logs; the same command submits it again",
    )


def _stalled(hub: Hub, entry: Entry, state: str, problem: StageError | None) -> StageError:
    last = f"it {state}" if state else "its state was never reported"
    return StageError(
        f"job {entry.id} was not done within {_clock(hub.patience.limit_s)}",
        last if problem is None else f"{last}; lately {problem.what}",
        hub.account.page(entry.id),
        "run the same command again to continue waiting: the job is not submitted twice",
        "or wait longer: runtime.time_limit_s=..., quantizer.time_limit_s=...",
    )


def _clock(seconds: float) -> str:
    if seconds < MINUTE:
        return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), MINUTE)
    return f"{minutes} min {rest} s" if minutes < MINUTE else f"{minutes / MINUTE:.1f} h"
