"""The suites that every plugin passes: subclass that of your kind, and run pytest."""

from core.conformance import *  # noqa: F403  # the same names, from the package that plugins import
from core.conformance import __all__ as _suites

__all__ = [*_suites]  # noqa: PLE0604  # texts, all of them
