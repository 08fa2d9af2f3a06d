"""Luthier's sweepers, where Hydra looks for such: it makes them of no class of another package.

What they do is in `core/sweep`.
"""

from dataclasses import asdict

from hydra.core.config_store import ConfigStore

from core.sweep.grid import GridSweeper
from core.sweep.search import SearchOptions, SearchSweeper

__all__ = ["Grid", "Search"]


class Grid(GridSweeper):
    """Every combination: `hydra/sweeper=grid`, the default."""


class Search(SearchSweeper):
    """The points that Optuna chooses: `hydra/sweeper=optuna`."""


_store = ConfigStore.instance()
_store.store(
    group="hydra/sweeper",
    name="grid",
    node={"_target_": "hydra_plugins.luthier.Grid", "params": None},
    provider="luthier",
)
_store.store(
    group="hydra/sweeper",
    name="optuna",
    node={"_target_": "hydra_plugins.luthier.Search", "params": None, **asdict(SearchOptions())},
    provider="luthier",
)
