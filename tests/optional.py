"""Libraries that some tests need and an installation may lack."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

__all__ = ["needs"]


def needs(library: str, reason: str = "") -> pytest.MarkDecorator:
    """Return the mark that skips the tests of a module if `library` is not installed.

    It is looked for, not loaded: only the worker that runs these tests waits for it.
    """
    return pytest.mark.skipif(not find_spec(library), reason=reason or f"needs {library}")
