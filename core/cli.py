"""The command line: finds plugins and recipes, lets Hydra compose, and ends in one message."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra import main as hydra_main
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from core.compose import register
from core.config import SLOTS, Mode, group_of
from core.errors import LuthierError
from core.recipes import Recipe, name_of, read_recipes
from core.registry import Registry, discover
from core.translate import FOREIGN, translate

__all__ = ["main"]

CONF = Path(__file__).parent.parent / "conf"
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 a config that cannot be, 130 Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Read by GNU OpenMP when torch is loaded. With its default, threads spin for so long at every
    # barrier that two jobs at once on two cores took 4.9 s per window instead of 0.13 s.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        _main(arguments)
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept, run the same command again", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except FOREIGN as error:
        _fail(translate(error), error, arguments)
    except LuthierError as error:
        _fail(error, error, arguments)


def _main(arguments: list[str]) -> None:
    registry = discover()
    arguments, given = _given_recipes([_rewritten(a) for a in arguments])
    recipes = read_recipes(registry.recipes, given)
    register(registry, recipes)
    if "--help" in arguments or "-h" in arguments:
        from core.help import page

        page(recipes)
        return

    failures: list[LuthierError] = []

    def job(cfg: DictConfig) -> None:
        # Hydra would print an error of ours in its own way, and end a sweep at its first failure.
        try:
            _run(cfg, registry, recipes)
        except LuthierError as error:
            failures.append(error)
        except Exception as error:
            failures.append(_unexpected(error))
        else:
            return
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            print(f"error: {failures[-1]}", file=sys.stderr)

    # Hydra prints errors in its own way unless it is told to let them through.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = ["python -m core", *arguments]
    hydra_main(version_base="1.3", config_path=str(CONF), config_name="config")(job)()
    if failures:
        raise failures[0]


def _unexpected(error: Exception) -> LuthierError:
    """Wrap what no part of Luthier expected, so that it still ends in one message."""
    wrapped = LuthierError(
        f"something unexpected: {type(error).__name__}: {error}",
        "this is a mistake of Luthier's or of a plugin's",
        "see the whole trace: hydra.verbose=true",
    )
    wrapped.__cause__ = error
    return wrapped


def _run(cfg: DictConfig, registry: Registry, recipes: Mapping[str, Recipe]) -> None:
    """Do what `mode` says, with the heavy half of the core imported only where it is needed."""
    if cfg.mode is Mode.list:
        from core.listing import show

        show(registry, recipes, CONF)
    elif cfg.mode is Mode.doctor:
        from core.doctor import examine

        examine(registry)
    else:
        from core.job import run

        run(cfg, registry, _recipe_name(), list(recipes))


def _recipe_name() -> str:
    return HydraConfig.get().runtime.choices.get("recipe") or ""


def _rewritten(argument: str) -> str:
    """Let a person write what they mean where Hydra's grammar wants more.

    `calibration=files` and `host=torch` choose from another group (`dataset@calibration=files`);
    `input=a song (live).flac` needs quotes inside the quotes of the shell.
    """
    key, equals, value = argument.partition("=")
    if not equals:
        return argument
    if key in SLOTS:
        group = group_of(key)
        # Hydra deletes a choice with `~`; `=null` ends in a raw ValueError.
        return f"~{group}" if value == "null" else f"{group}={value}"
    if key in ("input", "output", "store") and not re.fullmatch(r"""(['"]).*\1|null""", value):
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"{key}='{escaped}'"
    return argument


def _given_recipes(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Replace `recipe=path/to/file.yaml` by the name under which the file is registered."""
    given: list[str] = []
    for index, argument in enumerate(arguments):
        key, _, value = argument.partition("=")
        if key == "recipe" and value.endswith((".yaml", ".yml")):
            given.append(value)
            arguments[index] = f"recipe={name_of(Path(value))}"
    return arguments, given


def _fail(error: LuthierError, cause: BaseException, arguments: Sequence[str]) -> None:
    """Print one message, with a traceback only when it was asked for, and exit."""
    if any(a.replace(" ", "") == "hydra.verbose=true" for a in arguments):
        import traceback

        traceback.print_exception(cause)
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
