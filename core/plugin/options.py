"""Options of plugins: one dataclass feeds Hydra's schema, the docs, and the plugin itself."""

from __future__ import annotations

import ast
import dataclasses
import enum
import functools
import inspect
import textwrap
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError, did_you_mean
from core.plugin.boundary import called
from core.plugin.entry import Entry

if TYPE_CHECKING:
    from omegaconf import DictConfig

__all__ = ["PLUGIN_KEY", "OptionDoc", "build", "describe", "from_target", "schema"]

#: The key of an options node that names the plugin.
PLUGIN_KEY = "plugin"


def from_target(fact: str, default: str | float | None = None) -> Any:
    """Return the default of an option that the target's YAML provides under `facts`.

    `default` is taken for targets that do not give the fact; without one, they are refused. The
    type is Any because OmegaConf resolves the interpolation to the field's own type.
    """
    path = f"target.facts.{fact}"
    return f"${{{path}}}" if default is None else f"${{oc.select:{path},{default}}}"


@functools.cache
def schema(entry: Entry) -> DictConfig:
    """Return the typed node of a plugin's options, with the plugin's name in it.

    It is made once for a process that runs many commands; Hydra copies what it is given.
    """
    # Loaded here: it takes half the time of `import core`, which the children of plugins need too.
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    options = entry.cls.Options
    typed = dataclasses.make_dataclass(
        options.__name__,
        [(PLUGIN_KEY, str, dataclasses.field(default=entry.name))],
        bases=(options,),
        frozen=options.__dataclass_params__.frozen,
    )
    typed.__module__ = options.__module__
    try:
        node = OmegaConf.structured(typed)
    except OmegaConfBaseException as error:
        raise ConfigError(
            f"{entry.kind} `{entry.name}`: its options cannot be a schema: {error}",
            f"distribution: {entry.distribution}",
            f"file: {entry.file}",
            "use int, float, bool, str, Enum, list, dict or an Optional of them",
        ) from error
    # A frozen dataclass makes the node read-only, and then no recipe could override it.
    OmegaConf.set_readonly(node, None)
    assert isinstance(node, DictConfig)
    for name in map(str, node):
        if OmegaConf.is_missing(node, name) or OmegaConf.is_interpolation(node, name):
            continue
        if OmegaConf.is_dict(node[name]):
            # The keys of a dict option are the user's own.
            OmegaConf.set_struct(node[name], False)
    return node


def build(entry: Entry, node: DictConfig, slot: str) -> Any:
    """Return the options object for `entry` from its composed node at `slot`."""
    from omegaconf import OmegaConf
    from omegaconf.errors import InterpolationKeyError, InterpolationToMissingValueError

    known = [f.name for f in dataclasses.fields(entry.cls.Options)]
    for key in map(str, node):
        if key not in (*known, PLUGIN_KEY):
            raise ConfigError(
                f"{entry.kind} `{entry.name}` has no option `{key}`",
                f"at: {slot}.{key}",
                did_you_mean(key, known),
                f"options: {', '.join(known) or 'none'}",
            )
    missing = [key for key in known if OmegaConf.is_missing(node, key)]
    if missing:
        raise _needed(entry, missing[0], slot)
    values: dict[str, Any] = {}
    try:
        for key in known:
            values[key] = node[key]
    except InterpolationToMissingValueError as error:
        # A precision could set it, and this one does not.
        raise _needed(entry, known[len(values)], slot) from error
    except InterpolationKeyError as error:
        raise ConfigError(
            f"{entry.kind} `{entry.name}` needs a fact that the target does not give",
            f"at: {slot}.{error.key}",
            str(error).partition("\n")[0],
            "choose another target, or give the option a value",
            "for the text `${` itself, write a backslash before it, inside quotes",
        ) from error
    plain = {
        key: OmegaConf.to_object(value) if OmegaConf.is_config(value) else value
        for key, value in values.items()
    }

    def make() -> Any:
        try:
            return entry.cls.Options(**plain)
        except ValueError as error:
            raise ConfigError(f"{entry.kind} `{entry.name}`: {error}", f"at: {slot}") from error

    return called(entry.origin, "Options", make)


def _needed(entry: Entry, option: str, slot: str) -> ConfigError:
    return ConfigError(
        f"{entry.kind} `{entry.name}` needs the option `{option}`", f"give it: {slot}.{option}=..."
    )


@dataclasses.dataclass(frozen=True)
class OptionDoc:
    """One option for the docs: its name, type, default, and the docstring under its field."""

    name: str
    type: str
    default: str
    text: str


def describe(options: type[Any]) -> list[OptionDoc]:
    """Return every option of a dataclass, in order."""
    texts = _docstrings(options)
    return [
        OptionDoc(f.name, _type_name(f.type), _default(f), texts.get(f.name, ""))
        for f in dataclasses.fields(options)
    ]


def _type_name(annotation: Any) -> str:
    return (
        annotation
        if isinstance(annotation, str)
        else getattr(annotation, "__name__", str(annotation))
    )


def _default(option: dataclasses.Field[Any]) -> str:
    if option.default_factory is not dataclasses.MISSING:
        return str(option.default_factory())
    if option.default is dataclasses.MISSING or option.default == "???":
        return "required"
    if isinstance(option.default, enum.Enum):
        return option.default.name
    if isinstance(option.default, str) and "target.facts." in option.default:
        return "from the target"
    return str(option.default)


def _docstrings(options: type[Any]) -> dict[str, str]:
    """Read the string under every field: Python keeps none of them at run time."""
    texts: dict[str, str] = {}
    for cls in reversed(options.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, after in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
                and isinstance(after.value.value, str)
            ):
                texts[field.target.id] = " ".join(after.value.value.split())
    return texts
