"""The objects below a URL, through fsspec: read, listed, removed, and created once.

Object stores have no rename and no locks. But they have a write that fails if the object exists
(`If-None-Match: *` on S3 and Azure, `ifGenerationMatch=0` on Google's): of several makers exactly
one creates it, whatever their clocks say.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from core.errors import ConfigError, MissingLibraryError, StoreError, did_you_mean
from core.store.object_errors import code_of, store_error

__all__ = ["Remote", "opened"]

#: Filesystems of fsspec whose `pipe_file(..., mode="create")` is atomic, by their protocols. Others
#: check first and then write (fsspec 2026.9, `AbstractFileSystem.pipe_file`).
CREATE = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")
#: Seconds that S3 is given to accept a connection: botocore waits 60, five times.
CONNECT_S = 10
#: Pauses in seconds before a creation is tried again that met another one of the same name.
CONFLICT_S = (0.1, 0.5, 2.0)
#: What S3 answers if an object exists, and if another write of it is under way. s3fs makes the
#: first a FileExistsError only if the answer names the condition, which not all servers do.
EXISTS = ("PreconditionFailed", "412")
CONFLICT = ("ConditionalRequestConflict", "409")
#: fsspec's memory checks first and then writes, but only threads of one process share it.
_MEMORY = threading.Lock()


def opened(url: str) -> Remote:
    """Return the objects below `url`, without any access to the network yet.

    Raises ConfigError for a URL that no store can have, MissingLibraryError where the package of
    its protocol is not installed, and StoreError if that package finds no account.
    """
    import fsspec
    from fsspec.registry import known_implementations

    protocol, shown = _checked(url)
    spec = known_implementations.get(protocol, {}).get("class", "")
    package = str(spec).partition(".")[0]
    options: dict[str, Any] = {"use_listings_cache": False}
    if package == "s3fs":
        own = fsspec.config.conf.get(protocol, {}).get("config_kwargs", {})
        options["config_kwargs"] = {"connect_timeout": CONNECT_S, **own}
    try:
        files, root = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        raise MissingLibraryError(
            f"a store at `{protocol}://` needs `{package}`, not installed",
            f"store: {shown}",
            f"install it: pip install '{package}'",
        ) from error
    except Exception as error:
        raise store_error(error, shown, package) from error
    return Remote(files, root.rstrip("/"), shown, package)


def _checked(url: str) -> tuple[str, str]:
    """Return the protocol of a URL and how it is shown; raises ConfigError."""
    parts = urlsplit(url)
    # Azure's own form (`abfs://container@account.dfs.core.windows.net`) has no user before `@`.
    user = ":" in parts.netloc or ("@" in parts.netloc and not parts.scheme.startswith("abfs"))
    if user or "?" in url or "#" in url:
        # Not shown, not even in part: who knows which part is the secret.
        raise ConfigError(
            "the store's URL holds more than a bucket and a prefix",
            "a user name, a password or a query would be seen in logs and in lists of processes",
            "give credentials where the cloud's own tools read them (docs/store.md), "
            f"and the URL without them: store={parts.scheme}://bucket/prefix",
        )
    if "::" in url or parts.scheme not in CREATE:
        raise ConfigError(
            f"the store cannot be at `{url}`",
            f"possible: {', '.join(f'{p}://' for p in CREATE)}, or a folder: store=/path/to/folder",
            did_you_mean(parts.scheme, CREATE)
            or "no other filesystem is known to create a file only where none is, which keeps "
            "two jobs from overwriting each other",
        )
    if not parts.netloc:
        raise ConfigError(
            f"the store `{url}` names no bucket", f"give one: store={parts.scheme}://bucket/prefix"
        )
    return parts.scheme, url.rstrip("/")


class Remote:
    """Objects below `url`, by names with slashes; every failure but absence is a StoreError.

    Retries are left to the libraries, which know what is transient: s3fs and botocore repeat a
    request four times over about 10 s.
    """

    def __init__(self, files: Any, root: str, url: str, package: str) -> None:
        self.url = url
        self._files, self._root, self._package = files, root, package

    def read(self, name: str) -> bytes | None:
        """Return an object, or None where there is none."""
        try:
            content: bytes = self._call("cat_file", self._path(name))
        except FileNotFoundError:
            return None
        return content

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return those of several objects that exist, by their names."""
        paths = {self._path(name): name for name in names}
        if not paths:
            return {}
        found = self._call("cat", list(paths), on_error="omit")
        return {paths[path]: content for path, content in found.items()}

    def create(self, name: str, content: bytes) -> bool:
        """Write an object unless there is one; returns whether the object there is `content`.

        `content` must be the caller's alone (hold a random name): if the answer to a request was
        lost, a library repeats the request and learns that an object is there, its own.
        """
        memory = _MEMORY if self._package == "fsspec" else contextlib.nullcontext()
        pauses = iter(CONFLICT_S)
        while True:
            try:
                with memory:
                    self._put("pipe_file", self._path(name), content, mode="create")
            except FileExistsError:
                return self.read(name) == content
            except StoreError as error:
                code = code_of(error)
                if code in EXISTS:
                    return self.read(name) == content
                pause = next(pauses, None) if code in CONFLICT else None
                if pause is None:
                    raise
                time.sleep(pause)
            else:
                return True

    def write(self, name: str, content: bytes) -> None:
        """Write an object, in place of one that is there."""
        self._put("pipe_file", self._path(name), content)

    def send(self, files: Mapping[str, Path]) -> None:
        """Upload files, by the names of the objects."""
        self._put("put", [str(f) for f in files.values()], [self._path(n) for n in files])

    def fetch(self, files: Mapping[str, Path]) -> bool:
        """Download objects to files, by the names of the objects; False where one is missing."""
        try:
            self._call("get", [self._path(n) for n in files], [str(f) for f in files.values()])
        except FileNotFoundError:
            return False
        return True

    def below(self, name: str) -> list[str]:
        """Return the names of all objects below a name."""
        return self._listed("find", name)

    def folders(self, name: str) -> list[str]:
        """Return the last part of every name directly below the folder `name`."""
        return [path.rpartition("/")[2] for path in self._listed("ls", name, detail=False)]

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects; one that is gone already is no error."""
        for name in names:
            try:
                self._call("rm_file", self._path(name))
            except FileNotFoundError:
                continue

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _listed(self, method: str, name: str, **options: Any) -> list[str]:
        # Some filesystems reuse listings although they were told to cache none.
        self._files.invalidate_cache()
        try:
            found = self._call(method, self._path(name), **options)
        except FileNotFoundError:
            return []
        root = self._root.lstrip("/") + "/"
        names = (path.lstrip("/").removeprefix(root).rstrip("/") for path in found)
        return [one for one in names if one != name]

    def _put(self, method: str, *arguments: Any, **options: Any) -> None:
        """Call a method that writes: only the bucket can be absent then."""
        try:
            self._call(method, *arguments, **options)
        except FileNotFoundError as error:
            raise store_error(error, self.url, self._package) from error

    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call fsspec; raises FileNotFoundError, FileExistsError and StoreError."""
        try:
            return getattr(self._files, method)(*arguments, **options)
        except (FileNotFoundError, FileExistsError) as error:
            if code_of(error) != "NoSuchBucket":
                raise
            raise store_error(error, self.url, self._package) from error
        except Exception as error:
            raise store_error(error, self.url, self._package) from error
