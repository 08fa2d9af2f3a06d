"""What all calls from Python share: the words of a command, read in Luthier's own Hydra."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig, OmegaConf

from core.errors import InputError, LuthierError
from core.plugin.process import hold_the_process
from luthier.hydra_state import own_hydra

if TYPE_CHECKING:
    from core.cli.main import Command
    from luthier.watch import ProgressCallback

__all__ = ["StrPath", "called", "composed", "texts", "words"]

StrPath = str | os.PathLike[str]


def words(recipe: StrPath, source: StrPath | None, overrides: Sequence[str]) -> list[str]:
    """Return the command line of a recipe, by its name or its file, with an input.

    Raises TypeError if `overrides` is one text: each override is an item of a list; InputError for
    an empty path.
    """
    overrides = texts("overrides", overrides)
    given = [] if source is None else [f"input={_path(source)}"]
    return [f"recipe={os.fspath(recipe)}", *given, *overrides]


def _path(given: StrPath) -> str:
    """Return a path as a word of the command line, where quotes and `null` mean something."""
    if not os.fspath(given):
        raise InputError("`input` is empty", "give a file or a folder, or leave it out")
    path = os.fspath(Path(given).expanduser())
    return os.path.join(".", path) if path == "null" or path[0] in "'\"" else path  # noqa: PTH118  # a Path drops the dot


def texts(name: str, given: Sequence[str]) -> Sequence[str]:
    """Return `given`; raises TypeError unless it is a list of texts, as one text is not."""
    if isinstance(given, str) or not all(isinstance(one, str) for one in given):
        shown = [given] if isinstance(given, str) else [str(one) for one in given]
        raise TypeError(f"`{name}` is a list of texts: {name}={shown!r}")
    return given


class _Callers:
    """The function that a caller gave for progress, and what it raised.

    It is called from inside stages, whose plugins would be named for its error.
    """

    def __init__(self, progress: ProgressCallback) -> None:
        self._progress = progress
        self.raised: BaseException | None = None

    def __call__(self, stage: str, done: float, total: float, message: str) -> None:
        if self.raised is not None:  # something took the error for one of its own, and went on
            raise self.raised
        try:
            self._progress(stage, done, total, message)
        except BaseException as error:
            self.raised = error
            raise


@contextmanager
def called(
    *, show: bool, progress: ProgressCallback | None = None
) -> Iterator[ProgressCallback | None]:
    """Let the block use Luthier's own Hydra; it prints only if `show`.

    Yields the function that the block tells its progress to. What `progress` raises leaves the
    block as it is; whatever else is raised over a config or a system leaves it as a LuthierError.
    """
    from core.config.hydra_errors import as_luthier_error
    from core.text.screen import quiet

    hold_the_process()
    tell = None if progress is None else _Callers(progress)
    with own_hydra():
        try:
            with nullcontext() if show else quiet():
                yield tell
        except BaseException as error:
            if tell is None or tell.raised is None:
                if isinstance(error, LuthierError | TypeError) or not isinstance(error, Exception):
                    raise
                raise as_luthier_error(error, None) from error
        if tell is not None and tell.raised is not None:
            raise tell.raised


@contextmanager
def composed(given: Sequence[str]) -> Iterator[tuple[DictConfig, Command]]:
    """Compose the words of a command; more can be composed inside the block.

    Raises a LuthierError for a word, a recipe or a config that cannot be taken.
    """
    from core.cli.main import read
    from core.config.command_line import refuse_credentials
    from core.config.compose import composing
    from core.config.hydra_errors import is_foreign, translate

    command = read(given)
    try:
        with composing(command.words) as cfg:
            # Presets may hold credentials, too.
            whole = cast("dict[str, Any]", OmegaConf.to_container(cfg))
            refuse_credentials(whole, "the composed config")
            yield cfg, command
    except Exception as error:
        if is_foreign(error):
            raise translate(error, command.registry) from error
        raise
