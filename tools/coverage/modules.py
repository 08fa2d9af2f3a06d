"""All the small modules of the sweep."""

from __future__ import annotations

from tools.coverage import arithmetic, convolutions, recurrent
from tools.coverage.case import Case

__all__ = ["MODULES"]

MODULES: tuple[Case, ...] = (*recurrent.CASES, *convolutions.CASES, *arithmetic.CASES)
