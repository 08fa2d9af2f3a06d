"""Whether demucs's own weights are on this machine, without a network and without loading torch.

`demucs.pretrained` asks the hub first, whose files lie in `huggingface_hub`'s cache, and its own
release next, whose files lie in that of `torch.hub`. A file that was put into the latter by hand,
under its own name, is found there like one that was downloaded.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from plugins.model._hybrid.hosts import RELEASE

__all__ = ["CHECKPOINTS", "address", "cached", "checkpoints"]

#: Where torch keeps its downloads, as a person types it.
CHECKPOINTS = "~/.cache/torch/hub/checkpoints"
#: The repository and the files that `demucs.hf.get_hf_model("htdemucs")` asks for.
REPOSITORY, BAG = "models--adefossez--HTDemucs", "htdemucs.yaml"
SIGNATURE = "955717e8"


def address() -> str:
    """Return where demucs's release has the weights of `htdemucs`; "" where demucs lists none."""
    spec = importlib.util.find_spec("demucs")
    if spec is None or not spec.submodule_search_locations:
        return ""
    listed = Path(next(iter(spec.submodule_search_locations)), "remote", "files.txt")
    root = ""
    for line in listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else ():
        if line.startswith("root:"):
            root = line.partition(":")[2].strip()
        elif line.startswith(f"{SIGNATURE}-"):
            return f"{RELEASE}/demucs/{root}{line.strip()}"
    return ""


def checkpoints() -> Path:
    """Return the folder of `torch.hub.load_state_dict_from_url`, after torch's own rules."""
    home = os.environ.get("TORCH_HOME") or Path(_cache(), "torch")
    return Path(home, "hub", "checkpoints").expanduser()


def cached() -> Path | None:
    """Return the file with the weights of `htdemucs`, from the hub's cache or from torch's."""
    hub = os.environ.get("HF_HUB_CACHE") or Path(
        os.environ.get("HF_HOME") or Path(_cache(), "huggingface"), "hub"
    )
    repository = Path(hub).expanduser() / REPOSITORY
    main = repository / "refs" / "main"
    if main.is_file():
        snapshot = repository / "snapshots" / main.read_text(encoding="utf-8").strip()
        weights = snapshot / f"{SIGNATURE}.safetensors"
        if weights.is_file() and (snapshot / BAG).is_file():
            return weights
    name = address().rpartition("/")[2]
    released = checkpoints() / name
    return released if name and released.is_file() else None


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
