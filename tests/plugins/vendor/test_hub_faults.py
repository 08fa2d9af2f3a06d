"""Every failure of the service recovers or ends in a clear message."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core import DoesNotFitError, StageError
from tests.hub.cloud import TOKEN, Cloud, Faults
from tests.plugins.vendor.conftest import User

OUT_OF_MEMORY = 12001
AGAIN = "run the same command again"


def fail(reason: str, of_type: int = 0, kind: str = "compile") -> Callable[[Faults], None]:
    def set_up(faults: Faults) -> None:
        faults.failing[kind] = (reason, of_type)

    return set_up


def answer(method: str, path: str, status: int) -> Callable[[Faults], None]:
    def set_up(faults: Faults) -> None:
        faults.answers[method, path] = (status, 10**9)

    return set_up


def put(name: str, value: object) -> Callable[[Faults], None]:
    return lambda faults: setattr(faults, name, value)


def s3(then: Callable[[Faults], None]) -> Callable[[Faults], None]:
    def set_up(faults: Faults) -> None:
        faults.credentials = True
        then(faults)

    return set_up


MANY = 10**9


@pytest.mark.parametrize(
    ("set_up", "said"),
    [
        pytest.param(fail("the phone caught fire"), ["the phone caught fire", "/jobs/j"], id="job"),
        pytest.param(fail("x", OUT_OF_MEMORY), ["does not fit", "shorter window"], id="oom type"),
        pytest.param(fail("QNN_COMMON_ERROR_MEM_ALLOC"), ["does not fit", "MEM_ALLOC"], id="oom"),
        pytest.param(fail("gone", kind="inference"), ["gone", "/jobs/j"], id="inference"),
        pytest.param(answer("GET", "devices", 429), ["slow down", AGAIN], id="429"),
        pytest.param(answer("POST", "jobs", 429), ["slow down", AGAIN], id="429 submitting"),
        pytest.param(answer("GET", "devices", 503), ["not available", AGAIN], id="503"),
        pytest.param(answer("POST", "models", 500), ["not available", "uploading"], id="500"),
        pytest.param(answer("POST", "datasets", 413), ["too large", "runtime.job_mb"], id="413"),
        pytest.param(answer("GET", "devices", 426), ["no longer supports", "upgrade"], id="426"),
        pytest.param(answer("GET", "devices", 403), ["refused", "told to fail"], id="403"),
        pytest.param(put("html", value=True), ["is not Qualcomm AI Hub", "proxy"], id="html"),
        pytest.param(put("cut_uploads", MANY), ["was cut", "uploading the model"], id="upload"),
        pytest.param(put("cut_downloads", MANY), ["was cut", "downloading"], id="download"),
        pytest.param(put("truncated", MANY), ["is damaged", "downloading the model"], id="blob"),
        pytest.param(s3(put("cut_uploads", MANY)), ["cut", "uploading"], id="s3 upload"),
        pytest.param(s3(put("cut_downloads", MANY)), ["was cut", "downloading"], id="s3 download"),
        pytest.param(s3(put("truncated", MANY)), ["is damaged"], id="s3 blob"),
    ],
)
def test_what_cannot_be_mended_ends_in_one_message(
    cloud: Cloud,
    user: User,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    set_up: Callable[[Faults], None],
    said: list[str],
) -> None:
    """A permanent failure ends in one message with the cause, the place and the next step.

    The message holds no token and no signature, and no file is left behind.
    """
    set_up(cloud.faults)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    with pytest.raises(StageError) as told:
        user.played()
    message = str(told.value)
    for part in said:
        assert part in message
    assert TOKEN not in message
    assert "Signature" not in message
    assert isinstance(told.value, DoesNotFitError) is ("does not fit" in message)
    assert told.value.__cause__ is None, "the client's own words may hold a signed link"
    assert list((tmp_path / "tmp").iterdir()) == []
    leftovers = [p for p in user.folder.glob("run*/*") if p.name.startswith(("hub-", "outputs-"))]
    assert leftovers == []


@pytest.mark.parametrize("credentials", [False, True], ids=["signed links", "s3 credentials"])
def test_both_ways_of_transfer_give_the_same(cloud: Cloud, user: User, credentials: object) -> None:
    """Both ways of transfer give exactly ONNX Runtime's outputs for the graph."""
    import onnxruntime

    from core.conformance.converter import feeds

    cloud.faults.credentials = bool(credentials)
    outputs = user.played((1, 2, 3))
    session = onnxruntime.InferenceSession(user.graph.path, providers=["CPUExecutionProvider"])
    for seed, got in zip((1, 2, 3), outputs, strict=True):
        assert np.array_equal(got["y"], session.run(None, dict(feeds(seed)))[0])
    used = [line for line in cloud.log if "/storage/" in line]
    assert bool(used) is not bool(credentials)


@pytest.mark.parametrize(
    ("fault", "credentials"),
    [
        pytest.param("cut_uploads", False, id="upload"),
        pytest.param("cut_downloads", False, id="download"),
        pytest.param("truncated", False, id="blob"),
        pytest.param("cut_uploads", True, id="s3 upload"),
        pytest.param("truncated", True, id="s3 blob"),
    ],
)
def test_what_is_cut_once_is_sent_again(
    cloud: Cloud, user: User, fault: str, credentials: object
) -> None:
    """A transfer that is cut once is repeated, without a second job of the same kind."""
    expected = user.played()
    cloud.faults.credentials = bool(credentials)
    setattr(cloud.faults, fault, 1)
    fresh = User(user.folder.parent / "fresh", [], user.options)
    again = fresh.played((3, 4))
    assert getattr(cloud.faults, fault) == 0, "the fault has struck"
    assert len(again) == len(expected)
    assert len(cloud.names("compile")) == 1
    assert len(cloud.names("inference")) == 2


@pytest.mark.usefixtures("cloud")
def test_a_bad_token_says_where_it_comes_from(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error for a bad token says its source and where to get a new one.

    The token itself is not shown.
    """
    monkeypatch.setenv("QAI_HUB_API_TOKEN", "worn-out")
    with pytest.raises(StageError, match="refused the token") as told:
        user.compiled()
    assert "the variable QAI_HUB_API_TOKEN" in str(told.value)
    assert "/account/" in str(told.value)
    assert "worn-out" not in str(told.value)


@pytest.mark.usefixtures("cloud")
def test_nobody_at_the_address(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed port is reported as an address that cannot be reached."""
    monkeypatch.setenv("QAI_HUB_API_URL", "http://127.0.0.1:9")
    with pytest.raises(StageError, match="cannot be reached"):
        user.compiled()


def test_a_device_that_does_not_exist_names_the_nearest(cloud: Cloud, user: User) -> None:
    """An unknown device is refused with the nearest names before any upload."""
    with pytest.raises(StageError, match="no device `Samsung Galxy S24`") as told:
        user.compiled(device="Samsung Galxy S24")
    assert "nearest: Samsung Galaxy S24, " in str(told.value)
    assert "mode=doctor" in str(told.value)
    assert cloud.models == {}


@pytest.mark.parametrize(
    ("state", "said"), [(80, "runs on the device"), (77, "does not know (77)")]
)
def test_a_job_that_stalls_is_told_and_taken_up_again(
    cloud: Cloud, user: User, state: int, said: str
) -> None:
    """A stalled job is reported, and the next run waits for it without a new submission.

    A job in an unknown state is treated in the same way.
    """
    cloud.faults.held_state = state
    with pytest.raises(StageError, match="was not done within") as told:
        user.compiled(time_limit_s=0.2)
    assert said in str(told.value)
    assert "not submitted twice" in str(told.value)
    assert any(said in message and "/jobs/" in message for message in user.said)
    assert any("in the queue" in message for message in user.said)
    cloud.faults.held_state = None
    cloud.faults.resume.set()
    user.compiled()
    assert len(cloud.jobs) == 1


def test_an_outage_while_a_job_is_waited_for_costs_nothing(cloud: Cloud, user: User) -> None:
    """An outage during the wait for a job causes new requests and no second job.

    The outage uses up the client's own retries twice.
    """
    cloud.faults.answers["GET", r"^jobs/\w+$"] = (503, 16)
    user.compiled()
    assert any("asking again" in message for message in user.said)
    assert len(cloud.jobs) == 1


def test_what_the_client_prints_stays_off_the_terminal(
    cloud: Cloud, user: User, capsys: pytest.CaptureFixture[str]
) -> None:
    """The client's prints are hidden, and the progress display still reaches the terminal.

    The client prints an empty line for every upload that is cut.
    """
    import sys

    from rich.console import Console

    from plugins.vendor.qai_hub.confined import confined

    cloud.faults.cut_uploads = 3
    user.compiled()
    assert capsys.readouterr().out == ""
    with confined(user.folder):
        sys.stdout.write("the client's")
        Console().print("drawn by rich")
    assert capsys.readouterr().out == "drawn by rich\n"


def test_a_job_that_the_client_made_twice_is_used_once(cloud: Cloud, user: User) -> None:
    """Of two jobs that the client submits after a 502, the first is used, with a message."""
    cloud.faults.doubled = 1
    user.compiled()
    first, second = cloud.jobs
    assert len(set(cloud.names())) == 1
    message = f"job {first} is used; its repetition {second} is not"
    assert message in user.said
    user.compiled()
    assert list(cloud.jobs) == [first, second], "nothing is submitted for it ever again"


def test_a_submission_without_an_answer_is_found_by_its_name(cloud: Cloud, user: User) -> None:
    """A submission whose answers are all lost is found by its name, and its first job is used."""
    cloud.faults.doubled = 7
    user.compiled()
    assert any(f"job {next(iter(cloud.jobs))} is used" in message for message in user.said)


@pytest.mark.usefixtures("cloud")
def test_a_full_disk_here_is_not_blamed_on_the_service(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full local disk during an upload is an OSError and not blamed on the service.

    The client writes an upload to a file first; the core explains a full disk.
    """
    import errno

    from qai_hub import Client

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/full")

    monkeypatch.setattr(Client, "upload_model", full)
    with pytest.raises(OSError, match="No space left"):
        user.compiled()
