"""Luthier's sweepers, where Hydra looks for such: it makes them of no class of another package.

What they do is in `core/sweep`.
"""

from hydra.core.config_store import ConfigStore

from core.sweep.grid import GridSweeper

__all__ = ["Grid"]


class Grid(GridSweeper):
    """Every combination: `hydra/sweeper=grid`, the default."""


_store = ConfigStore.instance()
_store.store(
    group="hydra/sweeper",
    name="grid",
    node={"_target_": "hydra_plugins.luthier.Grid", "params": None},
    provider="luthier",
)
