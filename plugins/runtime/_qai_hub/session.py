"""A compiled model on a device of Qualcomm AI Hub: a whole group of windows in one job."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import Array, Fact, Placement, Progress, Session, StageContext, StageError, Tensors
from plugins.runtime._qai_hub import compiled
from plugins.vendor.qai_hub import (
    Job,
    Waiting,
    content_of,
    dataset_name,
    fetch_outputs,
    finished_job,
    hub_for,
    upload_dataset,
    upload_model,
)
from plugins.vendor.qai_hub.profile import facts_of, placement_of

__all__ = ["CloudSession", "Wanted"]

#: A result that expired is computed anew, once.
TRIES = 2


@dataclass(frozen=True)
class Wanted:
    """The settings of a session: the device, how much goes into one job, how to wait for it."""

    device: str
    profile: bool
    job_bytes: int
    patience: Waiting


class CloudSession(Session):
    """Runs windows on a device elsewhere; its times and its memory are the device's own."""

    here = False

    def __init__(self, model: Path, wanted: Wanted, work: StageContext) -> None:
        """Sign in and find the device; nothing is submitted yet."""
        self.model, self.wanted, self.work = model, wanted, work
        self.hub = hub_for(work, wanted.patience)
        self.phone = self.hub.device(wanted.device)
        self.interface = compiled.read(model.parent)
        self.at_once = max(1, wanted.job_bytes // self.interface.window_bytes)
        account = self.hub.account
        self.device = f"{self.phone.name} ({self.phone.os}, {account.where})"
        if account.loopback:
            # A server on this machine is no phone: its results are not the target's.
            self.on_target = False
            self.device = f"stand-in for {self.phone.name} at {account.api_url}"
        self.jobs: list[str | float] = []
        self.placed: Placement | None = None

    def run(self, feeds: Tensors) -> Tensors:
        """Run one window, in a job of its own."""
        return next(self.run_many([feeds], self.work.progress))

    def run_many(self, feeds: Sequence[Tensors], progress: Progress) -> Iterator[Tensors]:
        """Run every window in one job; outputs are read one at a time from the downloaded file."""
        # The core's own progress says which song this is; jobs report through it.
        self.hub.work = StageContext(self.work.folder, progress, self.work.state_dir)
        with tempfile.TemporaryDirectory(dir=self.work.folder, prefix="outputs-") as folder:
            file = self._results(feeds, Path(folder) / "outputs.h5")
            yield from self._read(file, len(feeds))

    def placement(self, feeds: Tensors) -> Placement | None:
        """Return the compute unit of each layer; None where the last job has no profile."""
        return self.placed

    def _results(self, feeds: Sequence[Tensors], target: Path) -> Path:
        for _ in range(TRIES):
            job = self._job(feeds)
            result = self._result_of(job)
            if result.output_dataset_id:
                file = fetch_outputs(self.hub, result.output_dataset_id, target)
                if file is not None:
                    self._note(job, result, len(feeds))
                    return file
            # The service keeps datasets for 30 days; a job that outlived its results is run anew.
            self.hub.forget(job.name)
        raise StageError(
            f"job {job.id} ended well but left no results",
            f"its page: {job.page}",
            "run the same command again to submit it anew",
        )

    def _job(self, feeds: Sequence[Tensors]) -> Job:
        hub, phone, profile = self.hub, self.phone, self.wanted.profile
        entries = self._entries(feeds)

        def prepare() -> Callable[[str], object]:
            from qai_hub import Device

            dataset, model = upload_dataset(hub, entries), upload_model(hub, self.model)
            device, submit = Device(phone.name, phone.os), hub.client.submit_inference_job
            return lambda name: submit(
                model, device, dataset, name=name, retry=False, profile=profile
            )

        content = [content_of(self.model), dataset_name(entries), phone.name]
        return finished_job(
            hub, "inference", [*content, *(["profiled"] if profile else [])], prepare
        )

    def _entries(self, feeds: Sequence[Tensors]) -> Mapping[str, Sequence[Array]]:
        import numpy as np

        entries: dict[str, list[Array]] = {}
        for port in self.interface.inputs:
            missing = [feed for feed in feeds if port.name not in feed]
            if missing:
                raise StageError(
                    f"the graph needs the input `{port.name}`, which the dsp does not give",
                    f"the dsp gives: {', '.join(missing[0]) or 'nothing'}",
                )
            entries[port.name] = [np.ascontiguousarray(f[port.name], port.dtype) for f in feeds]
        return entries

    def _result_of(self, job: Job) -> Any:
        from qai_hub import public_rest_api as rest

        hub = self.hub
        doing = f"asking for the results of job {job.id}"
        return hub.call(doing, rest.get_job_results, hub.client.config, job.id).inference_job_result

    def _note(self, job: Job, result: Any, windows: int) -> None:
        """Keep the device's measurements: the time of one window, its memory, its profile."""
        facts: dict[str, Fact] = dict(job.facts)
        self.jobs.append(job.id)
        facts["jobs"] = [*self.jobs]
        self.seconds = ()
        if job.detail.execution_time:
            # The service measures one time for all windows of a job, in µs.
            self.seconds = [job.detail.execution_time / 1e6] * windows
        if job.detail.execution_peak_memory.upper:
            facts["peak_memory_mb"] = job.detail.execution_peak_memory.upper / 1e6
        if self.wanted.profile and result.HasField("detail"):
            hub, doing = self.hub, f"downloading the profile of job {job.id}"
            profiled = hub.call(doing, lambda: hub.client.get_job(job.id).download_profile())
            facts |= facts_of(profiled)
            self.placed = placement_of(profiled)
        self.facts = facts

    def _read(self, file: Path, windows: int) -> Iterator[Tensors]:
        """Yield the outputs of every window; the service orders outputs as the graph does."""
        import h5py
        import numpy as np

        with h5py.File(file, "r") as stored:
            groups = sorted(stored["data"].values(), key=lambda g: int(g.attrs.get("order", 0)))
            names = [str(group.attrs["name"]) for group in groups]
            expected = [port.name for port in self.interface.outputs]
            counts = {int(group.attrs["batch_count"]) for group in groups}
            if len(names) != len(expected) or counts != {windows}:
                raise StageError(
                    f"the results of job {self.jobs[-1]} are not those of the model",
                    f"they hold {', '.join(names)} for {sorted(counts)} windows",
                    f"expected: {', '.join(expected)} for {windows}",
                )
            # A compiler may rename outputs (`output_0`); it keeps their order.
            renamed = set(names) != set(expected)
            by_name = dict(zip(expected if renamed else names, groups, strict=True))
            for number in range(windows):
                yield {
                    port.name: np.asarray(by_name[port.name][f"batch_{number}"]).reshape(port.shape)
                    for port in self.interface.outputs
                }
