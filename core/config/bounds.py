"""Upper bounds of numbers in recipes and options: a larger number is a mistake, or worse.

This is a module of its own because the source of a plugin's imports is part of the key of its
results: a plugin that bounds a number must not run again for a new line in
`core/config/settings.py`.
"""

from __future__ import annotations

__all__ = [
    "LONGEST_WINDOW",
    "MOST_RETRIES",
    "MOST_TENSORS",
    "MOST_THREADS",
    "MOST_WINDOWS",
    "MOST_WORKERS",
    "check_within",
]

MOST_WINDOWS, MOST_TENSORS, MOST_WORKERS, MOST_RETRIES = 10_000, 100_000, 4_096, 100
#: The longest window that is looked for, in samples.
LONGEST_WINDOW = 2**31
#: More than any machine has cores. A thread that cannot be started ends the process.
MOST_THREADS = 1_024


def check_within(options: object, name: str, least: int, most: int) -> None:
    """Raise ValueError if the option `name` is below `least` or above `most`; null passes."""
    value = getattr(options, name)
    if value is not None and value < least:
        raise ValueError(f"`{name}` cannot be {value}; give {least} or more")
    if value is not None and value > most:
        raise ValueError(f"`{name}` cannot be {value}; give {most:,} or less")
