"""Sweeps over machines that share nothing but a store, one of which dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests import s3
from tests.cluster import cluster, hidden, private
from tests.core.conftest import Bucket

ROOT = Path(__file__).parent.parent.parent.parent

needs_ray = pytest.mark.skipif("not __import__('importlib').util.find_spec('ray')")


def record(folder: Path) -> dict[str, Any]:
    """Return the record of the only sweep below a folder."""
    (file,) = folder.glob("toy/sweep-*/sweep.json")
    return dict(json.loads(file.read_text()))


def objects(bucket: Bucket) -> list[list[str]]:
    """Return the path of every object in the store, in parts."""
    import boto3

    client = boto3.client("s3")
    name = bucket.url.split("/")[2]
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=name)
    paths = [o["Key"].split("/")[1:] for page in pages for o in page.get("Contents", [])]
    client.close()
    return paths


@pytest.mark.skipif(not hidden(), reason="no folder can be hidden from other processes here")
def test_a_node_dies_and_the_sweep_is_whole(
    bucket: Bucket, recipe: Path, toys: Path, tmp_path: Path
) -> None:
    """Four points on two nodes with an S3 store; the folder of the sweep is the driver's own."""
    pytest.importorskip("ray")
    env = {"PYTHONPATH": f"{ROOT}{os.pathsep}{toys}", "AWS_ENDPOINT_URL_S3": bucket.endpoint}
    output = tmp_path / "out"
    run = [
        sys.executable, "-m", "core", "-m", f"recipe={recipe}", "quantizer.loss=0.0,0.1,0.2,0.3",
        "quantizer.seconds=3", f"store={bucket.url}", f"output={output}", "hydra/launcher=ray",
    ]  # fmt: skip
    with cluster(tmp_path / "nodes", 2, env) as nodes:
        t0 = time.time()
        driver = subprocess.Popen(
            private(output, run),
            cwd=tmp_path,
            env={**os.environ, **env, "RAY_ADDRESS": nodes.address},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert driver.stdout is not None
        said = ""
        for line in driver.stdout:
            print(round(time.time() - t0, 1), line, end="")
            said += line
            if "done" in line:
                break
        while not nodes.at_work():
            time.sleep(0.1)
        time.sleep(1)
        assert nodes.kill(nodes.at_work()[0]) > 1
        print("killed", time.time() - t0)
        for line in driver.stdout:
            print(round(time.time() - t0, 1), line, end="")
        assert driver.wait() == 0
    found = record(tmp_path / "out.copy")
    print(found)
    print(objects(bucket))
    print([str(p) for p in (tmp_path/"nodes").rglob("artifact.json")])
    assert 0
