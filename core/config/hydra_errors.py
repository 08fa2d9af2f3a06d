"""Turns Hydra's and OmegaConf's errors into ours: what, where, what is possible, what next."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from hydra.errors import (
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import OmegaConf
from omegaconf.errors import (
    ConfigKeyError,
    InterpolationKeyError,
    OmegaConfBaseException,
    ValidationError,
)

from core.config import launchers
from core.config.arguments import TYPED, as_text
from core.config.compose import CONF
from core.config.grammar import is_name
from core.config.recipes import OWN, read_recipes
from core.config.settings import PLURAL, SLOTS, Settings
from core.config.words import meanings, names
from core.errors import TRACE, ConfigError, LuthierError, did_you_mean
from core.machine.program import line, quoted
from core.machine.remedy import is_of_the_place, remedy
from core.plugin.registry import Registry

__all__ = ["FOREIGN", "as_luthier_error", "is_foreign", "translate"]

#: The errors that Hydra and OmegaConf raise for an invalid config.
FOREIGN = (HydraException, OmegaConfBaseException)
#: What Hydra says of `key=a,b` without -m.
_SEVERAL = re.compile(r"\s*Ambiguous value for argument '(.*)'\s*\n1\. To use", re.DOTALL)
#: Python's own errors, which both let through for a config that they did not foresee; then the
#: packages that compose configs, and ours.
LET_THROUGH = (ValueError, KeyError, TypeError, AttributeError, IndexError, AssertionError)
COMPOSERS, OURS = ("hydra", "omegaconf", "antlr4"), ("core", "plugins")


def is_foreign(error: BaseException) -> bool:
    """Return whether Hydra or OmegaConf raised `error` over a config, and no code of ours did."""
    if isinstance(error, FOREIGN):
        return True
    if not isinstance(error, LET_THROUGH):
        return False
    last, trace = "", error.__traceback__
    while trace is not None:
        top = str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        last = top if top in (*COMPOSERS, *OURS) else last
        trace = trace.tb_next
    return last in COMPOSERS


def translate(error: Exception, registry: Registry | None = None) -> LuthierError:
    """Return the message a person needs for an error of Hydra's or OmegaConf's."""
    for link in _causes(error):
        if isinstance(link, MissingConfigException):
            return _missing(link, registry)
        if isinstance(link, OverrideParseException):
            return ConfigError(
                f"`{link.override}` is no override",
                "a text with commas, brackets, quotes or letters beyond ASCII stands in quotes, "
                "inside those of the shell",
                f"type: {quoted([as_text(link.override)])}" if "=" in link.override else "",
            )
        if isinstance(link, ValidationError):
            return _invalid(link)
        if isinstance(link, InterpolationKeyError):
            return _unknown_fact(link)
        if isinstance(link, ConfigKeyError | AttributeError):
            return _unknown_key(error, link, registry)
    first, *rest = dict.fromkeys(str(error).splitlines() or ["the config cannot be composed"])
    if several := _SEVERAL.match(str(error)):
        return _ambiguous(several[1])
    group = re.match(r"Could not override '([^']+)'", first)
    if group:
        return _unknown_group(group[1])
    return ConfigError(first, *rest)


def _causes(error: BaseException) -> Iterable[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _missing(error: MissingConfigException, registry: Registry | None) -> LuthierError:
    """Return the error for `recipe=typo`, or another choice that its group does not have."""
    wanted = error.missing_cfg_file or ""
    group, _, name = wanted.rpartition("/")
    if group == "hydra/launcher" and name in launchers.EXTRAS:
        return launchers.not_installed(name)
    options = [o for o in error.options or [] if o != "schema" and not o.startswith(OWN)]
    absent = registry.absent(group, name) if registry is not None else None
    if absent is not None:
        return absent
    # Hydra gives no options for a choice in a list.
    if not options and registry is not None and group in registry.entries:
        options = registry.names(group)
    return ConfigError(
        f"no {group or 'config'} is named `{name}`",
        *_elsewhere(name, registry),
        did_you_mean(name, options),
        f"{group} can be: {', '.join(options)}" if options else "",
        *(registry.doubts() if registry is not None else ()),
        f"see them all: {line(['mode=list'])}",
    )


def _elsewhere(name: str, registry: Registry | None) -> Iterable[str]:
    """Yield a line for a name that another key takes: `target=s24` for `recipe=s24`."""
    if registry is not None and is_name(name):
        found = meanings(name, names(registry, read_recipes(registry.recipes), CONF))
        if found:
            yield f"`{name}` is something else: {' or '.join(found)}"


def _invalid(error: ValidationError) -> ConfigError:
    """Return the error for a value of the wrong type."""
    first = str(error.msg or error).splitlines()[0]
    kind = getattr(error.ref_type, "__name__", None)
    enum = re.search(r"expected one of \[(.*)\]", first)
    value = re.search(r"[Vv]alue '([^']*)'", first)
    wrong = value[1] if value else ""
    values = enum[1].replace("'", "").split(", ") if enum else []
    names = [v.rpartition(".")[2] for v in values]
    return ConfigError(
        f"`{error.full_key}` cannot be `{wrong}`" if wrong else f"`{error.full_key}`: {first}",
        first if not names else "",
        did_you_mean(wrong, names),
        f"it can be: {', '.join(names)}" if names else "",
        f"it takes: {kind}" if kind and not names and kind != "Any" else "",
    )


def _unknown_key(error: Exception, link: BaseException, registry: Registry | None) -> ConfigError:
    """Return the error for an option that its plugin lacks, or a key that the config lacks."""
    full = str(getattr(link, "full_key", "") or "")
    written = re.match(r"Could not override '([^']+)'", str(error))
    full = full or (written[1] if written else str(link).splitlines()[0])
    parent_path, _, key = full.rpartition(".")
    parent = getattr(link, "parent_node", None)
    known = [str(k) for k in parent] if parent is not None and OmegaConf.is_dict(parent) else []
    known = [k for k in known if k not in ("plugin", "hydra")]
    if not parent_path:
        known = sorted({*known, *Settings.__dataclass_fields__, "recipe"})
    return ConfigError(
        f"there is no option `{full}`",
        did_you_mean(key, known),
        f"{parent_path or 'the config'} has: {', '.join(known)}" if known else "",
        *_of_others(parent_path, key, registry),
        ""
        if parent_path
        else f"see them with their values: {line(['recipe=NAME', '--cfg', 'job'])}",
    )


def _of_others(slot: str, option: str, registry: Registry | None) -> Iterable[str]:
    """Yield a line for an option that other plugins of the slot's kind have."""
    if registry is None or slot not in SLOTS:
        return
    kind = SLOTS[slot]
    names = [
        name
        for name in registry.names(kind)
        if option in getattr(registry.entries[kind][name].cls.Options, "__dataclass_fields__", ())
    ]
    if names:
        listed = ", ".join(f"`{name}`" for name in names)
        yield f"`{option}` is an option of {kind} {listed}: add {slot}={names[0]}"


def _unknown_group(written: str) -> ConfigError:
    group = written.partition("@")[0]
    known = ["recipe", "target", "precision", *SLOTS]
    return ConfigError(
        f"there is no option or stage `{written}`",
        did_you_mean(group, known),
        f"stages: {', '.join(known)}",
    )


def _ambiguous(word: str) -> ConfigError:
    """Return the error for several values where a run takes one."""
    key, _, value = word.partition("=")
    typed = TYPED.get(key, key)
    chooses = typed in ("recipe", "target", "precision", *SLOTS)
    return ConfigError(
        f"`{typed}` has several values: {value}",
        f"as one text, type: {quoted([as_text(word)])}" if not chooses else "",
        f"as a list, type: {quoted([f'{typed}=[{value}]'])}"
        if not chooses or typed in PLURAL
        else "",
        "to run each of them, add -m",
    )


def _unknown_fact(error: InterpolationKeyError) -> ConfigError:
    return ConfigError(
        f"`{error.full_key}` needs a value that the config does not give",
        str(error.msg or error).splitlines()[0],
        "choose a target that has it, or give the option a value",
        "for the text `${` itself, write a backslash before it, inside quotes",
    )


#: The words that say where results go.
PLACES = "store=/path/to/folder output=/path/to/folder"


def as_luthier_error(error: Exception, registry: Registry | None) -> LuthierError:
    """Return the message a person needs for any error, with the error itself as its cause."""
    if isinstance(error, LuthierError):
        return error
    if is_foreign(error):
        said: LuthierError = translate(error, registry)
    elif isinstance(error, OSError):
        said = LuthierError(
            f"the system refused: {error.strerror or error}",
            f"at: {_named(error.filename)}" if error.filename else "",
            _advice(error),
        )
    elif isinstance(error, RecursionError):
        said = ConfigError(
            "something is nested too deeply to be read",
            "it is a recipe, a value on the command line, a graph or a file that a stage reads",
            "give it fewer levels; see where: hydra.verbose=true",
        )
    elif isinstance(error, MemoryError):
        said = LuthierError(
            "the system has no memory left",
            "close other programs, or take shorter windows or a smaller model",
        )
    else:
        said = LuthierError(
            f"unexpected error: {type(error).__name__}: {error}",
            "this is a bug in Luthier or in a plugin",
            TRACE,
        )
    said.__cause__ = error
    return said


def _advice(error: OSError) -> str:
    """Return what helps against a refusal of the system."""
    if is_of_the_place(error):
        return remedy(error, PLACES)
    if isinstance(error, PermissionError):
        return "get the right to read and write there, or name another place"
    return TRACE


def _named(file: str | bytes | int) -> str:
    """Return the name of a file as the system gave it in an error; bytes may be no text."""
    return os.fsdecode(file) if isinstance(file, bytes) else str(file)
