"""One maker per key among machines that share nothing but an object store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from core.store.lease import Lease
from core.store.object_store import opened
from tests.core.conftest import Bucket
from tests.core.store.test_local import FINGERPRINT, put

ROOT = Path(__file__).parents[3]
#: What a job does for a step (core/run/execute.py), with work that takes a second.
JOB = """\
import sys, time
from pathlib import Path
from core.store.object_store import opened
from core.store.remote import RemoteStore
from tests.core.store.test_local import FINGERPRINT, put
url, place, seconds, lease_s = sys.argv[1:]
store = RemoteStore(opened(url), Path(place), float(lease_s))
with store.lock("graph", FINGERPRINT, lambda: print("waits", flush=True)):
    if store.find("graph", FINGERPRINT) is None:
        print("makes", flush=True)
        time.sleep(float(seconds))
        put(store)
    else:
        print("finds", flush=True)
"""


def job(bucket: Bucket, machine: str, seconds: float, lease_s: float) -> subprocess.Popen[str]:
    """Start a job on a machine of its own."""
    place = str(bucket.machines / machine)
    command = [sys.executable, "-c", JOB, bucket.url, place, str(seconds), str(lease_s)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> list[str]:
    """Return what a job says until it ends well."""
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return out.split()


def test_two_machines_never_do_the_same_work(bucket: Bucket) -> None:
    """One machine makes a result for longer than a lease; the other waits, says so and finds it."""
    jobs = [job(bucket, machine, 6, 3) for machine in "ab"]
    told = sorted((said(process) for process in jobs), key=len)
    assert told == [["makes"], ["waits", "finds"]]
    assert opened(bucket.url).below("locks") == []


def test_a_killed_maker_is_succeeded_after_its_lease(bucket: Bucket) -> None:
    """A killed maker's object stops changing, and its successor takes over after the lease."""
    first = job(bucket, "a", 600, 4)
    assert first.stdout is not None
    assert first.stdout.readline() == "makes\n"
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert said(job(bucket, "b", 0, 4)) == ["waits", "makes"]
    assert bucket.store("c").find("graph", FINGERPRINT) is not None
    assert opened(bucket.url).below("locks") == []


def test_two_jobs_of_one_machine_take_turns(bucket: Bucket) -> None:
    """Two jobs of one machine share the local folder and its lock."""
    store, waiting, seen = bucket.store("a"), threading.Event(), []

    def second() -> None:
        other = bucket.store("a")
        with other.lock("graph", FINGERPRINT, waiting.set):
            seen.append(other.find("graph", FINGERPRINT))

    with store.lock("graph", FINGERPRINT, lambda: None):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(30)
        put(store)
    thread.join(60)
    assert seen[0] is not None


def test_who_fails_frees_the_key_at_once(bucket: Bucket) -> None:
    """A failed maker frees the key at once, although the lease is an hour long here."""
    with (
        pytest.raises(ZeroDivisionError),
        bucket.store("a", 3600).lock("graph", FINGERPRINT, lambda: None),
    ):
        raise ZeroDivisionError
    told: list[str] = []
    with bucket.store("b", 3600).lock("graph", FINGERPRINT, lambda: told.append("waits")):
        put(bucket.store("b", 3600))
    assert told == []


def test_of_those_that_wait_for_a_dead_one_one_holds_it(bucket: Bucket) -> None:
    """Several that find a maker dead at the same time never hold the key together."""
    remote = opened(bucket.url)
    assert remote.create("locks/x/1", b'{"holder": "dead", "beat": 3, "released": false}')
    inside, most, turns = 0, 0, 0
    guard = threading.Lock()

    def enter() -> None:
        nonlocal inside, most, turns
        lease = Lease(remote, "x", 2)
        lease.acquire(lambda: None)
        with guard:
            inside += 1
            most, turns = max(most, inside), turns + 1
        time.sleep(0.2)
        with guard:
            inside -= 1
        lease.release(done=False)

    threads = [threading.Thread(target=enter) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert (most, turns) == (1, 3)


def test_who_was_taken_for_dead_does_not_free_the_other(bucket: Bucket) -> None:
    """A maker that slept and wakes does not free the key that its successor holds."""
    remote = opened(bucket.url)
    asleep = Lease(remote, "x", 3600)
    asleep.acquire(lambda: None)
    awake = Lease(remote, "x", 3600)
    assert awake._taken(2)
    asleep.release(done=True)
    assert remote.below("locks/x") == ["locks/x/2"]
    awake.release(done=True)
    assert remote.below("locks/x") == []
