"""Options of a runtime that a precision sets, where neither recipe nor command line sets them.

    name: bf16                                   conf/precision/bf16.yaml
    runtime:
      openvino: {precision: bf16}
      torch: {autocast: bf16}

A reference to the precision takes the place of such an option's default. So the precision applies
to the slot `runtime`, whichever plugin is there, and everything that sets the option replaces it.
The host of a recipe stays at its defaults: it says what the stages before the runtime cost.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from core.errors import ConfigError, did_you_mean
from core.plugin.options import PLUGIN_KEY, schema

if TYPE_CHECKING:
    from core.plugin.entry import Entry
    from core.plugin.registry import Registry

__all__ = ["RUNTIME", "check_precision", "named", "referring", "without_effect"]

#: The key of a precision that holds options by the name of their runtime.
RUNTIME = "runtime"
RESOLVER = "luthier.of_precision"
#: The defaults of the options that any precision names, by runtime: values or nodes of OmegaConf.
_DEFAULTS: dict[str, dict[str, Any]] = {}


def named(precisions: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    """Return the options that precisions set, by the name of their runtime."""
    found: dict[str, set[str]] = {}
    for precision in precisions:
        for name, options in (precision.get(RUNTIME) or {}).items():
            found.setdefault(name, set()).update(options or {})
    return found


@functools.cache
def referring(entry: Entry, options: frozenset[str]) -> DictConfig:
    """Return the node of a runtime's options in which those of `options` refer to the precision.

    Names that are no options are left out: `check_precision` refuses them once they are chosen.
    """
    plain = schema(entry)
    written = cast("dict[str, Any]", OmegaConf.to_container(plain, resolve=False))
    node = cast("DictConfig", OmegaConf.merge(plain))
    known = {one.name for one in dataclasses.fields(entry.cls.Options)}
    defaults = _DEFAULTS.setdefault(entry.name, {})
    for name in sorted(known & options):
        words = f"{entry.name},{name}"
        if OmegaConf.is_interpolation(plain, name):
            # It refers to a fact of the target: OmegaConf resolves that for the resolver below.
            defaults[name], words = None, f"{words},{written[name]}"
        else:
            defaults[name] = MISSING if OmegaConf.is_missing(plain, name) else plain[name]
        node[name] = f"${{{RESOLVER}:{words}}}"
    return node


def check_precision(cfg: DictConfig, registry: Registry) -> None:
    """Raise ConfigError for an option of the precision that the recipe's runtime cannot take."""
    name = cfg.runtime.get(PLUGIN_KEY) if OmegaConf.is_dict(cfg.runtime) else None
    options = _options_of(cfg, str(name))
    if not options:
        return
    entry = registry.find("runtime", str(name))
    known = [one.name for one in dataclasses.fields(entry.cls.Options)]
    precision, plain = cfg.precision.get("name", ""), schema(entry)
    for key, value in options.items():
        at = f"at: precision.{RUNTIME}.{name}.{key}"
        if key not in known:
            raise ConfigError(
                f"precision `{precision}` sets `{key}`, but runtime `{name}` has no such option",
                at,
                did_you_mean(key, known),
                f"options: {', '.join(known) or 'none'}",
            )
        try:
            OmegaConf.merge(plain, {key: value})
        except OmegaConfBaseException as error:
            raise ConfigError(
                f"precision `{precision}` gives runtime `{name}` an option that it cannot take: "
                f"{str(error).partition(chr(10))[0]}",
                at,
            ) from error
        if key not in _DEFAULTS.get(entry.name, {}):
            raise ConfigError(
                f"only a preset of a precision sets `{key}` of runtime `{name}`",
                at,
                f"set the option itself: runtime.{key}=...",
            )


def without_effect(cfg: DictConfig, *, quantizes: bool) -> str:
    """Return why the chosen precision changes nothing; "" where it does, or lowers nothing.

    A precision that runtimes make has no effect on one that it does not name, unless a quantizer
    makes it as well.
    """
    by_runtime, name = _by_runtime(cfg), cfg.runtime.get(PLUGIN_KEY)
    if quantizes or not by_runtime or name in by_runtime:
        return ""
    return (
        f"precision `{cfg.precision.get('name', '')}` changes nothing: runtimes make it "
        f"({', '.join(sorted(by_runtime))}), and `{name}` is none of them"
    )


def _options_of(cfg: DictConfig, runtime: str) -> dict[str, Any]:
    """Return the options that the chosen precision sets for a runtime, as plain values."""
    by_runtime = _by_runtime(cfg)
    options = by_runtime.get(runtime) or {} if isinstance(by_runtime, dict) else by_runtime
    if not isinstance(options, dict):
        raise ConfigError(
            f"`precision.{RUNTIME}` does not hold options by the names of runtimes",
            "write: {<runtime>: {<option>: <value>}}",
        )
    return options


def _by_runtime(cfg: DictConfig) -> Any:
    """Return what the chosen precision holds for runtimes, as plain values; {} for nothing."""
    precision: Any = OmegaConf.to_container(cfg.precision) if cfg.precision else {}
    return precision.get(RUNTIME) or {}


def _chosen(runtime: str, option: str, *default: Any, _root_: Any, _parent_: Any) -> Any:
    """Return what the precision of the config sets, else the default."""
    if OmegaConf.select(_root_, "runtime") is _parent_:
        options = OmegaConf.select(_root_, f"precision.{RUNTIME}.{runtime}")
        if OmegaConf.is_dict(options) and option in options:
            return options[option]
    value = default[0] if default else _DEFAULTS[runtime][option]
    if isinstance(value, str) and value == MISSING:
        raise InterpolationToMissingValueError(f"`{option}` is required")
    return value


OmegaConf.register_new_resolver(RESOLVER, _chosen, replace=True)
