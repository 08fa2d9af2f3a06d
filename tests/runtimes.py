"""Toy runtimes that ask more of the core than those of `tests.toy`.

Their device may be absent, facts of the machine decide on their results, and their engine reads
memory as it lies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from core import (
    Artifact,
    Fact,
    Session,
    Signature,
    StageContext,
    StageError,
    TorchModel,
    Window,
    from_target,
    hookimpl,
)
from tests import toy

#: The facts of the machine that `local` finds; a test sets them.
FACTS: dict[str, Any] = {}
#: How often `elsewhere` was asked whether it can open what it compiles.
ASKED: list[str] = []


@dataclass
class ElsewhereOptions(toy.DistantOptions):
    """The options of `elsewhere`."""

    absent: str = "its device is not here"
    """Why nothing here opens what it compiles; "" where something does."""


class Elsewhere(toy.Distant):
    """Compiles here, and plays whole inputs where its device is present."""

    name = "elsewhere"
    Options = ElsewhereOptions
    plays = True

    def unopenable(self) -> str:
        """Return the reason that the options give."""
        ASKED.append(self.options.absent)  # type: ignore[attr-defined]  # its own options
        return str(self.options.absent)  # type: ignore[attr-defined]  # see above

    def open(
        self, artifact: Artifact, model: Callable[[], TorchModel], work: StageContext
    ) -> Session:
        """Refuse where the device is absent."""
        if self.options.absent:  # type: ignore[attr-defined]  # see above
            raise StageError(f"`elsewhere` cannot open it: {self.options.absent}")  # type: ignore[attr-defined]  # see above
        return super().open(artifact, model, work)


class Local(toy.Plain):
    """Multiplies as the machine's processor does."""

    name = "local"

    def machine(self) -> Mapping[str, Fact]:
        """Return the facts that a test set."""
        return FACTS


class Level(Enum):
    """How exactly `strict` computes."""

    fp32 = 1
    bf16 = 2


@dataclass
class StrictOptions:
    """The options of `strict`: one of every type that a precision may set."""

    level: Level = Level.fp32
    """How exactly it computes."""
    note: str = "a, b"
    """A text."""
    scale: float | None = None
    """A number, if it is given."""
    layers: list[str] = field(default_factory=list)
    """Names of layers."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Sizes by name."""
    chip: int = from_target("chip", 3)
    """A fact of the target."""


class Strict(toy.Plain):
    """Multiplies only arrays whose memory holds them in order."""

    name = "strict"
    Options = StrictOptions

    def open(
        self, artifact: Artifact, model: Callable[[], TorchModel], work: StageContext
    ) -> Session:
        """Return a session that refuses every other array."""
        gain = float(Path(artifact.path).read_text())

        class InOrder(Session):
            """A session with one multiplication."""

            device = "a pedantic calculator"

            def run(self, feeds: Mapping[str, Any]) -> Any:
                """Multiply."""
                if not feeds["x"].flags.c_contiguous:
                    raise StageError("the array is a view")
                return {"y": toy.multiplied(feeds["x"], gain, artifact.info)}

        return InOrder()


class Views(toy.Even):
    """Cuts windows whose memory does not have their values in order."""

    name = "views"

    def cut(self, inputs: Mapping[str, Any], window: Window, signature: Signature) -> Any:
        """Return one window in Fortran's order."""
        return {"x": np.asfortranarray(super().cut(inputs, window, signature)["x"])}


class Clock:
    """A clock that only moves when something takes its time."""

    now = 0.0

    def perf_counter(self) -> float:
        """Return the seconds since the start, as the function of `time` does."""
        return self.now


#: What `slow_start` takes its time on; a test puts it in the place of `time`.
CLOCK = Clock()
#: The seconds that it takes to open, to run the first window, and to run each further one.
OPEN_S, FIRST_S, FURTHER_S = 0.38, 0.032, 0.018


@dataclass
class SlowStartOptions(toy.DistantOptions):
    """The options of `slow_start` and `slow_device`."""

    here: bool = True
    """Whether this machine computes."""
    emulated: bool = False
    """Whether an emulator stands in for the device."""
    measures: list[float] = field(default_factory=list)
    """The cold start that the device measured itself."""


def _slow(session: Session, options: SlowStartOptions) -> Session:
    """Return a session that takes its time on the clock, which has moved by its opening."""
    CLOCK.now += OPEN_S
    run, taken = session.run, iter([FIRST_S])

    def slowly(feeds: Mapping[str, Any]) -> Any:
        CLOCK.now += next(taken, FURTHER_S)
        return run(feeds)

    session.run = slowly  # type: ignore[method-assign]  # every session has a class of its own
    session.here, session.on_target = options.here, not options.emulated
    session.cold_start_s = options.measures
    return session


class SlowStart(toy.Plain):
    """Multiplies, slowly at first."""

    name = "slow_start"
    Options = SlowStartOptions

    def open(
        self, artifact: Artifact, model: Callable[[], TorchModel], work: StageContext
    ) -> Session:
        """Take some time to open."""
        return _slow(super().open(artifact, model, work), self.options)


class SlowDevice(toy.Distant):
    """Compiles for a device that is here, but too slow for whole inputs."""

    name = "slow_device"
    Options = SlowStartOptions

    def open(
        self, artifact: Artifact, model: Callable[[], TorchModel], work: StageContext
    ) -> Session:
        """Take some time to open."""
        return _slow(super().open(artifact, model, work), self.options)  # type: ignore[arg-type]  # its own


class Demanding(toy.Plain):
    """Cannot be used without an option that only some precisions set."""

    name = "demanding"

    @dataclass
    class Options:
        """The options of `demanding`."""

        level: str
        """How exactly it computes."""


@hookimpl
def luthier_plugins() -> list[type[Any]]:
    """Add the runtimes, and the chunker that gives views."""
    return [Elsewhere, Local, Strict, SlowStart, SlowDevice, Demanding, Views]


def brought(conf: Path, files: Iterable[tuple[str, str, str]]) -> object:
    """Return a distribution that brings presets: of each group and name a text, below `conf`."""
    for group, name, text in files:
        (conf / group).mkdir(parents=True, exist_ok=True)
        (conf / group / f"{name}.yaml").write_text(text)

    class Presets:
        """A distribution that brings presets."""

        @hookimpl
        def luthier_presets(self) -> list[str]:
            """Add them."""
            return [str(conf)]

    return Presets()
