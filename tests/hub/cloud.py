"""The content of the stand-in: models, datasets and jobs, as files in a folder and as messages."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qai_hub import public_api_pb2 as pb

TOKEN = "loopback-token-of-no-worth"  # noqa: S105  # the stand-in's own
STATES = pb.JobState
DEVICES = (
    ("Samsung Galaxy S24", "14"),
    ("Samsung Galaxy S24 (Family)", "14"),
    ("Samsung Galaxy S24 Ultra", "14"),
    ("Samsung Galaxy S23", "13"),
    ("Samsung Galaxy S23", "14"),
    ("Snapdragon X Elite CRD", "11"),
)
FRAMEWORKS = ("framework:onnx", "framework:qnn", "framework:tflite", "os:android")


@dataclass
class Faults:
    """The faults, and how often each occurs; 0 and empty mean no fault."""

    #: (method, part of the path) to (HTTP status, number of times).
    answers: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    #: Requests to the storage that are cut in the middle.
    cut_uploads: int = 0
    cut_downloads: int = 0
    #: Downloads that lack their end, with a length that agrees.
    truncated: int = 0
    #: Downloads that stop halfway and wait for `resume`.
    held_downloads: int = 0
    #: Submissions that get the answer 502 although the job was made.
    doubled: int = 0
    #: Submissions that get no answer before `resume`, although the job was made.
    held_submits: int = 0
    #: The state that jobs keep until `resume`; None for no such state.
    held_state: int | None = None
    #: Kind of job to (reason, failure type); `failures` is the number of such jobs that fail.
    failing: dict[str, tuple[str, int]] = field(default_factory=dict)
    failures: int = 10**9
    #: Whether transfers use S3 credentials instead of signed links.
    credentials: bool = False
    #: Whether answers are HTML instead of protobufs.
    html: bool = False
    resume: threading.Event = field(default_factory=threading.Event)

    def take(self, name: str) -> bool:
        """Return whether the fault `name` occurs now, and count it down."""
        left = int(getattr(self, name))
        if left:
            setattr(self, name, left - 1)
        return left > 0


@dataclass
class Blob:
    """An uploaded or produced file: a model or a dataset, with its message."""

    about: Any
    file: Path
    filename: str
    parts: dict[int, bytes] = field(default_factory=dict)


class Cloud:
    """The whole account of one user."""

    def __init__(self, folder: Path, token: str = TOKEN) -> None:
        self.folder, self.token, self.url = folder, token, ""
        self.faults = Faults()
        self.models: dict[str, Blob] = {}
        self.datasets: dict[str, Blob] = {}
        self.jobs: dict[str, pb.Job] = {}
        self.results: dict[str, pb.JobResult] = {}
        #: The requests in order, such as "POST jobs/".
        self.log: list[str] = []
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def new_id(self, letter: str) -> str:
        """Return an id that no other object has, such as `m3`."""
        with self._lock:
            return f"{letter}{next(self._numbers)}"

    def add_model(self, name: str, model_type: int, *, filename: str = "") -> Blob:
        """Make a model without content."""
        model_id = self.new_id("m")
        about = pb.Model(model_id=model_id, name=name, model_type=model_type)
        about.creation_time.GetCurrentTime()
        blob = Blob(about, self.folder / model_id, filename or f"{model_id}.onnx")
        self.models[model_id] = blob
        return blob

    def add_dataset(self, name: str) -> Blob:
        """Make a dataset without content that lives for 30 days."""
        dataset_id = self.new_id("d")
        about = pb.Dataset(dataset_id=dataset_id, name=name)
        about.creation_time.GetCurrentTime()
        about.expiration_time.seconds = int(time.time()) + 30 * 86400
        blob = Blob(about, self.folder / f"{dataset_id}.h5", f"{dataset_id}.h5")
        self.datasets[dataset_id] = blob
        return blob

    def add_job(self, job: pb.Job) -> str:
        """Add a job; returns its id."""
        job_id = self.new_id("j")
        kind = kind_of(job)
        detail = getattr(job, f"{kind}_job")
        setattr(detail, f"{kind}_job_id", job_id)
        detail.job_state = STATES.JOB_STATE_CREATED
        detail.creation_time.GetCurrentTime()
        detail.model.CopyFrom(self.models[detail.model.model_id].about)
        if kind == "compile":
            detail.device.CopyFrom(detail.devices.devices[0])
        if kind != "inference":
            target = self.add_model(f"{detail.name}-target", pb.ModelType.MODEL_TYPE_ONNX)
            target.about.producer_id = job_id
            detail.target_model.CopyFrom(target.about)
        self.jobs[job_id] = job
        return job_id

    def names(self, kind: str = "") -> list[str]:
        """Return the names of the jobs (of one kind) in the order of their submission."""
        jobs = [(kind_of(job), job) for job in self.jobs.values()]
        return [getattr(job, f"{of}_job").name for of, job in jobs if kind in ("", of)]

    def uploads(self, of: str) -> list[str]:
        """Return the names of the models or datasets that a client uploaded completely."""
        blobs: dict[str, Blob] = getattr(self, of)
        whole = [blob.about for blob in blobs.values() if blob.about.file_upload_complete]
        sent = [about for about in whole if not getattr(about, "producer_id", "")]
        return [about.name for about in sent if not about.name.endswith("-outputs")]

    def summaries(self, wanted: str) -> list[pb.JobSummary]:
        """Return the summary of every job, or of the jobs of one kind, newest first."""
        found = []
        for job_id, job in reversed(self.jobs.items()):
            kind = kind_of(job)
            if wanted in ("", kind):
                detail = getattr(job, f"{kind}_job")
                summary = pb.JobSummary()
                about = getattr(summary, f"{kind}_job_summary")
                about.job_id, about.name, about.job_state = job_id, detail.name, detail.job_state
                about.creation_time.CopyFrom(detail.creation_time)
                found.append(summary)
        return found


def kind_of(job: pb.Job) -> str:
    """Return `compile`, `quantize` or `inference`."""
    return str(job.WhichOneof("job")).removesuffix("_job")
