"""Sweeps from Python: the points as rows, or as a data frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError, MissingLibraryError
from luthier.calls import StrPath, called, words
from luthier.watch import ProgressCallback, watching

if TYPE_CHECKING:
    from core.plugin.records import Point, SweepRecord

__all__ = ["Sweep", "sweep"]

#: Words that would end a value, or begin another one, in the grammar of the command line.
MARKS = frozenset(",[]{}()=\\'\" \t\n$")


@dataclass(frozen=True)
class Sweep:
    """A finished sweep: its folder, its record, and its points."""

    folder: Path
    record: SweepRecord

    @property
    def points(self) -> tuple[Point, ...]:
        """Return every point with its values, status and figures."""
        return self.record.points

    @property
    def winner(self) -> Point | None:
        """Return the point that is taken; None where none holds."""
        return next((one for one in self.points if one.number == self.record.winner), None)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each point: values, status, figures, whether it is on the front."""
        return [
            {
                "point": one.number,
                **one.values,
                "status": one.status,
                **one.figures,
                "front": one.front,
                "folder": str(self.folder / one.folder) if one.folder else "",
                "why": one.why,
            }
            for one in self.points
        ]

    @property
    def frame(self) -> Any:
        """Return the rows as a data frame; raises MissingLibraryError without pandas."""
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingLibraryError(
                "a data frame needs `pandas`, which is not installed",
                "install it: pip install pandas",
                "or take the rows: sweep.rows is a list of dictionaries",
            ) from error
        return pd.DataFrame(self.rows)

    def _repr_html_(self) -> str:
        from luthier.notebook import of_sweep

        return of_sweep(self.rows, self.record.why)


def sweep(
    recipe: StrPath,
    axes: Mapping[str, Sequence[Any]],
    *,
    input: StrPath | None = None,  # noqa: A002  # the word of the command line
    overrides: Sequence[str] = (),
    progress: ProgressCallback | None = None,
    show: bool = False,
    check: bool = True,
) -> Sweep:
    """Run a recipe at every combination of values, as `python -m core -m` does.

    `axes` has the values by their key: `{"chunker.length": [22050, 44100], "precision":
    ["fp32", "int8"]}`. Each point runs in a process of its own. `progress` is called
    after each point that ran: with its label, its number, how many there are, and its result. A
    launcher that uses other processes or machines does not tell. `show` prints a line for each
    point. The other arguments are those of `luthier.run`. Raises a LuthierError where a point
    failed, or none holds the contract, unless `check` is false and the sweep left its record.
    """
    from core.cli.main import obey, read
    from core.errors import LuthierError

    swept = [
        f"{key}={','.join(_value(key, one) for one in values)}" for key, values in axes.items()
    ]
    for key, values in axes.items():
        if isinstance(values, str) or not values:
            raise ConfigError(
                f"`{key}` has no list of values", f"give: axes={{'{key}': [one, another]}}"
            )
    with called(show=show, progress=progress) as tell:
        command = read(["-m", *words(recipe, input, overrides), *swept])
        with watching(command.registry, tell) as watch:
            try:
                obey(command)
            except LuthierError:
                if check or watch.sweep is None:
                    raise
    assert watch.sweep is not None, "a sweep that ended well has a record"
    assert watch.folder is not None, "and a folder"
    return Sweep(watch.folder, watch.sweep)


def _value(key: str, value: object) -> str:
    """Return a value as a word of the command line; raises ConfigError for one that is no word."""
    text = str(value).lower() if isinstance(value, bool) or value is None else str(value)
    text = "null" if value is None else text
    if not text or set(text) & MARKS:
        raise ConfigError(
            f"`{key}` cannot be swept over `{text}`",
            "a value is a number, a truth value or a name",
        )
    return text
