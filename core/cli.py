"""The command line: finds plugins and recipes, lets Hydra compose, and ends in one message."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any, NoReturn, cast

from omegaconf import DictConfig, OmegaConf

from core.arguments import is_sweep, rewrite
from core.blame import Terminated, interruption
from core.command_line import check, refuse_credentials
from core.compose import CONF, composed, recipe_of_job, register
from core.config import Mode
from core.errors import TRACE, ConfigError, LuthierError
from core.leaving import hold_the_process
from core.library import asked
from core.recipes import Recipe, read_recipes
from core.registry import Registry, discover
from core.remedy import is_of_the_place, remedy
from core.screen import say
from core.sweep.sweeper import Start
from core.translate import is_foreign, translate

__all__ = ["INTERRUPTED", "discover", "main", "prepare", "run_mode", "told"]

INTERRUPTED = 130
#: Where results go, on a command line.
PLACES = "store=/path/to/folder output=/path/to/folder"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 a config that cannot be, 130 Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    prepare()
    try:
        _main(arguments)
    except KeyboardInterrupt:
        _interrupted()
    except Exception as error:
        stopped = interruption(error)
        if isinstance(stopped, Terminated):
            raise stopped from None
        if stopped is not None:
            _interrupted()
        _fail(told(error, None), arguments)


def _interrupted() -> NoReturn:
    say("interrupted; what was finished is kept, run the same command again", err=True)
    sys.exit(INTERRUPTED)


def prepare() -> None:
    """Set what must stand before anything heavy is loaded or anything is printed."""
    # Read by GNU OpenMP when torch is loaded. With its default, threads spin for so long at every
    # barrier that two jobs at once on two cores took 4.9 s per window instead of 0.13 s.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # Hydra prints errors in its own way unless it is told to let them through.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character must not cost a result.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    for name in ("SIGTERM", "SIGHUP"):
        # Ended by a scheduler or a closed terminal: clean up as after Ctrl-C.
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _terminated)
    hold_the_process()


def _terminated(number: int, _: FrameType | None) -> None:
    raise Terminated(128 + number)


def _main(arguments: list[str]) -> None:
    check(arguments)
    registry = discover()
    rewritten, given = rewrite(arguments)
    recipes = read_recipes(registry.recipes, given)
    for one in recipes.values():
        refuse_credentials(one.content, str(one.file))
    register(registry, recipes)
    if "--help" in rewritten or "-h" in rewritten:
        from core.help import page

        page(recipes)
    elif "--version" in rewritten:
        from core import __version__

        say(f"luthier {__version__}")
    else:
        try:
            _compose(rewritten, registry, recipes)
        except Exception as error:
            if is_foreign(error):
                raise translate(error, registry) from error
            raise


def _compose(arguments: Sequence[str], registry: Registry, recipes: Mapping[str, Recipe]) -> None:
    """Let Hydra compose, and run what it composed: one job, or a sweep of them."""
    if not any(word.startswith(("mode=list", "mode=doctor")) for word in arguments):
        for broken in registry.broken:
            say(f"warning: {broken}", err=True)
    if is_sweep(arguments):
        composed(arguments, Start(registry, recipes))
        return
    composed(arguments, lambda cfg: run_mode(cfg, registry, recipes, recipe_of_job()))


def run_mode(
    cfg: DictConfig,
    registry: Registry,
    recipes: Mapping[str, Recipe],
    recipe: str,
) -> None:
    """Do what `mode` says, with the heavy half of the core imported only where it is needed."""
    # What came from presets, too.
    refuse_credentials(cast("dict[str, Any]", OmegaConf.to_container(cfg)), "the composed config")
    if cfg.mode is Mode.list:
        from core.listing import show

        show(registry, recipes, CONF)
    elif cfg.mode is Mode.doctor:
        from core.doctor import examine

        examine(registry)
    elif cfg.mode is Mode.fit:
        from core.longest import run as search

        search(cfg, registry, recipe, recipes)
    elif asked(cfg):
        from core.library.job import run as play_library

        play_library(cfg, registry, recipe, recipes)
    else:
        from core.job import run

        run(cfg, registry, recipe, recipes)


def told(error: Exception, registry: Registry | None) -> LuthierError:
    """Return the message a person needs for any error, with the error itself as its cause."""
    if isinstance(error, LuthierError):
        return error
    if is_foreign(error):
        said: LuthierError = translate(error, registry)
    elif isinstance(error, OSError):
        said = LuthierError(
            f"the system refused: {error.strerror or error}",
            f"at: {_named(error.filename)}" if error.filename else "",
            remedy(error, PLACES) if is_of_the_place(error) else TRACE,
        )
    elif isinstance(error, RecursionError):
        said = ConfigError(
            "something is nested too deeply to be read",
            "a recipe, a value on the command line, a graph or a file that a stage reads",
            "give it fewer levels; see where: hydra.verbose=true",
        )
    elif isinstance(error, MemoryError):
        said = LuthierError(
            "the system has no memory left",
            "close other programs, take shorter windows, or a smaller model",
        )
    else:
        said = LuthierError(
            f"something unexpected: {type(error).__name__}: {error}",
            "this is a mistake of Luthier's or of a plugin's",
            TRACE,
        )
    said.__cause__ = error
    return said


def _named(file: str | bytes | int) -> str:
    """Return the name of a file as the system gave it in an error; bytes may be no text."""
    return os.fsdecode(file) if isinstance(file, bytes) else str(file)


def _fail(error: LuthierError, arguments: Sequence[str]) -> None:
    """Print one message, with a traceback only when it was asked for, and exit."""
    if any(a.replace(" ", "") == "hydra.verbose=true" for a in arguments):
        import traceback

        say("".join(traceback.format_exception(error.__cause__ or error)), err=True, end="")
    say(f"error: {error}", err=True)
    sys.exit(error.exit_code)
