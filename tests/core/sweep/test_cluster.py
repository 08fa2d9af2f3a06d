"""Sweeps over machines that share nothing but a store, one of which dies."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.cluster import cluster, hidden, kept, paths, private, uploads
from tests.core.conftest import Bucket

ROOT = Path(__file__).parent.parent.parent.parent

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not hidden(), reason="no folder can be hidden here: no `unshare`"),
]


def test_a_node_dies_and_the_sweep_is_whole(
    bucket: Bucket, recipe: Path, toys: Path, tmp_path: Path
) -> None:
    """A sweep on two nodes with a store at S3 is complete after one of them dies.

    The remaining node waits half a minute for the lease of the dead one.
    """
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    env = {"PYTHONPATH": f"{ROOT}{os.pathsep}{toys}", "AWS_ENDPOINT_URL_S3": bucket.endpoint}
    command = [
        sys.executable, "-m", "core", "-m", f"recipe={recipe}", "quantizer.loss=0.0,0.1",
        "quantizer.seconds=3", f"store={bucket.url}", f"output={tmp_path / 'out'}",
        "hydra/launcher=ray",
    ]  # fmt: skip
    with cluster(tmp_path / "nodes", 2, env) as nodes:
        ended = nodes.strike(private(tmp_path / "out", command), "quantizer", env)
    assert ended.killed > 1, ended.said
    assert ended.code == 0, ended.said
    (file,) = tmp_path.glob("out.copy/toy/sweep-*/sweep.json")
    points = json.loads(file.read_text())["points"]
    assert [point["status"] for point in points] == ["done"] * 2
    for point in points:
        assert (file.parent / point["folder"] / "report.json").is_file()
    found = paths(bucket.url)
    assert kept(found)["quantizer"] == 2
    assert set(uploads(found).values()) == {1}
    ran = Counter(step for point in points for step in point["ran"])
    assert ran["quantizer"] == 2
    assert all(ran[step] <= count for step, count in kept(found).items())
    assert ended.said.count("ran on another machine") == 2
