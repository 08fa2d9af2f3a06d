"""A server of the S3 protocol in its own process; it kills a command at one of its requests.

A request has two places for a kill: at its arrival, and after its work, before the answer is sent.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import time
import traceback
import urllib.request
from typing import NoReturn
from xml.etree import ElementTree as ET

from tests import s3

__all__ = ["Bucket"]

NAME = "torture"
#: The places of the shared numbers: passed places, the place of the kill, the process to kill.
PASSED, AT, VICTIM = 0, 1, 2
NAMES = "{http://s3.amazonaws.com/doc/2006-03-01/}Key"


class Bucket:
    """An empty bucket; the server lives until `close`."""

    url = f"s3://{NAME}/luthier"

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 24)
        ready, tell = os.pipe()
        self._server = os.fork()
        if not self._server:
            os.close(ready)
            _serve(self._shared, tell)
        os.close(tell)
        with os.fdopen(ready) as said:
            self._direct, self._endpoint = said.readline().split()
        urllib.request.urlopen(urllib.request.Request(f"{self._direct}/{NAME}", method="PUT"))  # noqa: S310  # http

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables by which a command finds the server."""
        return {
            **s3.ACCOUNT,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_S3": self._endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nowhere/config",
            "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
        }

    def kill_at(self, place: int) -> None:
        """Set the place of the kill, counted from 1."""
        _write(self._shared, PASSED, 0)
        _write(self._shared, AT, place)

    def watch(self, pid: int) -> None:
        """Set the process to kill, together with its group."""
        _write(self._shared, VICTIM, pid)

    def requests(self) -> int:
        """Return the number of passed places."""
        return _read(self._shared, PASSED)

    def objects(self) -> list[str]:
        """Return the names of all objects."""
        with urllib.request.urlopen(f"{self._direct}/{NAME}?list-type=2") as answer:  # noqa: S310  # http
            tree = ET.fromstring(answer.read())  # noqa: S314  # our own server's
        return sorted(found.text or "" for found in tree.iter(NAMES))

    def leftovers(self) -> list[str]:
        """Return the results that have more than one attempt, one line each."""
        attempts: dict[tuple[str, str], set[str]] = {}
        for name in self.objects():
            parts = name.removeprefix("luthier/").split("/")
            if parts[0] != "locks" and len(parts) > 3:
                attempts.setdefault((parts[0], parts[1]), set()).add(parts[2])
        return [
            f"{step}/{key}: {len(of)} attempts"
            for (step, key), of in attempts.items()
            if len(of) > 1
        ]

    def close(self) -> None:
        """End the server."""
        os.kill(self._server, signal.SIGKILL)
        os.waitpid(self._server, 0)


def _serve(shared: mmap.mmap, tell: int) -> NoReturn:
    """Run as the server; never returns."""
    try:
        with s3.server() as url, s3.network(url) as network:

            def step() -> None:
                passed = _read(shared, PASSED) + 1
                _write(shared, PASSED, passed)
                if passed == _read(shared, AT):
                    os.killpg(_read(shared, VICTIM), signal.SIGKILL)

            network.step = step
            os.write(tell, f"{url} {network.url}\n".encode())
            os.close(tell)
            while True:
                time.sleep(60)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _read(shared: mmap.mmap, place: int) -> int:
    value: int = struct.unpack_from("q", shared, 8 * place)[0]
    return value


def _write(shared: mmap.mmap, place: int, value: int) -> None:
    struct.pack_into("q", shared, 8 * place, value)
