"""A small graph, an account on the stand-in service, and a user for the service's tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from core import Artifact, Progress, StageContext, Tensors
from core.conformance.converter import artifact, feeds, onnx_artifact, torch_model
from plugins.runtime.qai_hub import QaiHub, QaiHubOptions
from tests.hub.account import account, hurried, loopback_only
from tests.hub.cloud import Cloud

PHONE = "Samsung Galaxy S24"


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Return an empty account of the stand-in, without other network access or long waits."""
    loopback_only(monkeypatch)
    hurried(monkeypatch)
    with account(tmp_path / "cloud", monkeypatch) as served:
        yield served


@dataclass
class User:
    """A user with a small graph, a store's state folder, and recorded progress messages."""

    folder: Path
    said: list[str]
    options: QaiHubOptions
    runs: int = 0

    def work(self) -> StageContext:
        """Return a new work folder, as a new run has one."""
        self.runs += 1
        folder = self.folder / f"run{self.runs}"
        folder.mkdir(parents=True)
        told = Progress(lambda _done, _total, message: self.said.append(message))
        return StageContext(folder, told, self.folder / "state")

    def compiled(self, **options: Any) -> Artifact:
        """Compile the graph."""
        work = self.work()
        made = QaiHub(replace(self.options, **options)).compile(self.graph, work)
        return artifact(work.folder, made.path, made.format, made.precision)

    def played(self, seeds: tuple[int, ...] = (1, 2), **options: Any) -> list[Tensors]:
        """Compile, and run some windows in one call."""
        compiled, work = self.compiled(**options), self.work()
        runtime = QaiHub(replace(self.options, **options))
        with runtime.open(compiled, torch_model, work) as session:
            return list(session.run_many([feeds(seed) for seed in seeds], work.progress))

    @property
    def graph(self) -> Artifact:
        """Return two convolutions, the same every time."""
        return onnx_artifact(self.folder / "graph")


@pytest.fixture
def user(tmp_path: Path) -> User:
    """Return a user whose runs share a state folder."""
    options = QaiHubOptions(device=PHONE, poll_s=0.01, time_limit_s=5.0)
    return User(tmp_path / "user", [], options)
