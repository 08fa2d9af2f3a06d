"""Says how long ago something was, in a few characters."""

from __future__ import annotations

import time

__all__ = ["ago"]

#: Units of time, the longest first, in seconds.
UNITS = (("y", 365 * 86400.0), ("d", 86400.0), ("h", 3600.0), ("min", 60.0))


def ago(when: float) -> str:
    """Return how long ago a time was, given in seconds since 1970: "3 d ago", "just now"."""
    passed = time.time() - when
    for unit, seconds in UNITS:
        if passed >= seconds:
            return f"{int(passed / seconds)} {unit} ago"
    return "just now"
