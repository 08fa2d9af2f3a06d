"""The stand-in's HTTP: the service's addresses, its storage, and S3 with credentials."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from qai_hub import public_api_pb2 as pb

from tests.hub import work
from tests.hub.cloud import DEVICES, FRAMEWORKS, Blob, Cloud, kind_of

PROTOBUF = "application/x-protobuf"
#: So small that a model of a few MB is uploaded in several parts.
PART = 2 * 2**20
BUCKET = "loopback-bucket"


class CutError(Exception):
    """The connection must be closed without an answer."""


class Handler(BaseHTTPRequestHandler):
    """Handles one request."""

    protocol_version = "HTTP/1.1"
    cloud: ClassVar[Cloud]

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        """Answer the request."""
        self._handle()

    do_POST = do_PUT = do_PATCH = do_HEAD = do_GET

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        head = "/api/v1/"
        self.cloud.log.append(f"{self.command} {parts.path.removeprefix(head)}")
        try:
            if parts.path.startswith("/storage/"):
                self._storage(parts.path.removeprefix("/storage/"))
            elif parts.path.startswith(f"/{BUCKET}/"):
                self._bucket(parts.path.removeprefix(f"/{BUCKET}/"))
            else:
                self._api(parts.path.removeprefix(head).strip("/"))
        except CutError:
            self.close_connection = True
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _api(self, path: str) -> None:
        body = self._body()
        faults = self.cloud.faults
        if faults.html:
            self._send(200, b"<html>please log in</html>", "text/html")
            return
        if self.headers.get("Authorization") != f"token {self.cloud.token}":
            self._send(401, b"{}", "application/json")
            return
        for (method, part), (status, times) in faults.answers.items():
            if method == self.command and re.search(part, path) and times:
                faults.answers[method, part] = (status, times - 1)
                self._send(status, b'{"detail": "told to fail"}', "application/json")
                return
        for method, pattern, answer in ROUTES:
            match = re.fullmatch(pattern, path)
            if method == self.command and match:
                try:
                    message = answer(self, body, *match.groups())
                except KeyError:
                    break
                self._send(200, message.SerializeToString(), PROTOBUF)
                return
        self._send(404, b'{"detail": "Not found."}', "application/json")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _uploaded(self) -> bytes:
        """Return the uploaded bytes, unless a fault cuts the connection in the middle."""
        if self.cloud.faults.take("cut_uploads"):
            self.rfile.read(int(self.headers.get("Content-Length") or 0) // 2)
            raise CutError
        return self._body()

    def _send(self, status: int, content: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _send_file(self, file: Path) -> None:
        """Send a file, whole or as the faults require."""
        faults, size = self.cloud.faults, file.stat().st_size
        truncated = self.command == "GET" and faults.take("truncated")
        length = size // 2 if truncated else size
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(length))
        self.send_header("ETag", '"0"')
        self.end_headers()
        if self.command == "HEAD":
            return
        cut, held = faults.take("cut_downloads"), faults.take("held_downloads")
        with file.open("rb") as stream:
            if cut or held:
                self.wfile.write(stream.read(length // 2))
                self.wfile.flush()
                self.cloud.log.append("half a download")
                if cut:
                    raise CutError
                faults.resume.wait()
            left = length - stream.tell()
            while left > 0:
                chunk = stream.read(min(left, 2**20))
                self.wfile.write(chunk)
                left -= len(chunk)

    def _storage(self, key: str) -> None:
        """Serve the target of a signed link: a part of a model, a form with a dataset, a file."""
        name, _, part = key.partition("/")
        blob = self.cloud.models.get(name) or self.cloud.datasets[name]
        if self.command == "GET":
            self._send_file(blob.file)
            return
        if self.command == "PUT":
            content = self._uploaded()
            blob.parts[int(part)] = content
            self._send(200, b"", "text/plain", ETag=f'"{_etag(content)}"')
        else:
            self._form(blob.file)
            self._send(204, b"", "text/plain")

    def _form(self, target: Path) -> None:
        """Write the file of a form to `target` while it arrives: the client waits at most 4 s."""
        left = int(self.headers["Content-Length"])
        if self.cloud.faults.take("cut_uploads"):
            self.rfile.read(left // 2)
            raise CutError
        boundary = self.headers["Content-Type"].partition("boundary=")[2]
        with target.open("wb") as file:
            seen = 0
            while seen < 2:  # up to the empty line behind the file's name, where its content begins
                line = self.rfile.readline()
                left -= len(line)
                seen += b'name="file"' in line if seen == 0 else line == b"\r\n"
            while left:
                chunk = self.rfile.read(min(left, 2**20))
                left -= len(chunk)
                file.write(chunk)
            file.truncate(file.tell() - len(f"\r\n--{boundary}--\r\n"))

    def _bucket(self, name: str) -> None:
        """Serve one object by its name with credentials, as S3 does."""
        blob = self.cloud.models.get(name) or self.cloud.datasets[name]
        if self.command == "PUT":
            content = self._uploaded()
            blob.file.write_bytes(content)
            self._send(200, b"", "text/plain", ETag=f'"{_etag(content)}"')
        else:
            self._send_file(blob.file)

    @property
    def root(self) -> str:
        """Return the address of the server."""
        return f"http://{self.headers['Host']}"


def _etag(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _created(blob_id: str) -> pb.CreateUpdateResponse:
    answer = pb.CreateUpdateResponse(id=blob_id)
    answer.creation_time.GetCurrentTime()
    return answer


def _page(handler: Handler, everything: list[Any]) -> list[Any]:
    first = int(handler.query.get("offset", 0))
    return everything[first : first + int(handler.query.get("limit", 50))]


def _user(handler: Handler, body: bytes) -> pb.User:
    return pb.User(id=7, email="nobody@localhost", token=handler.cloud.token)


def _devices(handler: Handler, body: bytes) -> pb.DeviceList:
    name, os = handler.query.get("name", ""), handler.query.get("os", "")
    found = [
        pb.Device(name=of, os=version, attributes=FRAMEWORKS)
        for of, version in DEVICES
        if name in ("", of) and os in ("", version)
    ]
    return pb.DeviceList(devices=found[:1] if handler.query.get("select") == "True" else found)


def _new_model(handler: Handler, body: bytes) -> pb.CreateUpdateResponse:
    given = pb.Model.FromString(body)
    blob = handler.cloud.add_model(given.name, given.model_type)
    blob.about.is_directory = given.is_directory
    return _created(blob.about.model_id)


def _new_dataset(handler: Handler, body: bytes) -> pb.CreateUpdateResponse:
    blob = handler.cloud.add_dataset(pb.Dataset.FromString(body).name)
    answer = _created(blob.about.dataset_id)
    answer.expiration_time.CopyFrom(blob.about.expiration_time)
    return answer


def _credentials(name: str, filename: str) -> pb.S3Credentials:
    return pb.S3Credentials(
        access_key_id="LOOPBACKKEY",
        secret_access_key="none",
        session_token="for-one-object",
        bucket=BUCKET,
        key=name,
        region="us-west-2",
        filename=filename,
    )


def _model_upload(handler: Handler, body: bytes, name: str) -> pb.FileUploadResponse:
    blob = handler.cloud.models[name]
    if handler.cloud.faults.credentials:
        return pb.FileUploadResponse(credentials=_credentials(name, blob.filename))
    parts = max(1, -(-int(handler.query["file_size"]) // PART))
    urls = [f"{handler.root}/storage/{name}/{n}?X-Amz-Signature=secret{n}" for n in range(parts)]
    return pb.FileUploadResponse(
        multipart_url=pb.FileMultipartUploadURL(urls=urls, upload_id="u1", max_part_size=PART)
    )


def _model_complete(handler: Handler, body: bytes, name: str) -> pb.CreateUpdateResponse:
    blob = handler.cloud.models[name]
    given = pb.FileMultipartUploadComplete.FromString(body)
    parts = [blob.parts[n] for n in range(len(given.etags))]
    assert [e.strip('"') for e in given.etags] == [_etag(p) for p in parts]
    blob.file.write_bytes(b"".join(parts))
    blob.parts.clear()
    blob.about.file_upload_complete = True
    return _created(name)


def _whole(handler: Handler, body: bytes, of: str, name: str) -> pb.CreateUpdateResponse:
    blob: Blob = getattr(handler.cloud, of)[name]
    assert blob.file.is_file()
    blob.about.file_upload_complete = True
    return _created(name)


def _dataset_upload(handler: Handler, body: bytes, name: str) -> pb.FileUploadResponse:
    if handler.cloud.faults.credentials:
        return pb.FileUploadResponse(credentials=_credentials(name, f"{name}.h5"))
    url = f"{handler.root}/storage/{name}?X-Amz-Signature=secret"
    form = pb.FileUploadURL(url=url, file_field_name="file", fields={"key": name})
    return pb.FileUploadResponse(url=form)


def _download(handler: Handler, body: bytes, of: str, name: str) -> pb.FileDownloadResponse:
    blob: Blob = getattr(handler.cloud, of)[name]
    if handler.cloud.faults.credentials:
        return pb.FileDownloadResponse(credentials=_credentials(name, blob.filename))
    url = f"{handler.root}/storage/{name}?X-Amz-Signature=secret"
    return pb.FileDownloadResponse(url=pb.FileDownloadURL(url=url, filename=blob.filename))


def _new_job(handler: Handler, body: bytes) -> pb.CreateUpdateResponse:
    cloud = handler.cloud
    job_id = cloud.add_job(pb.Job.FromString(body))
    threading.Thread(target=work.do, args=(cloud, job_id), daemon=True).start()
    if cloud.faults.take("held_submits"):
        cloud.log.append("a job without an answer")
        cloud.faults.resume.wait()
    if cloud.faults.take("doubled"):
        handler._send(502, b"", "text/plain")
        raise CutError
    return _created(job_id)


def _job(handler: Handler, body: bytes, name: str) -> pb.Job:
    job = handler.cloud.jobs[name]
    if kind_of(job) == "inference" and not job.inference_job.device.name:
        raise KeyError(name)
    return job


def _summaries(handler: Handler, body: bytes) -> pb.JobSummaryList:
    found = handler.cloud.summaries(handler.query.get("type", ""))
    return pb.JobSummaryList(job_summaries=_page(handler, found), total_query_count=len(found))


def _list(of: str, message: Callable[..., Any]) -> Callable[..., Any]:
    def answer(handler: Handler, body: bytes) -> Any:
        blobs: dict[str, Blob] = getattr(handler.cloud, of)
        return message(**{of: _page(handler, [b.about for b in reversed(blobs.values())])})

    return answer


ROUTES: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("GET", "users/auth/user", _user),
    ("GET", "devices", _devices),
    ("POST", "models", _new_model),
    ("GET", "models", _list("models", pb.ModelList)),
    ("GET", "models/([^/]+)", lambda h, _, n: h.cloud.models[n].about),
    ("GET", "models/([^/]+)/multipart_upload", _model_upload),
    ("POST", "models/([^/]+)/multipart_upload", _model_complete),
    ("POST", "(models|datasets)/([^/]+)/upload_complete", _whole),
    ("GET", "(models)/([^/]+)/download", _download),
    ("POST", "datasets", _new_dataset),
    ("GET", "datasets", _list("datasets", pb.DatasetList)),
    ("GET", "datasets/([^/]+)", lambda h, _, n: h.cloud.datasets[n].about),
    ("GET", "datasets/([^/]+)/upload_url", _dataset_upload),
    ("PATCH", "(datasets)/([^/]+)", _whole),
    ("GET", "(datasets)/([^/]+)/download_data", _download),
    ("POST", "jobs", _new_job),
    ("GET", "jobs/([^/]+)", _job),
    ("GET", "jobs/([^/]+)/result", lambda h, _, n: h.cloud.results[n]),
    ("GET", "job_summaries", _summaries),
)


@contextlib.contextmanager
def serving(cloud: Cloud, port: int = 0) -> Iterator[str]:
    """Serve `cloud` on loopback while the block runs; yields the address."""
    handler = type("Bound", (Handler,), {"cloud": cloud})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        cloud.faults.resume.set()
        server.shutdown()
        server.server_close()
        thread.join()
