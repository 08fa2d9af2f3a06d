"""Many songs through one compiled model: one at a time, to be continued, on many processes."""

from __future__ import annotations

from omegaconf import DictConfig

from core.config import Mode
from core.library.pattern import is_pattern

__all__ = ["asked"]


def asked(cfg: DictConfig) -> bool:
    """Return whether a config asks for a library: by its scale, or by a pattern as its input."""
    if cfg.mode not in (Mode.run, Mode.plan):
        return False
    return cfg.scale is not None or (cfg.input is not None and is_pattern(cfg.input))
