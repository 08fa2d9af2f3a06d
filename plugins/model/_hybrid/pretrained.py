"""Fetches demucs's pretrained models, in a process of its own that can be given up.

The child asks whether the hub can be reached (3 s each), and says so, before it loads anything that
takes long; then it reads its files from the hub or from the local cache. The parent gives up when
it hears nothing for `PATIENCE_S`: demucs's own loader takes 25 s to fail without a network. Only
safetensors come back.
"""

from __future__ import annotations

import json
import math
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from core import InputError, Progress
from core.machine.child_process import (
    PROGRESS_MARK,
    Limits,
    child_environment,
    python_child,
    run_watched,
)
from core.machine.paths import below
from plugins.model._hybrid.hosts import addresses

__all__ = ["fetch"]

PATIENCE_S = 12.0
PROBE_S = 3.0
REACHED, LOCAL = "reached", "local"


def fetch(name: str, target: Path, progress: Progress) -> None:
    """Write the pretrained model `name` to `target`; raises InputError when it cannot be had.

    `name` is any name that demucs knows (`htdemucs`, `htdemucs_6s`, a signature), or
    `hf://namespace/name`.
    """
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}

    def wait(message: str, waited: float) -> None:
        doing = {REACHED: f"fetching {name}", LOCAL: f"looking for {name} on this machine"}
        progress(waited, 0, doing.get(message, "looking for the model hub"))
        if message not in doing and waited > PATIENCE_S:
            raise InputError(
                f"pretrained model `{name}` cannot be fetched: no answer",
                f"waited {PATIENCE_S:.0f} s",
                "check the network, or give a local file: model.weights=FILE",
            )

    end = run_watched(
        python_child(__name__, name, str(target.resolve())),
        limits=Limits(seconds=math.inf),  # as long as the network takes
        progress=wait,
        environment={**child_environment(), **quiet},
        folder=target.parent,
    )
    if end.code != 0 or not target.is_file():
        reason = end.tail.strip().rpartition("\n")[2] or f"exit code {end.code}"
        raise InputError(
            f"pretrained model `{name}` cannot be fetched",
            reason,
            "check the name and the network, or give a local file: model.weights=FILE",
        )


def _reachable(url: str) -> bool:
    """Return whether a server answers at all; any HTTP status will do."""
    try:
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310  # both are https
        with urllib.request.urlopen(request, timeout=PROBE_S):  # noqa: S310
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


def _child(name: str, target: Path) -> None:
    """Load one model and write it as safetensors."""
    online = any(map(_reachable, addresses()))
    print(f"{PROGRESS_MARK}{REACHED if online else LOCAL}", flush=True)
    from huggingface_hub import constants

    if not online:
        constants.HF_HUB_OFFLINE = True
    from plugins.model._hybrid import checkpoint

    try:
        found = _from_hub(name)
    except Exception as error:  # the hub's client raises from a dozen families
        if name.startswith("hf://"):
            raise SystemExit(
                f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            ) from error
        found = _from_release(name, online=online)
    checkpoint.write(checkpoint.read(found), target)


def _from_hub(name: str) -> Path:
    """Return the weights of a model on the hub, from the cache when there is no network."""
    import yaml
    from demucs.hf import DEFAULT_NAMESPACE, hf_repo_name
    from huggingface_hub import hf_hub_download

    namespace, _, short = name.removeprefix("hf://").rpartition("/")
    repository = f"{namespace or DEFAULT_NAMESPACE}/{hf_repo_name(short)}"
    bag = yaml.safe_load(Path(hf_hub_download(repository, f"{short}.yaml")).read_text())
    return Path(hf_hub_download(repository, f"{_only(short, bag)}.safetensors"))


def _from_release(name: str, *, online: bool) -> Path:
    """Return the weights of a model of demucs's own release, downloaded once and checked."""
    import torch
    import yaml
    from demucs.pretrained import REMOTE_ROOT, _parse_remote_files

    files = _parse_remote_files(REMOTE_ROOT / "files.txt")
    bag = REMOTE_ROOT / f"{name}.yaml"
    signature = _only(name, yaml.safe_load(bag.read_text())) if bag.is_file() else name
    if signature not in files:
        raise SystemExit(f"demucs knows no model named {name}")
    url = files[signature]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not cached.is_file():
        if not online:
            raise SystemExit("the model hub cannot be reached, and the model is not in the cache")
        cached.parent.mkdir(parents=True, exist_ok=True)
        prefix = cached.stem.partition("-")[2]
        torch.hub.download_url_to_file(url, str(cached), hash_prefix=prefix, progress=False)
    return cached


def _only(name: str, bag: dict[str, Any]) -> str:
    """Return the one model of a bag; a device runs one network, not an average of several."""
    signatures = [str(s) for s in bag["models"]]
    if len(signatures) > 1:
        raise SystemExit(
            f"{name} is a bag of {len(signatures)} models; choose one: "
            f"model.name={json.dumps(signatures)}"
        )
    # The list comes with the model; the name becomes that of a file.
    below(Path(), signatures[0], f"the list of models of {name}")
    return signatures[0]


if __name__ == "__main__":
    _child(sys.argv[1], Path(sys.argv[2]))
