"""The command line: finds plugins and recipes, lets Hydra compose, and ends in one message."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from core.cli.modes import run_mode
from core.config.arguments import is_sweep, rewrite
from core.config.command_line import check, refuse_credentials
from core.config.compose import CONF, composed, recipe_of_job, register
from core.config.discovery import discover
from core.config.hydra_errors import as_luthier_error, is_foreign, translate
from core.config.recipes import Recipe, read_recipes
from core.config.words import check_words
from core.errors import ConfigError, LuthierError
from core.machine.program import line
from core.plugin.origin import Terminated, interruption
from core.plugin.process import INTERRUPTED, prepare
from core.plugin.registry import Registry
from core.sweep.sweeper import Start
from core.text.screen import say
from core.text.stream import Outlet, is_unread

__all__ = ["Command", "discover", "ending_in_one_message", "main", "obey", "read"]

#: The flags that are answered whatever the other words are.
ANSWERED = frozenset({"--help", "-h", "--recipe-schema", "--version"})
#: Modes that use no plugin, or list what is wrong with plugins themselves.
QUIET = ("mode=list", "mode=doctor", "mode=usage", "mode=clean", "mode=diff")

#: What a shell calls a program that ended because nobody read it on.
UNREAD = 128 + 13


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 130 Ctrl-C, else the code of core/errors.py."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["--complete"]:
        from core.cli.completion.answer import complete

        complete(arguments[1:])
    ending_in_one_message(_main, arguments)


def ending_in_one_message(work: Callable[[list[str]], None], arguments: list[str]) -> None:
    """Call `work` with the words of a command; an error becomes a message and an exit code."""
    prepare()
    try:
        work(arguments)
        Outlet(sys.stdout).flush()  # what others printed, such as Hydra, is not out yet
    except KeyboardInterrupt:
        _interrupted()
    except Exception as error:
        stopped = interruption(error)
        if isinstance(stopped, Terminated):
            raise stopped from None
        if stopped is not None:
            _interrupted()
        if isinstance(error, BrokenPipeError) and is_unread(sys.stdout):
            Outlet(sys.stdout).flush()
            sys.exit(UNREAD)  # others print, too, such as Hydra
        _fail(as_luthier_error(error, None), arguments)


def _interrupted() -> NoReturn:
    say("interrupted; finished results are kept, run the same command again", err=True)
    sys.exit(INTERRUPTED)


def _main(arguments: list[str]) -> None:
    if any(word.partition("=")[0] == "--completion" for word in arguments):
        from core.cli.completion.script import print_script

        print_script(arguments)
        return
    command = read(arguments)
    if "--help" in command.words or "-h" in command.words:
        from core.cli.help import page

        page(command.recipes)
    elif "--recipe-schema" in command.words:
        from core.config.recipe_schema import recipe_schema

        say(json.dumps(recipe_schema(command.registry, CONF), indent=1))
    elif "--json" in command.words:
        _as_json(command, arguments)
    elif "--version" in command.words:
        from core import __version__

        say(f"luthier {__version__}")
    else:
        _warn(command)
        obey(command)


def _as_json(command: Command, arguments: Sequence[str]) -> None:
    """Print `mode=doctor` for programs; no other mode has this form."""
    if "mode=doctor" not in arguments:
        raise ConfigError(
            "`--json` is for mode=doctor",
            "the report of a run is `report.json` in its folder",
            f"type: {line(['mode=doctor', '--json'])}",
        )
    from core.cli.doctor import examine_as_json

    stores = [word.removeprefix("store=") for word in arguments if word.startswith("store=")]
    examine_as_json(command.registry, stores[-1] if stores else None)


@dataclass(frozen=True)
class Command:
    """A command line that was read: the words for Hydra, and what they can name."""

    words: Sequence[str]
    registry: Registry
    recipes: Mapping[str, Recipe]


def read(arguments: Sequence[str]) -> Command:
    """Find every plugin and recipe, and register them with Hydra; nothing is composed yet.

    Raises ConfigError for a word that Luthier does not pass on, or a recipe that cannot be read.
    """
    check(arguments)
    registry = discover()
    if not ANSWERED.intersection(arguments):
        check_words(arguments, registry, CONF)
    rewritten, given = rewrite(arguments)
    recipes = read_recipes(registry.recipes, given)
    for one in recipes.values():
        refuse_credentials(one.content, str(one.file))
    register(registry, recipes)
    return Command(rewritten, registry, recipes)


def obey(command: Command) -> None:
    """Let Hydra compose, and run what it composed: one job, or a sweep of them.

    Raises a LuthierError for a config that Hydra or OmegaConf refuse.
    """
    registry, recipes = command.registry, command.recipes
    try:
        if is_sweep(command.words):
            composed(command.words, Start(registry, recipes, run_mode))
            return
        composed(command.words, lambda cfg: run_mode(cfg, registry, recipes, recipe_of_job()))
    except Exception as error:
        if is_foreign(error):
            raise translate(error, registry) from error
        raise


def _warn(command: Command) -> None:
    """Name what does not load, unless the mode lists it anyway."""
    if not any(word.startswith(QUIET) for word in command.words):
        for broken in command.registry.broken:
            say(f"warning: {broken}", err=True)


def _fail(error: LuthierError, arguments: Sequence[str]) -> None:
    """Print one message, with a traceback only when it was asked for, and exit."""
    if any(a.replace(" ", "") == "hydra.verbose=true" for a in arguments):
        import traceback

        say("".join(traceback.format_exception(error.__cause__ or error)), err=True, end="")
    say(f"error: {error}", err=True)
    sys.exit(error.exit_code)
