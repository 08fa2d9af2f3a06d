"""Datasets whose items can be named without reading them: what `mode=batch` plays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from core.plugin.kinds import Dataset

__all__ = ["ListableDataset", "Source"]


@dataclass(frozen=True)
class Source:
    """An item before it is read: its path below the dataset's root as `name`, and its file.

    `name` has forward slashes, and is the same wherever the root lies. It is text:
    `core.machine.file_names.as_text` converts a path whose bytes are no text.
    """

    name: str
    file: Path


@runtime_checkable
class ListableDataset(Protocol):
    """A dataset whose items can be named without reading them, and read one at a time."""

    def sources(self) -> Iterator[Source]:
        """Yield the items to play, in order and each name once, without opening any of them."""

    def only(self, source: Source) -> Dataset[Any]:
        """Return a dataset of the same sort whose one item is that of `source`."""
