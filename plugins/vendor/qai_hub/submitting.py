"""Submits a job once: an intent on disk before it, its id after; an existing job is adopted."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from core import StageError

if TYPE_CHECKING:
    from plugins.vendor.qai_hub.hub import Hub
    from plugins.vendor.qai_hub.ledger import Entry

__all__ = ["Submit", "submitted"]

#: Answers that are searched for a job of a name, each of a hundred jobs.
PAGES = 10

#: Submits a job of the client under a name, and returns it.
Submit = Callable[[str], Any]


@dataclass(frozen=True)
class _Found:
    id: str
    name: str
    created: int
    failed: bool


def submitted(hub: Hub, kind: str, entry: Entry, prepare: Callable[[], Submit]) -> Entry:
    """Return the entry with the id of its job: the existing one, or a new one.

    The caller holds the entry's lock. The intent is on disk before the job is submitted. The
    client repeats a POST that failed without knowing whether it counted (0.56.0), so one
    submission may make two jobs: the first is used, the other reported.
    """
    entry, there = _already(hub, kind, entry)
    there = [job for job in there if not job.failed]
    if there:
        hub.work.progress(0, 0, f"continues with job {there[0].id}, submitted before")
    else:
        submit = prepare()
        hub.ledger.write(entry)
        hub.work.progress(0, 0, f"submitting the {kind} job")
        problem: Exception | None = None
        answered = ""
        try:
            answered = hub.call(f"submitting the {kind} job", submit, entry.submitted_as).job_id
        except StageError as error:
            problem = error
        _, there = _already(hub, kind, entry, lately=True)
        # The list of jobs may lag behind the jobs.
        there = there or ([_Found(answered, entry.name, 0, failed=False)] if answered else [])
        if not there:
            assert problem is not None, "a submission either gives an id or raises"
            raise problem
    if len(there) > 1:
        others = ", ".join(job.id for job in there[1:])
        hub.work.progress(0, 0, f"job {there[0].id} is used; its repetition {others} is not")
    entry = replace(entry, id=there[0].id)
    hub.ledger.write(entry)
    return entry


def _already(
    hub: Hub, kind: str, entry: Entry, *, lately: bool = False
) -> tuple[Entry, list[_Found]]:
    """Return the jobs of this name, oldest first, for the entry's present attempt.

    A failed attempt is followed by another one. A job submitted `lately` is on the first page,
    because the service lists the newest first, and may have failed already.
    """
    from qai_hub import public_api_pb2 as pb
    from qai_hub import public_rest_api as rest

    of_kind = pb.JobType.Value(f"JOB_TYPE_{kind.upper()}")

    def ask(offset: int, limit: int) -> Any:
        return rest.get_job_summary_list(hub.client.config, offset, limit, job_type=of_kind)

    ours = re.compile(rf"{re.escape(entry.name)}(?:-(\d+))?")
    found: dict[int, list[_Found]] = {}
    doing, most = "looking for a job submitted before", 1 if lately else PAGES
    for listed in hub.pages(doing, ask, "job_summaries", most):
        one = getattr(listed, listed.WhichOneof("job") or "", None)
        match = ours.fullmatch(one.name) if one is not None else None
        if one is None or match is None:
            continue
        failed = one.job_state == pb.JobState.JOB_STATE_FAILED
        created = one.creation_time.ToNanoseconds()
        job = _Found(one.job_id, one.name, created, failed)
        found.setdefault(int(match[1] or 1), []).append(job)
    attempt = max([entry.attempt, *found])
    jobs = sorted(found.get(attempt, ()), key=lambda job: (job.created, job.id))
    if not lately and jobs and all(job.failed for job in jobs):
        attempt, jobs = attempt + 1, []
    return replace(entry, id="", attempt=attempt), jobs
