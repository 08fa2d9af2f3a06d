"""Gives a test an account of the stand-in, and blocks every other network."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.hub.cloud import TOKEN, Cloud
from tests.hub.server import serving


@contextlib.contextmanager
def account(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Serve a new cloud with its files in `folder`; this process and its children use the cloud."""
    folder.mkdir(parents=True, exist_ok=True)
    cloud = Cloud(folder)
    with serving(cloud) as url:
        cloud.url = url
        patch.setenv("QAI_HUB_API_URL", url)
        patch.setenv("QAI_HUB_API_TOKEN", TOKEN)
        patch.setenv("AWS_ENDPOINT_URL_S3", url)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield cloud


def loopback_only(patch: pytest.MonkeyPatch) -> None:
    """Make every connection of this process to another machine fail."""
    connect: Callable[..., Any] = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            assert ip_address(address[0]).is_loopback, f"a test reached for {address}"
        return connect(self, address)

    patch.setattr(socket.socket, "connect", guarded)


def hurried(patch: pytest.MonkeyPatch) -> None:
    """Shorten every wait between two tries; the client itself stays unchanged."""
    sleep = time.sleep
    patch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.01)))
