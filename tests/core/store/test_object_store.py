"""Objects at a URL: created once, and what goes wrong said without a credential."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from core.errors import ConfigError, LuthierError, MissingLibraryError, StoreError
from core.store.local import Store
from core.store.locate import open_store
from core.store.object_errors import repeated, store_error
from core.store.object_store import opened
from core.store.remote import RemoteStore
from tests import s3
from tests.core.conftest import Bucket
from tests.core.store.test_local import FINGERPRINT, put


@pytest.fixture
def network(bucket: Bucket, through: Callable[[str], None]) -> Iterator[s3.Network]:
    """Return a network that can fail, between this process and the bucket."""
    with s3.network(bucket.endpoint) as network:
        through(network.url)
        yield network


def failing(call: Callable[[], object]) -> str:
    """Return the message that a call ends in; it holds nothing of the account."""
    with pytest.raises(LuthierError) as caught:
        call()
    message = str(caught.value)
    assert not [secret for secret in s3.ACCOUNT.values() if secret in message]
    return message


def test_an_object_is_created_once(bucket: Bucket) -> None:
    """A second creation of an object is refused, and the first object stays."""
    remote = opened(bucket.url)
    assert remote.create("x", b"first")
    assert not remote.create("x", b"second")
    assert remote.read("x") == b"first"


def test_a_creation_whose_answer_was_lost_is_the_creators_own(
    bucket: Bucket, network: s3.Network
) -> None:
    """A repeated request after a lost answer finds the creator's own object."""
    remote = opened(bucket.url)
    network.lose = 1
    assert remote.create("x", b"mine")
    assert sum(line.startswith("PUT") for line in network.seen) == 2


def test_a_busy_server_is_asked_again(bucket: Bucket, network: s3.Network) -> None:
    """Temporary errors of a busy server are retried and raise nothing."""
    put(bucket.store("a"))
    network.busy = 2
    assert bucket.store("b").find("graph", FINGERPRINT) is not None
    assert network.busy == 0


def test_a_server_that_overwrites_is_refused(bucket: Bucket, network: s3.Network) -> None:
    """A server that overwrites is refused at once: two jobs would replace each other's results."""
    network.forgetful = True
    store = bucket.store("a")
    with (
        pytest.raises(StoreError, match="only where none is"),
        store.lock("graph", FINGERPRINT, print),
    ):
        pass


def test_who_may_only_read_takes_what_others_made(bucket: Bucket, network: s3.Network) -> None:
    """With read-only rights, a damaged result reads as absent, and making one is denied."""
    put(bucket.store("a"))
    network.read_only = True
    store = bucket.store("b")
    assert store.find("graph", FINGERPRINT) is not None
    network.read_only = False
    remote = opened(bucket.url)
    (file,) = (name for name in remote.below("graph") if name.endswith("a.txt"))
    remote.write(file, b"tampered")
    network.read_only = True
    another = bucket.store("c")
    assert another.find("graph", FINGERPRINT) is None
    message = failing(lambda: put(another))
    assert message.startswith("the store denies access (AccessDenied)")


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_not_there_is_named() -> None:
    """A missing bucket is an error with its name, not an empty store."""
    store = open_store("s3://no-such-bucket/x")
    message = failing(lambda: store.find("graph", FINGERPRINT))
    assert message.startswith("the store's bucket does not exist\n  at: s3://no-such-bucket/x\n")
    assert message == failing(lambda: put(store))


def test_an_account_without_rights_is_told_what_it_needs(bucket: Bucket) -> None:
    """When the server denies access, the error names the rights that a run needs."""
    import requests

    requests.post(f"{bucket.endpoint}/moto-api/reset-auth", data=b"0", timeout=20)
    try:
        message = failing(lambda: bucket.store("a").find("graph", FINGERPRINT))
    finally:
        requests.post(f"{bucket.endpoint}/moto-api/reset-auth", data=b"inf", timeout=20)
    assert message.startswith(f"the store denies access\n  at: {bucket.url}\n")
    assert "lists, reads, writes and deletes" in message


def test_without_an_account_it_is_said_where_one_is_read(
    bucket: Bucket, through: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any credentials, the error names the places where they are read."""
    for name in s3.ACCOUNT:
        monkeypatch.delenv(name)
    through(bucket.endpoint)
    message = failing(lambda: bucket.store("a").find("graph", FINGERPRINT))
    assert message.startswith("no credentials for the store were found")
    assert "aws configure" in message


def test_a_server_that_is_not_there_is_named(
    bucket: Bucket, through: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error for an unreachable server names the endpoint from the environment."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    through("http://127.0.0.1:9")
    message = failing(lambda: bucket.store("a").find("graph", FINGERPRINT))
    assert message.startswith("the store cannot be reached")
    assert "through http://127.0.0.1:9\n" in message


@pytest.mark.parametrize(
    "url",
    [
        "s3://me:a-secret@bucket/prefix",
        "s3://me:a/secret@bucket/prefix",
        "s3://a-secret@bucket/prefix",
        "s3://bucket/prefix?token=a-secret",
        "s3://bucket/prefix#a-secret",
        "abfs://container:a-secret@account/prefix",
    ],
)
def test_a_url_with_credentials_is_refused_and_not_repeated(url: str) -> None:
    """A URL with credentials is refused without repeating it, since logs would hold it."""
    message = failing(lambda: open_store(url))
    assert "secret" not in message
    assert f"store={url.partition('://')[0]}://bucket/prefix" in message


def test_a_filesystem_that_cannot_create_exclusively_is_refused() -> None:
    """The error names the filesystems that can create a file exclusively."""
    with pytest.raises(ConfigError, match="cannot be at `sftp://host/x`") as caught:
        open_store("sftp://host/x")
    assert "s3://" in str(caught.value)


def test_a_mistyped_protocol_gets_the_nearest() -> None:
    """A mistyped protocol gives the nearest name, as for any other name."""
    with pytest.raises(ConfigError, match="did you mean `s3"):
        open_store("s3b://bucket/x")


def test_a_package_that_is_missing_comes_with_its_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A missing package of fsspec's registry is reported with its install command."""
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(MissingLibraryError, match="pip install 'gcsfs'"):
        open_store("gs://bucket/x")


def test_a_file_url_is_a_folder(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file URL, also from the variable, is a folder with renames and locks, without a cache."""
    assert type(open_store(f"file://{tmp_path}")) is Store
    assert open_store(f"file://{tmp_path}").address == str(tmp_path)
    monkeypatch.setenv("LUTHIER_STORE", f"file://{tmp_path}")
    assert open_store(None).address == str(tmp_path)


def test_the_variable_takes_a_url(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment variable gives the URL where the command names no store."""
    monkeypatch.setenv("LUTHIER_STORE", bucket.url)
    store = open_store(None)
    assert isinstance(store, RemoteStore)
    assert store.address == bucket.url


def test_a_servers_words_are_repeated_without_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither credentials of a URL nor those of the environment appear in messages."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-long-secret")
    text = "GET https://me:pass@host/x?X-Amz-Signature=abc with a-long-secret\nsecond line"
    assert repeated(text) == "GET https://host/x with ..."
    message = str(store_error(RuntimeError(text), "s3://bucket/x", "s3fs"))
    assert message.startswith("the store failed: RuntimeError: GET https://host/x with ...\n")
