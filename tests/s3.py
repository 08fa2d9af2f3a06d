"""A server of the S3 protocol on this machine, and a network in front of it that can fail."""

from __future__ import annotations

import http.client
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: Values that no message may hold.
ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "a-secret-that-nobody-may-see",
    "AWS_SESSION_TOKEN": "a-token-that-nobody-may-see",
}


@contextmanager
def server() -> Iterator[str]:
    """Run moto's server on a free port; yields its URL."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    try:
        host, port = running.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        running.stop()


@dataclass
class Network:
    """The treatment of requests on their way to the server; a test sets it.

    `busy` is the number of requests to answer with 503. `lose` is the number of PUTs to pass on
    without an answer. `read_only` denies writing requests, as for an account without this right.
    `forgetful` removes the condition `If-None-Match`, like a server that does not know it. `step`
    is called before a request is passed on and again before its answer is passed back.
    """

    url: str = ""
    busy: int = 0
    lose: int = 0
    read_only: bool = False
    forgetful: bool = False
    seen: list[str] = field(default_factory=list)
    step: Callable[[], None] = lambda: None


class _Silent(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that are gone: some clients are killed."""


@contextmanager
def network(to: str) -> Iterator[Network]:
    """Run a proxy in front of the server at `to`."""
    faults, target = Network(), to.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            faults.seen.append(f"{self.command} {self.path}")
            faults.step()
            if faults.busy:
                faults.busy -= 1
                self.reply(503, {}, b"<Error><Code>ServiceUnavailable</Code></Error>")
                return
            if faults.read_only and self.command not in ("GET", "HEAD"):
                self.reply(403, {}, b"<Error><Code>AccessDenied</Code></Error>")
                return
            headers = dict(self.headers.items())
            if faults.forgetful:
                headers.pop("If-None-Match", None)
            server = http.client.HTTPConnection(target)
            server.request(self.command, self.path, body, headers)
            answer = server.getresponse()
            content = answer.read()
            server.close()
            faults.step()
            if faults.lose and self.command == "PUT":
                faults.lose -= 1
                self.close_connection = True
                return
            self.reply(answer.status, dict(answer.getheaders()), content)

        def reply(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            length = headers.get("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer  # noqa: N815  # http.server's names

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    proxy = _Silent(("127.0.0.1", 0), Handler)
    proxy.daemon_threads = True
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    faults.url = f"http://127.0.0.1:{proxy.server_address[1]}"
    try:
        yield faults
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()
