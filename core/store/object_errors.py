"""What goes wrong between this machine and a store at a URL, in words for a person.

Libraries for object stores share no exceptions: system errors are recognised by their class, others
by their name and by the server's code. No message holds a credential.
"""

from __future__ import annotations

import errno
import os
import re
from typing import Any

from core.errors import TRACE, StoreError
from core.machine.remedy import is_full, remedy
from core.text.shown import without_credentials

__all__ = ["cannot_create", "code_of", "repeated", "store_error"]

#: Longest text of a server that a message repeats, in characters.
LONGEST = 200
#: How credentials are given, by the package that reads them.
CREDENTIALS = {
    "s3fs": "`aws configure`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gcsfs": "`gcloud auth application-default login`, or GOOGLE_APPLICATION_CREDENTIALS",
    "adlfs": "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and ..._KEY",
}
ELSEWHERE = "or keep results on this machine: store=/path/to/folder"
DENIED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "403")
#: Codes for a bucket in another region, and for a signature made for the wrong one.
REGION = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")


def _is_here(error: OSError) -> bool:
    """Return whether an error is about a file of this machine: servers' paths are relative."""
    return is_full(error) or (isinstance(error.filename, str) and os.path.isabs(error.filename))  # noqa: PTH117


def store_error(error: Exception, url: str, package: str) -> StoreError:
    """Return what `error`, raised by `package`, means for the store at `url`."""
    code, name = code_of(error), type(error).__name__
    given = CREDENTIALS.get(package, f"see the documentation of {package}")
    if isinstance(error, OSError) and error.errno is not None and _is_here(error):
        # No server says so: it is the copy on this machine that cannot be written.
        return StoreError(
            f"the store's copies on this machine cannot be written: {os.strerror(error.errno)}",
            f"at: {error.filename}" if error.filename else f"of: {url}",
            remedy(error, "XDG_CACHE_HOME=/path/to/folder", instead="keep the copies elsewhere"),
        )
    if code in ("NoSuchBucket", "ContainerNotFound") or isinstance(error, FileNotFoundError):
        return StoreError(
            "the store's bucket does not exist",
            f"at: {url}",
            f"make the bucket, correct the URL, {ELSEWHERE}",
        )
    if isinstance(error, PermissionError) or code in DENIED:
        reason = f" ({code})" if code and not code.isdigit() else ""
        return StoreError(
            f"the store denies access{reason}",
            f"at: {url}",
            "a run lists, reads, writes and deletes objects there; `mode=plan` lists and reads",
            f"check the rights of the account that was given by {given}",
        )
    if "Credential" in name or "Authenti" in name:
        return StoreError(
            "no credentials for the store were found", f"at: {url}", f"give them: {given}",
            ELSEWHERE,
        )  # fmt: skip
    if code in REGION:
        return StoreError(
            f"the store's bucket is in another region ({code})",
            f"at: {url}",
            "name its region: AWS_DEFAULT_REGION=...",
        )
    if code == "NotImplemented" or getattr(error, "errno", None) == errno.ENOSYS:
        return cannot_create(url)
    if isinstance(error, ConnectionError | TimeoutError) or re.search("Connect|Timeout", name):
        return StoreError(
            f"the store cannot be reached: {name}",
            f"at: {url}{_endpoint(package)}",
            f"check the network and the endpoint, and run again, {ELSEWHERE}",
            "finished results are kept on this machine",
        )
    return StoreError(
        f"the store failed: {name}: {repeated(str(error))}",
        f"at: {url}{_endpoint(package)}",
        f"run again, {ELSEWHERE}",
        TRACE,
    )


def cannot_create(url: str) -> StoreError:
    """Return the error for a server on which two jobs could overwrite each other's results."""
    return StoreError(
        "the store's server cannot create an object only where none is (`If-None-Match: *`)",
        f"at: {url}",
        "without that two jobs would overwrite each other; Amazon S3, MinIO, Google Cloud Storage "
        "and Azure can",
        "choose another server, or a folder: store=/path/to/folder",
    )


def code_of(error: BaseException | None) -> str:
    """Return the code of the server's answer behind an error, or nothing: `AccessDenied`."""
    while error is not None:
        answer: Any = getattr(error, "response", None)
        if isinstance(answer, dict):
            return str(answer.get("Error", {}).get("Code", ""))
        code = getattr(error, "error_code", None)  # Azure's
        if isinstance(code, str):
            return code
        error = error.__cause__
    return ""


def repeated(text: str) -> str:
    """Return the first line of a server's text, without queries of URLs, which sign requests."""
    line = re.sub(r"\?[^\s\"']*", "", (text.splitlines() or [""])[0])
    line = without_credentials(line)
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."


def _endpoint(package: str) -> str:
    """Return which server was asked, if an environment variable names it."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") if package == "s3fs" else ()
    given = next((os.environ[name] for name in names if os.environ.get(name)), "")
    return f", through {repeated(given)}" if given else ""
