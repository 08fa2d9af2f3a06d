"""What tests of a store at a URL share: a server of S3's protocol, with a bucket a test."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.store.object_store import opened
from core.store.remote import RemoteStore
from tests import s3


@dataclass
class Bucket:
    """A bucket of its own, and machines that have a store in it."""

    url: str
    endpoint: str
    machines: Path

    def store(self, machine: str = "a", lease_s: float = 30.0) -> RemoteStore:
        """Return the store as a machine sees it that has a cache of its own."""
        return RemoteStore(opened(self.url), self.machines / machine, lease_s)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Return the URL of a server of S3's protocol."""
    with s3.server() as url:
        yield url


@pytest.fixture
def through(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Return a function that sends what speaks to S3 through another endpoint."""
    from s3fs import S3FileSystem

    def point(endpoint: str) -> None:
        # fsspec hands out the same connection for the same URL.
        S3FileSystem.clear_instance_cache()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)

    yield point
    S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(
    s3_server: str,
    through: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Bucket:
    """Return an empty bucket, with an account in the environment."""
    import boto3

    for name, value in (*s3.ACCOUNT.items(), ("AWS_DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    through(s3_server)
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    client = boto3.client("s3")
    client.create_bucket(Bucket=name)
    client.close()
    return Bucket(f"s3://{name}/luthier", s3_server, tmp_path / "machines")
