"""A Ray cluster on this machine whose nodes share nothing but a network, and how one of them dies."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

__all__ = ["Cluster", "cluster", "hidden", "private"]

#: Mounts an empty folder over the first argument, runs the others, and copies what they left there.
_HIDING = 'mount -t tmpfs none "$0" && "$@"; code=$?; cp -a "$0/." "$0.copy"; exit $code'


class Cluster:
    """A head without a CPU for points, and nodes of one CPU with a cache folder each."""

    def __init__(self, ray_cluster: Any, nodes: Sequence[Any]) -> None:
        self._cluster, self._nodes = ray_cluster, list(nodes)

    @property
    def address(self) -> str:
        """Return what RAY_ADDRESS takes."""
        return str(self._cluster.address)

    def at_work(self) -> list[int]:
        """Return the numbers of the nodes on which the process of a point runs."""
        return [
            number
            for number, node in enumerate(self._nodes)
            if any("core.sweep.child" in _line(process) for process in _processes(node))
        ]

    def kill(self, number: int) -> int:
        """Kill all of a node's processes at once, as a power cut does; returns how many."""
        node = self._nodes[number]
        processes = _processes(node)
        for process in processes:
            process.kill()
        self._cluster.remove_node(node, allow_graceful=False)
        return len(processes)


@contextmanager
def cluster(folder: Path, nodes: int, env: Mapping[str, str]) -> Iterator[Cluster]:
    """Start a cluster; each node has its cache below `folder`, and `env`."""
    from core import ray_cluster

    ray_cluster.quiet()
    from ray.cluster_utils import Cluster as RayCluster

    started = RayCluster()
    try:
        started.add_node(num_cpus=0, include_dashboard=False)
        made = [
            started.add_node(
                num_cpus=1, env_vars={**env, "XDG_CACHE_HOME": str(folder / f"node {number}")}
            )
            for number in range(nodes)
        ]
        yield Cluster(started, made)
    finally:
        started.shutdown()


def hidden() -> bool:
    """Return whether this system lets a process have a folder that no other sees."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    command = [unshare, "-rm", "sh", "-c", "mount -t tmpfs none /tmp"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0  # noqa: S603


def private(folder: Path, command: Sequence[str]) -> list[str]:
    """Return a command that runs another one with `folder` empty and seen by nobody else.

    What is in it at the end is copied to a folder beside it, `<folder>.copy`.
    """
    folder.mkdir(parents=True)
    folder.with_name(f"{folder.name}.copy").mkdir()
    return ["unshare", "-rm", "sh", "-c", _HIDING, str(folder), *command]


def _processes(node: Any) -> list[psutil.Process]:
    """Return the raylet of a node and all that it started."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    return [raylet, *raylet.children(recursive=True)]


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
