r"""The grammar of recipes and presets: everything that it does not allow is refused.

A recipe:
    title: text                                a key that is no slot: one of `SETTINGS`
    target: name                               also a mapping of the target's own keys
    model: name                                a plugin or preset of the slot
    chunker: {plugin: name, option: value}     with its options
    graph: [name, name]                        slots that take several, as a list
    graph: {name: {option: value}}             or with the options of each
    defaults: [{target: name}]                 the same choices, in Hydra's own way
A preset, `<group>/<name>.yaml`:
    defaults: [name]                           the plugin, preset or schema that it configures
    option: value
    runtime: {name: {option: value}}           of a precision: options of runtimes, by their names

A *name* consists of letters, digits and underscores and begins with a letter, so it holds no path
and no package of Hydra's. A *value* is plain data. Text in it is literal, with one exception:
`${target.name}`, alone, refers to a plain value of the same recipe or of its presets. `\${` stands
for the text `${`. So a recipe calls no resolver, names no class, and cannot reach Hydra's own part
of the config.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn

from core.config.settings import PLURAL, SLOTS, Settings, unescaped
from core.errors import ConfigError, did_you_mean
from core.machine.program import line
from core.plugin.options import PLUGIN_KEY

__all__ = ["OWN", "check_preset", "check_recipe", "is_name", "slot_of"]

#: The first character of a choice that belongs to one recipe; no name in a recipe has it.
OWN = "_"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
#: A reference to another value: names with dots between them, nothing else.
_REFERENCE = re.compile(r"\$\{([a-z][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*)\}")
#: The keys that only the person who starts the run may set: where it writes, whom it asks, what it
#: reads.
PERSONAL = frozenset({"store", "output", "diff"})
#: The keys of a recipe that are no slots; `title` is the only one that must be text.
SETTINGS = frozenset(Settings.__dataclass_fields__) - set(SLOTS) - PERSONAL
#: The keys that a reference may begin with.
REFERABLE = frozenset({*SLOTS, "target", "precision", "measure", "fit", "contract"})
#: Keys that have a meaning when configs are composed, wherever they stand.
_MEANT = re.compile(r"_[a-z]+_|defaults|hydra")
CHOICES = frozenset({"target", "precision", *SLOTS})
#: The keys of a precision that a recipe describes itself.
PRECISION = frozenset({"name", "title"})
#: The keys of a preset of a precision.
OF_PRECISION = frozenset({*PRECISION, "defaults", "runtime"})


def check_recipe(content: Mapping[str, Any], where: str, file: str) -> None:
    """Raise ConfigError unless `content` is a recipe; `where` names it: "recipe `mine`"."""
    page = _Page(where, file, content)
    for key, value in content.items():
        if key in PERSONAL:
            page.refuse(
                f"sets `{key}`, which only the command line may set",
                f"set it on the command line: {key}=...",
            )
        elif key == "defaults":
            page.defaults(value)
        elif key in SLOTS:
            page.slot(key, value)
        elif key in SETTINGS:
            page.setting(key, value)
        else:
            known = sorted({*SETTINGS, *SLOTS, "defaults"})
            page.refuse(
                f"has the unknown key `{key[:80]}`",
                did_you_mean(key, known),
                f"keys: {', '.join(known)}",
            )


def check_preset(content: Mapping[str, Any], group: str, where: str, file: str) -> None:
    """Raise ConfigError unless `content` is a preset of `group`."""
    page = _Page(where, file, content)
    for key, value in content.items():
        if key == "defaults":
            if not isinstance(value, list):
                page.refuse("has `defaults` that are no list", "write: defaults: [<name>]")
            for name in value:
                if name != "_self_":
                    page.name(name, "defaults")
        elif key == PLUGIN_KEY and group in SLOTS.values():
            page.refuse(
                f"sets `{PLUGIN_KEY}`", "a preset names its plugin first: defaults: [<plugin>]"
            )
        else:
            page.option(key, value, key)
    if group == "target":
        page.names_in_target(content)
    if group == "precision":
        page.precision(content)


class _Page:
    """One file that is checked, with its name in errors."""

    def __init__(self, where: str, file: str, content: Mapping[str, Any]) -> None:
        self._where, self._file, self._content = where, file, content

    def refuse(self, what: str, *lines: str) -> NoReturn:
        """Raise ConfigError for the file; `what` says what it does wrong."""
        raise ConfigError(f"{self._where} {what}", f"file: {self._file}", *lines)

    def name(self, name: object, at: str) -> None:
        """Check the name of a choice."""
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            self.refuse(
                f"has no name at `{at}`: {_short(name)}",
                "a plugin, preset, target or precision is named by letters, digits and "
                "underscores, without a path or a package",
                f"see them all: {line(['mode=list'])}",
            )

    def names(self, value: object, at: str) -> None:
        """Check a list of names: each becomes an override later, as if it were typed."""
        if value is not None and not isinstance(value, list):
            self.refuse(f"has a `{at}` that is no list: {_short(value)}", "write: [name, name]")
        for name in value or ():
            self.name(name, at)

    def names_in_target(self, target: Mapping[str, Any]) -> None:
        """Check the names that a target gives: its precisions, its runtime and its host."""
        self.names(target.get("precisions"), "target.precisions")
        for key in ("runtime", "host"):
            if target.get(key):
                self.name(target[key], f"target.{key}")

    def precision(self, content: Mapping[str, Any]) -> None:
        """Check a precision's keys, and the runtimes that it sets options of."""
        for key in content:
            if key not in OF_PRECISION:
                self.refuse(
                    f"has the unknown key `{key[:80]}`",
                    did_you_mean(key, OF_PRECISION),
                    f"keys of a precision: {', '.join(sorted(OF_PRECISION))}",
                )
        runtimes = content.get("runtime")
        if not isinstance(runtimes, Mapping | None):
            self.refuse(
                f"has a `runtime` that is no mapping: {_short(runtimes)}",
                "write: runtime: {<runtime>: {<option>: <value>}}",
            )
        for name, options in (runtimes or {}).items():
            self.name(name, "runtime")
            self._options(options, f"runtime.{name}")

    def defaults(self, value: object) -> None:
        """Check a defaults list: each entry is one choice of a known group."""
        if not isinstance(value, list):
            self.refuse("has `defaults` that are no list", "write: defaults: [{target: cpu}]")
        chosen = {key for key in self._content if key in CHOICES}
        for entry in value:
            if entry == "_self_":
                continue
            if not isinstance(entry, Mapping) or len(entry) != 1:
                self.refuse(
                    f"has an entry in `defaults` that is no choice: {_short(entry)}",
                    "write one choice per entry: {target: cpu}",
                )
            ((key, choice),) = entry.items()
            slot = slot_of(key)
            if slot is None:
                self.refuse(
                    f"chooses from an unknown group in `defaults`: {_short(key)}",
                    f"groups: {', '.join(sorted(CHOICES))}",
                )
            if slot in chosen:
                self.refuse(f"chooses `{slot}` twice", "choose it once: as a key, or in `defaults`")
            chosen.add(slot)
            several = choice if slot in PLURAL and isinstance(choice, list) else [choice]
            for name in several:
                if name is not None:
                    self.name(name, f"defaults.{slot}")

    def slot(self, slot: str, value: object) -> None:
        """Check a recipe's value for one slot."""
        if value is None:
            return
        if slot in PLURAL and isinstance(value, list):
            for name in value:
                self.name(name, slot)
        elif slot in PLURAL and isinstance(value, Mapping):
            for name, options in value.items():
                self.name(name, slot)
                self._options(options, f"{slot}.{name}")
        elif isinstance(value, Mapping):
            if PLUGIN_KEY in value:
                self.name(value[PLUGIN_KEY], f"{slot}.{PLUGIN_KEY}")
            self._options({k: v for k, v in value.items() if k != PLUGIN_KEY}, slot)
        elif isinstance(value, str):
            self.name(value, slot)
        else:
            self.refuse(
                f"has a `{slot}` that is not possible: {_short(value)}",
                "a stage is a plugin's name, or a mapping with `plugin` and its options",
            )

    def setting(self, key: str, value: object) -> None:
        """Check a recipe's value for a key that is no slot."""
        said = value if isinstance(value, Mapping) else {}
        if key == "title" and not isinstance(value, str):
            self.refuse(f"has a title that is no text: {_short(value)}", "write: title: some words")
        elif key in ("target", "precision"):
            self._device(key, value)
        elif key == "ladder":
            self.names(value, key)
        elif key == "fit":
            self.names(said.get("precisions"), "fit.precisions")
        elif key == "batch" and "address" in said:
            self.refuse(
                "names a Ray cluster, which only the command line may name",
                "set it on the command line: batch.address=...",
            )
        self.value(value, key)

    def _device(self, key: str, value: object) -> None:
        """Check a target or a precision: a name, or a description."""
        if isinstance(value, str):
            self.name(value, key)
        elif not isinstance(value, Mapping | None):
            self.refuse(f"has a `{key}` that is not possible: {_short(value)}", "write its name")
        elif key == "target":
            self.names_in_target(value or {})
        else:
            for inside, text in (value or {}).items():
                if inside not in PRECISION or not isinstance(text, str):
                    self.refuse(
                        f"describes its precision by `{inside[:80]}`: {_short(text)}",
                        "a precision has a name and a title, which are texts",
                    )

    def _options(self, options: object, at: str) -> None:
        if options is None:
            return
        if not isinstance(options, Mapping):
            self.refuse(
                f"has options at `{at}` that are no mapping: {_short(options)}",
                "write them as keys and values",
            )
        for key, value in options.items():
            self.option(key, value, f"{at}.{key}")

    def option(self, key: str, value: object, at: str) -> None:
        """Check an option: its key is a name, its value plain."""
        if not _NAME.fullmatch(key) or _MEANT.fullmatch(key):
            self.refuse(
                f"has a key that is no option at `{at[:80]}`",
                "write its name as in `mode=list` and in the reference",
            )
        self.value(value, at)

    def value(self, value: object, at: str) -> None:
        """Check plain data, however deep; text in it may be one reference."""
        if isinstance(value, Mapping):
            for key, inside in value.items():
                if "${" in key or _MEANT.fullmatch(key):
                    self.refuse(f"has a key with a special meaning at `{at}`: {_short(key)}")
                self.value(inside, f"{at}.{key}")
        elif isinstance(value, list):
            for number, inside in enumerate(value):
                self.value(inside, f"{at}[{number}]")
        elif isinstance(value, str) and "${" in value:
            self._reference(value, at)

    def _reference(self, text: str, at: str) -> None:
        """Check that a text which holds `${` is a reference to one plain value, and no more.

        Where each `${` is escaped, the text refers to nothing: lock files hold such ones.
        """
        if unescaped(text) is not None:
            return
        found = _REFERENCE.fullmatch(text)
        path = found[1].split(".") if found else []
        if not path or path[0] not in REFERABLE:
            self.refuse(
                f"refers to a value outside the recipe at `{at[:80]}`: {_short(text)}",
                "allowed: a key of the same recipe, alone: ${target.facts.layout}",
                "a recipe may not read environment variables or call functions; "
                "set such a value on the command line",
                "if it is a text, and no reference, write a backslash before it: \\${",
            )
        meant: object = self._content
        for key in path:
            if not isinstance(meant, Mapping) or key not in meant:
                return  # in a preset: composing shows whether it is there
            meant = meant[key]
        if isinstance(meant, Mapping | list) or (isinstance(meant, str) and "${" in meant):
            self.refuse(
                f"refers at `{at[:80]}` to a value that is not plain: {_short(text)}",
                "write the value itself",
            )


def is_name(text: str) -> bool:
    """Return whether a text can name a plugin, a preset, a target or a precision."""
    return _NAME.fullmatch(text) is not None


def slot_of(key: object) -> str | None:
    """Return the slot, `target` or `precision` that a key of a defaults list chooses for."""
    if not isinstance(key, str):
        return None
    group = key.removeprefix("override ").removeprefix("/")
    kind, _, slot = group.partition("@")
    if slot:
        return slot if SLOTS.get(slot) == kind and slot != kind else None
    return group if group in CHOICES else None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."  # noqa: PLR2004  # a line
