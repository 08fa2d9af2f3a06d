"""Nothing is uploaded, submitted or paid for twice."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from core import StageError
from plugins.vendor.qai_hub.ledger import Entry, Ledger
from tests.flips import flipped
from tests.hub.cloud import TOKEN, Cloud
from tests.plugins.vendor.conftest import User


def same(ours: list[dict[str, object]], theirs: list[dict[str, object]]) -> bool:
    return all(np.array_equal(a["y"], b["y"]) for a, b in zip(ours, theirs, strict=True))


def test_a_second_run_uploads_and_submits_nothing(cloud: Cloud, user: User) -> None:
    """A second run uploads and submits nothing, and its results are the same bits.

    Names follow from the content, and ids are remembered.
    """
    first = user.played()
    jobs, models, datasets = list(cloud.jobs), list(cloud.models), list(cloud.datasets)
    assert same(user.played(), first)
    assert (list(cloud.jobs), list(cloud.models)) == (jobs, models)
    assert list(cloud.datasets) == datasets
    assert cloud.names("compile") != cloud.names("inference")


def test_what_was_compiled_there_is_not_uploaded(cloud: Cloud, user: User) -> None:
    """A model that the service compiled is used there and not uploaded again."""
    user.played()
    assert len(cloud.uploads("models")) == 1
    assert cloud.uploads("models")[0].startswith("luthier-")


def test_a_lost_ledger_is_found_again_by_name(cloud: Cloud, user: User) -> None:
    """Without a ledger, uploads and jobs are found in the account by name."""
    first = user.played()
    jobs, sent = list(cloud.jobs), cloud.uploads("datasets")
    shutil.rmtree(user.folder / "state")
    assert same(user.played(), first)
    assert list(cloud.jobs) == jobs
    assert cloud.uploads("datasets") == sent


def test_a_ledger_from_before_the_kill_finds_its_job(cloud: Cloud, user: User) -> None:
    """An entry without an id, as a kill during the submission leaves it, finds its job."""
    user.compiled()
    (file,) = (user.folder / "state").rglob("luthier-compile-*.json")
    Ledger(file.parent).write(Entry(file.stem))
    user.said.clear()
    user.compiled()
    assert len(cloud.jobs) == 1
    assert "continues with job j2, submitted before" in user.said


def test_a_failed_job_is_submitted_again_when_asked(cloud: Cloud, user: User) -> None:
    """A failed job is submitted again by the next run, under a name with a number."""
    cloud.faults.failing["compile"], cloud.faults.failures = ("bad luck", 0), 1
    with pytest.raises(StageError, match="bad luck"):
        user.compiled()
    user.compiled()
    first, second = cloud.names("compile")
    assert second == f"{first}-2"
    shutil.rmtree(user.folder / "state")
    user.compiled()
    assert len(cloud.names("compile")) == 2, "without a ledger the good one is found"


def test_an_upload_that_was_not_finished_is_no_upload(cloud: Cloud, user: User) -> None:
    """A model with the right name but without its file is uploaded again."""
    cloud.faults.cut_uploads = 10**9
    with pytest.raises(StageError, match="was cut"):
        user.compiled()
    cloud.faults.cut_uploads = 0
    user.compiled()
    assert len(cloud.uploads("models")) == 1


def test_expired_windows_are_sent_again_only_for_a_new_job(cloud: Cloud, user: User) -> None:
    """Expired windows are uploaded again only for a new job.

    The service keeps datasets for 30 days; a finished job no longer needs them.
    """
    user.played()
    for dataset in cloud.datasets.values():
        dataset.about.expiration_time.seconds = int(time.time()) - 1
    user.played()
    assert len(cloud.uploads("datasets")) == len(cloud.names("inference")) == 1
    user.played(profile=False)
    assert len(cloud.uploads("datasets")) == len(cloud.names("inference")) == 2


def test_results_that_are_gone_are_computed_again(cloud: Cloud, user: User) -> None:
    """A known job without its outputs is submitted again."""
    first = user.played()
    cloud.datasets.clear()
    assert same(user.played(), first)
    assert len(cloud.names("inference")) == 2


def test_a_job_that_the_service_deleted_is_submitted_again(cloud: Cloud, user: User) -> None:
    """A job that the service deleted is submitted again, although its id is remembered."""
    user.compiled()
    cloud.jobs.clear()
    user.compiled()
    assert len(cloud.jobs) == 1


def test_two_runs_at_once_submit_one_job(cloud: Cloud, user: User) -> None:
    """Two runs at once submit one job.

    The second run waits for the first one's id, reports this, and waits for the same job.
    """
    user.options.time_limit_s = 60.0
    cloud.faults.held_submits = 1
    both = [threading.Thread(target=user.compiled) for _ in range(2)]
    for run in both:
        run.start()
    deadline = time.monotonic() + 30
    while not any("another run" in message for message in user.said):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    cloud.faults.resume.set()
    for run in both:
        run.join()
    assert len(cloud.jobs) == 1
    assert len(cloud.uploads("models")) == 1


@pytest.mark.usefixtures("cloud")
def test_windows_go_in_by_size(user: User) -> None:
    """A session takes as many windows at once as `job_mb` permits, and at least one."""
    from core.conformance.converter import torch_model
    from plugins.runtime.qai_hub import QaiHub

    compiled = user.compiled()
    for megabytes, windows in ((1, 1_000_000 // 3072), (1000, 1_000_000_000 // 3072)):
        user.options.job_mb = megabytes
        session = QaiHub(user.options).open(compiled, torch_model, user.work())
        assert session.at_once == windows
        assert session.on_target is False, "no phone computes what a server here computes"
        assert session.here is False
        assert "stand-in for Samsung Galaxy S24" in session.device


def test_the_device_tells_its_times_and_layers(cloud: Cloud, user: User) -> None:
    """The facts have the times, layers, loading time and memory that the service measured."""
    from core.conformance.converter import feeds, torch_model
    from plugins.runtime.qai_hub import QaiHub

    compiled, work = user.compiled(), user.work()
    session = QaiHub(user.options).open(compiled, torch_model, work)
    list(session.run_many([feeds(1), feeds(2)], work.progress))
    facts = session.facts
    detail = next(job.inference_job for job in cloud.jobs.values() if job.HasField("inference_job"))
    assert session.seconds == [detail.execution_time / 1e6] * 2
    assert facts["peak_memory_mb"] == detail.execution_peak_memory.upper / 1e6
    (unit,) = facts["profile_units"]  # type: ignore[misc, union-attr]  # one row
    assert (unit["unit"], unit["layers"]) == ("CPU", facts["profile_layer_count"])
    assert "Conv" in {row["type"] for row in facts["profile_layers"]}  # type: ignore[union-attr]
    assert facts["profile_first_load_ms"] > 0  # type: ignore[operator]  # a number
    assert facts["jobs"] == [facts["job"]]


def test_without_a_profile_none_is_asked_for(cloud: Cloud, user: User) -> None:
    """A job with a profile is not used for a run without one, and the other way round."""
    user.played(profile=False)
    user.played(profile=True)
    inferences = [j.inference_job for j in cloud.jobs.values() if j.HasField("inference_job")]
    profiled = [job.is_profiling_on for job in inferences]
    assert profiled == [False, True]


@pytest.mark.usefixtures("cloud")
def test_the_token_lies_nowhere_on_disk(user: User) -> None:
    """No file of a run holds the token, neither the ledger nor an artifact."""
    user.played()
    files = [file for file in user.folder.rglob("*") if file.is_file()]
    assert files
    assert not [file for file in files if TOKEN.encode() in file.read_bytes()]


@pytest.mark.usefixtures("user")
def test_a_damaged_note_counts_as_an_intent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged entry of the ledger counts as an entry without an id, with a message.

    It is cut, has a flipped bit, or is the entry of another job.
    """
    ledger = Ledger(tmp_path / "ledger")
    ledger.write(Entry("a", "j1", 2))
    ledger.write(Entry("b", "j2"))
    file = tmp_path / "ledger" / "a.json"
    whole = file.read_bytes()
    other = (tmp_path / "ledger" / "b.json").read_bytes()
    for damaged in (b"", whole[:-1], other, *flipped(whole, 40)):
        file.write_bytes(damaged)
        assert ledger.read("a") == Entry("a")
        assert "the note on `a` is damaged" in capsys.readouterr().err
    file.write_bytes(whole)
    assert ledger.read("a") == Entry("a", "j1", 2)
    assert capsys.readouterr().err == ""
    assert Entry("a", attempt=3).submitted_as == "a-3"


def test_a_flipped_id_brings_no_other_job(cloud: Cloud, user: User) -> None:
    """A damaged id in the ledger brings no other job and no second submission."""
    first = user.played()
    jobs = list(cloud.jobs)
    files = sorted((user.folder / "state").rglob("luthier-*.json"))
    assert len(files) > 2
    for number, file in enumerate(files):
        content = bytearray(file.read_bytes())
        place = bytes(content).index(b'"id":"') + len(b'"id":"') + 1
        content[place] ^= 1 << number % 3
        file.write_bytes(content)
    assert same(user.played(), first)
    assert list(cloud.jobs) == jobs
