"""Sweeps over machines that share only a store at S3, and kills one machine in the middle.

python -m tools.bench_cluster            make bench-cluster

A Ray cluster has three nodes, each with one CPU and its own cache folder. A server of the S3
protocol runs on this machine. The sweep runs HTDemucs at two windows and two precisions. The first
node that is in the middle of a quantizer loses all its processes at once. The folder of the sweep
belongs to the driver: no other process can see it. The figures go to `docs/results/cluster.json`.
Needs Linux and `unshare`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests import s3
from tests.cluster import cluster, kept, paths, private, uploads
from tools.results import measure

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results" / "cluster.json"
COMMAND = "make bench-cluster"
NODES = 3
SWEEP = ("recipe=cpu_fp32", "calibration=synthetic", "chunker.length=22050,44100",
         "precision=fp32,int8")  # fmt: skip


def killed() -> Iterator[dict[str, Any]]:
    """Yield the outcome of the sweep, and whether any result was made twice."""
    with tempfile.TemporaryDirectory() as name, s3.server() as endpoint:
        folder = Path(name)
        url, env = bucket(endpoint)
        command = [
            sys.executable, "-m", "core", "-m", *SWEEP, f"store={url}", "hydra/launcher=ray",
            f"output={folder / 'out'}",
        ]  # fmt: skip
        with cluster(folder / "nodes", NODES, env) as nodes:
            driver = {**env, "XDG_CACHE_HOME": str(folder / "driver")}
            ended = nodes.strike(private(folder / "out", command), "quantizer", driver)
        print(ended.said, flush=True)
        if not ended.killed:
            raise SystemExit("no node was in the middle of a quantizer, so none was killed")
        (file,) = folder.glob("out.copy/*/sweep-*/sweep.json")
        points, found = json.loads(file.read_text())["points"], paths(url)
    ran = Counter(step for point in points for step in point["ran"])
    entries = kept(found)
    yield {
        "sweep": [*SWEEP],
        "nodes": NODES,
        "exit_code": ended.code,
        "processes_killed": ended.killed,
        "killed_after_s": ended.struck_s,
        "seconds": ended.seconds,
        "points": Counter(point["status"] for point in points),
        "run_folders": sum(bool(point["folder"]) for point in points),
        "results_in_the_store": sum(entries.values()),
        # Only of finished points; results that the killed node finished are in the store alone.
        "steps_that_ran": sum(ran.values()),
        "finished_by_the_killed_node": {
            step: count - ran[step] for step, count in entries.items() if count > ran[step]
        },
        "ran_more_often_than_kept": {
            step: count - entries[step] for step, count in ran.items() if count > entries[step]
        },
        "uploaded_twice": sum(count > 1 for count in uploads(found).values()),
        "load_average": os.getloadavg()[0],
    }


def bucket(endpoint: str) -> tuple[str, dict[str, str]]:
    """Make a bucket; returns the URL of a store in it, and the variables to reach it."""
    import boto3

    env = {
        **s3.ACCOUNT,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONPATH": str(ROOT),
    }
    os.environ.update(env)
    client = boto3.client("s3")
    client.create_bucket(Bucket="luthier")
    client.close()
    return "s3://luthier/store", env


if __name__ == "__main__":
    measure(RESULTS, COMMAND, {"killed": killed}, sys.argv[1:])
