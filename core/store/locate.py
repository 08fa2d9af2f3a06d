"""Opens the store of an address: a folder here, or a URL with a folder in front of it."""

from __future__ import annotations

import os
from pathlib import Path

from core.errors import ConfigError
from core.store.local import Store

__all__ = ["open_store"]


def open_store(root: str | None) -> Store:
    """Return the store at a folder or at a URL that fsspec knows; else where `LUTHIER_STORE` says.

    `s3://bucket/prefix` is a URL; `file:///a/folder` is that folder. Raises ConfigError for an
    invalid URL, and MissingLibraryError where its package is not installed.
    """
    place = root or os.environ.get("LUTHIER_STORE") or str(_cache() / "luthier")
    protocol, separator, path = place.partition("://")
    if not separator or protocol in ("file", "local"):
        if not path and separator:
            raise ConfigError(f"the store `{place}` names no folder", "give one: store=/a/folder")
        return Store(Path(path or place))
    # fsspec, and with it all that uses a network, is loaded only here.
    from core.store.object_store import opened
    from core.store.remote import RemoteStore

    return RemoteStore(opened(place), _cache() / "luthier" / "remotes")


def _cache() -> Path:
    """Return the user's folder of caches."""
    given = os.environ.get("XDG_CACHE_HOME")
    return Path(given) if given else Path.home() / ".cache"
