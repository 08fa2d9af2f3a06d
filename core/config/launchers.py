"""Hydra's launchers that Luthier knows: their presets, their packages and their clusters."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf, open_dict

from core.errors import ConfigError, MissingLibraryError

__all__ = ["EXTRAS", "check", "not_installed", "preset", "ready"]

#: The extra that installs a launcher, by the launcher's name.
EXTRAS = {"joblib": "joblib", "ray": "ray", "submitit_local": "slurm", "submitit_slurm": "slurm"}
#: The options of launchers that differ from the defaults of their packages.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "ray": {
        # Show what workers print: their progress.
        "ray.init.log_to_driver": True,
        # The CPUs that a point asks for, and its restarts after its machine died.
        "ray.remote.num_cpus": 1,
        "ray.remote.max_retries": 3,
    },
    "submitit_slurm": {
        "submitit_folder": "${hydra.sweep.dir}/slurm/%j",
        "name": "luthier",
        "cpus_per_task": 4,
        "mem_gb": 16,
        "timeout_min": 240,
        "stderr_to_stdout": True,
        # A job that exceeded `timeout_min` resumes from the store.
        "max_num_timeout": 2,
    },
}


@functools.lru_cache(maxsize=4)
def preset(store: ConfigStore) -> None:
    """Apply `PRESETS` to the launchers in a store of Hydra's, once Hydra has found them."""
    installed = store.list("hydra/launcher")
    for name, changes in PRESETS.items():
        if f"{name}.yaml" not in installed:
            continue
        found = store.load(f"hydra/launcher/{name}.yaml")
        with open_dict(found.node):
            for key, value in changes.items():
                OmegaConf.update(found.node, key, value, force_add=True)
        store.store(group="hydra/launcher", name=name, node=found.node, provider=found.provider)


def check(name: str) -> None:
    """Raise ConfigError for a launcher that cannot run on this machine."""
    if name == "submitit_slurm" and shutil.which("srun") is None:
        raise ConfigError(
            "there is no Slurm on this machine: `srun` is not found",
            "start the sweep where you would type `sbatch`",
            "or run it here: hydra/launcher=joblib",
        )


def not_installed(name: str) -> MissingLibraryError:
    """Return the error for a launcher of `EXTRAS` whose package is missing."""
    return MissingLibraryError(
        f"launcher `{name}` is not installed",
        f"install it: pip install 'luthier[{EXTRAS[name]}]'",
        "or run one point after the other: hydra/launcher=basic",
    )


@contextmanager
def ready(launcher: Mapping[str, Any]) -> Iterator[None]:
    """Keep a launcher's cluster open while the block runs: only Ray has one."""
    if "ray" not in launcher:
        yield
        return
    from core.machine.ray_cluster import joined

    with joined(launcher["ray"].get("init") or {}, "run points here: hydra/launcher=joblib"):
        yield
