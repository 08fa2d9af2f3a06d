"""A Ray cluster on this machine whose nodes share only a network, and the death of a node."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

__all__ = ["Cluster", "Struck", "cluster", "hidden", "kept", "paths", "private", "uploads"]

#: A node that does not answer is dead after two seconds; Ray's default is 15 seconds.
IMPATIENT = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}
#: Mounts an empty folder over the first argument, runs the rest, and copies the folder at the end.
_HIDING = 'mount -t tmpfs none "$0" && "$@"; code=$?; cp -a "$0/." "$0.copy"; exit $code'


@dataclass(frozen=True)
class Struck:
    """The end of a sweep: exit code, output, killed processes, time of the kill, and seconds."""

    code: int
    said: str
    killed: int
    struck_s: float
    seconds: float


class Cluster:
    """A head node without CPUs, and nodes with one CPU and one cache folder each."""

    def __init__(self, ray_cluster: Any, nodes: Mapping[Path, Any]) -> None:
        self._cluster, self._nodes = ray_cluster, dict(nodes)

    @property
    def address(self) -> str:
        """Return the value of RAY_ADDRESS."""
        return str(self._cluster.address)

    def strike(self, command: Sequence[str], step: str, env: Mapping[str, str]) -> Struck:
        """Run a sweep, and kill the first node that is in the middle of the step `step`.

        All processes of the node die at once, as in a power cut.
        """
        started = time.perf_counter()
        driver = subprocess.Popen(
            command,
            env={**os.environ, **env, "RAY_ADDRESS": self.address},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            found = None
            while found is None and driver.poll() is None:
                time.sleep(0.1)
                found = next((cache for cache in self._nodes if _is_making(cache, step)), None)
            time.sleep(1)  # until the node has the lease, too
            struck_s, killed = time.perf_counter() - started, self._kill(found) if found else 0
            said, _ = driver.communicate()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(driver.pid, signal.SIGKILL)
        seconds = time.perf_counter() - started
        return Struck(driver.returncode, said, killed, struck_s, seconds)

    def _kill(self, cache: Path) -> int:
        node = self._nodes.pop(cache)
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        processes = [raylet, *raylet.children(recursive=True)]
        for process in processes:
            process.kill()
        self._cluster.remove_node(node, allow_graceful=False)
        return len(processes)


@contextmanager
def cluster(folder: Path, nodes: int, env: Mapping[str, str]) -> Iterator[Cluster]:
    """Start a cluster; each node has a cache folder below `folder`, and the variables `env`."""
    from core.machine import ray_cluster

    ray_cluster.quiet()
    from ray.cluster_utils import Cluster as RayCluster

    started = RayCluster()
    caches = [folder / f"node {number}" for number in range(nodes)]
    try:
        started.add_node(num_cpus=0, include_dashboard=False, _system_config=IMPATIENT)
        yield Cluster(
            started,
            {
                cache: started.add_node(num_cpus=1, env_vars={**env, "XDG_CACHE_HOME": str(cache)})
                for cache in caches
            },
        )
    finally:
        started.shutdown()


def hidden() -> bool:
    """Return whether a process on this system can have a folder that no other process sees."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    command = [unshare, "-rm", "sh", "-c", "mount -t tmpfs none /tmp"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def private(folder: Path, command: Sequence[str]) -> list[str]:
    """Return a command that runs `command` with an empty `folder` that nobody else sees.

    At its end the content of the folder is copied to a folder beside it, `<folder>.copy`.
    """
    folder.mkdir(parents=True)
    folder.with_name(f"{folder.name}.copy").mkdir()
    return ["unshare", "-rm", "sh", "-c", _HIDING, str(folder), *command]


def paths(url: str) -> list[list[str]]:
    """Return the path of every object of a store at `s3://bucket/prefix`, in parts."""
    import boto3

    client = boto3.client("s3")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=url.split("/")[2])
    found = [o["Key"].split("/")[1:] for page in pages for o in page.get("Contents", [])]
    client.close()
    return found


def kept(found: Sequence[Sequence[str]]) -> Counter[str]:
    """Return how many results of each step a store has."""
    return Counter(path[0] for path in found if path[2:] == ["artifact.json"])


def uploads(found: Sequence[Sequence[str]]) -> Counter[tuple[str, str]]:
    """Return how often each result was uploaded, by step and key."""
    attempts = {(path[0], path[1], path[2]) for path in found if path[3:4] == ["files"]}
    return Counter((step, key) for step, key, _ in attempts)


def _is_making(cache: Path, step: str) -> bool:
    """Return whether a process of the node with this cache holds the lock of a step."""
    for file in cache.glob(f"luthier/remotes/*/locks/{step}-*.lock"):
        try:
            if ".transfer" not in file.name:
                FileLock(file).acquire(timeout=0).lock.release()
        except Timeout:
            return True
    return False
