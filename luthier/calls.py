"""What all calls from Python share: the words of a command, read in Luthier's own Hydra."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig, OmegaConf

from core.errors import LuthierError
from core.plugin.process import hold_the_process
from luthier.hydra_state import own_hydra

if TYPE_CHECKING:
    from core.cli.main import Command

__all__ = ["StrPath", "called", "composed", "words"]

StrPath = str | os.PathLike[str]


def words(recipe: StrPath, source: StrPath | None, overrides: Sequence[str]) -> list[str]:
    """Return the command line of a recipe, by its name or its file, with an input.

    Raises TypeError if `overrides` is one text: each override is an item of a list.
    """
    if isinstance(overrides, str):
        raise TypeError(f"`overrides` is a list of texts: overrides=[{overrides!r}]")
    given = [] if source is None else [f"input={Path(source).expanduser()}"]
    return [f"recipe={os.fspath(recipe)}", *given, *overrides]


@contextmanager
def called(*, show: bool) -> Iterator[None]:
    """Let the block use Luthier's own Hydra; it prints only if `show`.

    Whatever the block raises over a config or a system leaves it as a LuthierError.
    """
    from core.config.hydra_errors import as_luthier_error
    from core.text.screen import quiet

    hold_the_process()
    with own_hydra():
        try:
            if show:
                yield
            else:
                with quiet():
                    yield
        except (LuthierError, TypeError):
            raise
        except Exception as error:
            raise as_luthier_error(error, None) from error


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
