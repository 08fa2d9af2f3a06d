"""The hosts that demucs fetches pretrained weights from, in the order in which they are asked."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

__all__ = ["RELEASE", "addresses", "hosts"]

#: The hub's own address, which `huggingface_hub` takes from the same variable, and demucs's release
#: (`demucs.pretrained.ROOT_URL`). Neither package is loaded for a plan.
HUB, RELEASE = "https://huggingface.co", "https://dl.fbaipublicfiles.com"


def addresses() -> tuple[str, str]:
    """Return the addresses of the hub and of the release."""
    return os.environ.get("HF_ENDPOINT", "").strip() or HUB, RELEASE


def hosts() -> tuple[str, ...]:
    """Return the names of the hosts."""
    return tuple(urlsplit(url).netloc.rpartition("@")[2] for url in addresses())
