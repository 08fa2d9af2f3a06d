"""The top level of the config: modes, slots, and the keys that are no plugin."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from core.config.bounds import (
    LONGEST_WINDOW,
    MOST_RETRIES,
    MOST_TENSORS,
    MOST_WINDOWS,
    MOST_WORKERS,
    check_within,
)
from core.errors import ConfigError
from core.plugin.values import Target

__all__ = [
    "PLURAL",
    "SLOTS",
    "Batch",
    "Clean",
    "Diff",
    "Fit",
    "Form",
    "Measure",
    "Mode",
    "Scale",
    "Settings",
    "Sweep",
    "check_once",
    "checked",
    "group_of",
    "literal",
    "target_of",
    "unescaped",
]

#: What opens a reference, with the backslashes before it: an odd number of them escapes it.
_OPENS = re.compile(r"(\\*)\$\{")
#: Every slot of a recipe and the kind of plugin that it takes.
SLOTS: Mapping[str, str] = {
    "model": "model",
    "dataset": "dataset",
    "calibration": "dataset",
    "exporter": "exporter",
    "graph": "graph",
    "quantizer": "quantizer",
    "dsp": "dsp",
    "chunker": "chunker",
    "runtime": "runtime",
    "host": "runtime",
    "evaluator": "evaluator",
    "reporter": "reporter",
}
#: The slots that take several plugins, in order; their options live under `<slot>.<plugin>`.
PLURAL = frozenset({"graph", "evaluator", "reporter"})


class Mode(Enum):
    """What `python -m core` does."""

    run = "run"
    plan = "plan"
    fit = "fit"
    list = "list"
    doctor = "doctor"
    usage = "usage"
    clean = "clean"
    diff = "diff"


class Form(Enum):
    """How `mode=diff` writes what it found."""

    text = "text"
    json = "json"


class Scale(Enum):
    """Where the items of a batch are played: in this process, or by workers on Ray."""

    here = "here"
    ray = "ray"


@dataclass
class Batch:
    """How a batch is played: many items through one compiled model, one after the other."""

    workers: int | None = None
    """Processes that play side by side with `scale=ray`, each with the model in its own memory;
    null for one per CPU."""
    retries: int = 2
    """How often an item is played again whose process died, or that failed undamaged."""
    address: str | None = None
    """The Ray cluster to join; null for that of the variable `RAY_ADDRESS`, or this machine."""

    def __post_init__(self) -> None:
        """Refuse numbers out of bounds."""
        check_within(self, "workers", 1, MOST_WORKERS)
        check_within(self, "retries", 0, MOST_RETRIES)


@dataclass
class Measure:
    """How much is measured beside the run itself."""

    budget_windows: int = 2
    """Windows per item on which every stage is compared with the one before it and with FP32."""
    probe_windows: int = 2
    """Windows to run on a device that is too slow for whole inputs (an emulator, a queue)."""
    worst_tensors: int = 0
    """How many of the tensors that lost most inside the quantised graph to name; 0 for none."""
    against: dict[str, Any] = field(default_factory=dict)
    """The chunker, {plugin: ..., length: ...}, in whose windows FP32 PyTorch is what quality is
    compared with; empty for that of the recipe. A sweep over windows sets it."""

    def __post_init__(self) -> None:
        """Refuse numbers out of bounds."""
        check_within(self, "worst_tensors", 0, MOST_TENSORS)
        for name in ("budget_windows", "probe_windows"):
            check_within(self, name, 1, MOST_WINDOWS)


@dataclass
class Fit:
    """What `mode=fit` looks for: the longest window that compiles, at each precision."""

    precisions: list[str] = field(default_factory=list)
    """The precisions to look at; empty for all of the target's, or the one on the command line."""
    axis: str | None = None
    """The axis whose window is made longer; null where the chunker cuts only one."""
    shortest: int | None = None
    """The shortest window of interest, in samples along the axis; null for one step."""
    longest: int | None = None
    """The longest window of interest; null for what the model was trained on."""
    step: int = 1
    """Windows are multiples of this; what lies between two ends goes up to the next one."""
    calibration_windows: int | None = 2
    """Windows that a quantizer sees: they decide on ranges, not on what fits. null for as many as
    in a run, so that the two share what they made."""

    def __post_init__(self) -> None:
        """Refuse numbers out of bounds, and a search without a window."""
        for name in ("shortest", "longest", "step"):
            check_within(self, name, 1, LONGEST_WINDOW)
        check_within(self, "calibration_windows", 1, MOST_WINDOWS)
        if self.shortest and self.longest and self.shortest > self.longest:
            raise ValueError(f"`shortest` {self.shortest} is above `longest` {self.longest}")


@dataclass
class Sweep:
    """How a sweep runs (`-m`)."""

    confirm: bool = False
    """Run a sweep of more than 1,000 points."""
    retries: int = 2
    """How often a point is run again whose process or machine died."""

    def __post_init__(self) -> None:
        """Refuse a number out of bounds."""
        check_within(self, "retries", 0, MOST_RETRIES)


@dataclass
class Clean:
    """What `mode=clean` removes from the store: results for which all conditions given hold."""

    older_than_days: float | None = None
    """Results that no run used for so many days; 0 for all."""
    larger_than_mb: float | None = None
    """Results of more MB than this."""
    keep_last: int | None = None
    """Results that none of the last runs used, of this number; a sweep counts as one run."""
    unused: bool = False
    """Results of runs whose run folder is gone."""
    confirm: bool = False
    """Remove them; without it they are only shown."""

    def __post_init__(self) -> None:
        """Refuse numbers out of bounds."""
        for name in ("older_than_days", "larger_than_mb", "keep_last"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"`{name}` cannot be {value}; give 0 or more")


@dataclass
class Diff:
    """The two runs that `mode=diff` compares: run folders, their `report.json` or lock files."""

    old: str | None = None
    """The run that the other one is compared with."""
    new: str | None = None
    """The run whose changes are shown."""
    form: Form = Form.text
    """`text` for a person, `json` for a program."""


@dataclass
class Settings:
    """The top level of the config: the keys that are no plugin, then the slots."""

    mode: Mode = Mode.run
    title: str = ""
    input: str | None = None
    scale: Scale | None = None
    batch: Batch = field(default_factory=Batch)
    output: str = "outputs"
    store: str | None = None
    store_limit_gb: float | None = 0.5
    clean: Clean = field(default_factory=Clean)
    measure: Measure = field(default_factory=Measure)
    fit: Fit = field(default_factory=Fit)
    sweep: Sweep = field(default_factory=Sweep)
    diff: Diff = field(default_factory=Diff)
    contract: Any = field(default_factory=dict)
    ladder: list[str] = field(default_factory=list)
    auto: bool = False
    precision: Any = field(default_factory=dict)
    target: Target = field(default_factory=Target)
    model: Any = None
    dataset: Any = None
    calibration: Any = None
    exporter: Any = None
    graph: Any = field(default_factory=dict)
    quantizer: Any = None
    dsp: Any = None
    chunker: Any = None
    runtime: Any = None
    host: Any = None
    evaluator: Any = field(default_factory=dict)
    reporter: Any = field(default_factory=dict)


def check_once(key: str, names: Sequence[str]) -> None:
    """Raise ConfigError when a key that takes several names has one of them twice."""
    for name in names:
        if list(names).count(name) > 1:
            raise ConfigError(
                f"`{key}` names `{name}` twice",
                f"at: {key}=[{','.join(names)}]",
                "each is taken once: name it once",
            )


def group_of(slot: str) -> str:
    """Return the group that Hydra chooses a slot from: `dataset@calibration` for `calibration`."""
    kind = SLOTS.get(slot, slot)
    return slot if kind == slot else f"{kind}@{slot}"


def target_of(cfg: DictConfig) -> Target:
    """Return the target that the config describes; raises ConfigError for an invalid one."""
    target = cast("Target", OmegaConf.to_object(cfg.target))
    # OmegaConf lets a list pass as an item of a list of texts.
    if not all(isinstance(name, str) for name in target.precisions):
        raise ConfigError("`target.precisions` has a value that is no name", "give: [fp16, int8]")
    return target


def literal(text: str) -> str:
    """Return a text escaped for a config, so that `${` in a file name stays literal."""
    return _OPENS.sub(lambda found: found[1] * 2 + "\\${", text)


def unescaped(text: str) -> str | None:
    """Return the text that `literal` escaped; None for one in which a `${` is not escaped."""
    if any(len(found[1]) % 2 == 0 for found in _OPENS.finditer(text)):
        return None
    return _OPENS.sub(lambda found: found[1][: len(found[1]) // 2] + "${", text)


def checked(cfg: DictConfig, key: str) -> object:
    """Return the object that a key of the config stands for; raises ConfigError for bad values."""
    try:
        return OmegaConf.to_object(cfg[key])
    except ValueError as error:
        raise ConfigError(str(error), f"at: {key}") from error
