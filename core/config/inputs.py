"""Reads `input=...`: whether it is one item or a batch, and which dataset opens it."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from core.config.settings import Mode, literal
from core.errors import ConfigError
from core.machine.path_patterns import is_pattern
from core.plugin import kinds, options
from core.plugin.registry import Registry

__all__ = ["is_batch", "take_input"]


def take_input(cfg: DictConfig, registry: Registry) -> None:
    """Give `input=...` to the dataset plugin that opens such files."""
    if cfg.input is None or cfg.mode in (Mode.list, Mode.doctor, Mode.diff):
        return
    path, pattern = Path(cfg.input).expanduser(), is_pattern(cfg.input)
    if not pattern and not path.exists():
        raise ConfigError(
            f"input `{cfg.input}` does not exist",
            "give a file, a folder or a pattern: input=..., input='folder/**/*.flac'",
        )
    several = path.is_dir() or (pattern and (not path.suffix or is_pattern(path.suffix)))
    datasets = registry.classes(kinds.Dataset)
    readers = {name: cls.opens for name, cls in datasets.items() if cls.opens}
    current = cfg.dataset.get(options.PLUGIN_KEY) if cfg.dataset else None
    fitting = [n for n, endings in readers.items() if several or path.suffix.lower() in endings]
    if current in datasets and several:
        # A folder has no ending: the recipe's dataset tells whether sounds or images are meant.
        axes = set(datasets[current].axes)
        fitting = [n for n in fitting if set(datasets[n].axes) == axes] or fitting
    if not fitting:
        raise ConfigError(
            f"no dataset opens `{path.suffix or path.name}` files",
            f"input: {path}",
            *(f"{name} opens {' '.join(endings)}" for name, endings in readers.items()),
        )
    chosen = current if current in fitting else fitting[0]
    if chosen != current and len(fitting) > 1:
        raise ConfigError(
            f"several datasets open `{path}`: {', '.join(fitting)}",
            f"choose one: dataset={chosen} dataset.path={path}",
        )
    if chosen != current:
        node = options.schema(registry.find("dataset", chosen))
        OmegaConf.update(cfg, "dataset", node, merge=False, force_add=True)
    cfg.dataset.path = literal(str(path))


def is_batch(cfg: DictConfig) -> bool:
    """Return whether a config asks for a batch: by its scale, or by a pattern as its input."""
    if cfg.mode not in (Mode.run, Mode.plan):
        return False
    return cfg.scale is not None or (cfg.input is not None and is_pattern(cfg.input))
