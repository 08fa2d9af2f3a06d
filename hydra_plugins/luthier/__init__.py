"""Luthier's sweepers: Hydra accepts classes of sweepers from the package `hydra_plugins` only.

Their code is in `core/sweep`.
"""

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore

from core.sweep.grid_sweeper import GridSweeper
from core.sweep.optuna_sweeper import SearchSweeper
from core.sweep.search_options import SearchOptions

__all__ = ["Grid", "Search"]


class Grid(GridSweeper):
    """Runs every combination: `hydra/sweeper=grid`, the default."""


class Search(SearchSweeper):
    """Runs the points that Optuna chooses: `hydra/sweeper=optuna`."""


@dataclass
class GridConf:
    """The options of `hydra/sweeper=grid`; `params` holds values as on the command line."""

    _target_: str = f"{__name__}.Grid"
    params: dict[str, Any] | None = None


@dataclass
class SearchConf(SearchOptions):
    """The options of `hydra/sweeper=optuna`, and Hydra's own."""

    _target_: str = f"{__name__}.Search"
    params: dict[str, Any] | None = None


for _name, _node in (("grid", GridConf), ("optuna", SearchConf)):
    ConfigStore.instance().store(group="hydra/sweeper", name=_name, node=_node, provider="luthier")
