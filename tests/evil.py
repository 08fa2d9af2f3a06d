"""Toys with hostile texts: terminal controls, markup, scripts and formulas of a stranger."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from core import (
    Artifact,
    EvaluatedItem,
    Evaluator,
    Item,
    Metric,
    Notice,
    SavedFile,
    Session,
    Signature,
    Split,
    StageContext,
    StageError,
    StageResult,
    TorchModel,
    hookimpl,
)
from tests import toy

#: The kinds of hostile text: escape sequences, marks of direction, rich's markup, HTML, Markdown, a
#: formula, the ends of a script and of a string, a secret.
WORDS = (
    "\x1b]0;evil\x07\x1b[2J\x9b31m\r\u202e\u2066[bold red]x[/] [link=http://h]l[/link] "
    '</script><script>alert(1)</script><!-- [m](javascript:x) `c` | =1+1 "; system("rm")// $x '
    "https://ana:hunter2@host/?token=hunter2"
)


def words(before: str = "") -> str:
    """Return the hostile words after a formula and `before`, which gives the place of the words."""
    return f"=1+1 {before}{WORDS}"


@dataclass
class EvilGainOptions(toy.GainOptions):
    """The options of `evil_gain`."""

    broken: bool = False
    """Whether it fails, with words of its own."""


class EvilGain(toy.Gain):
    """Describes itself with hostile words, as a stranger's checkpoint might."""

    name = "evil_gain"
    Options = EvilGainOptions
    options: EvilGainOptions

    def fetch(self, work: StageContext) -> StageResult:
        """Give everything a hostile name."""
        work.progress(1, 2, words("progress"))
        if self.options.broken:
            raise StageError(words("what caf\udce9 "), words("line"))
        made = super().fetch(work)
        assert made.model is not None
        (result,) = made.model.signature.outputs
        labels = {"row": (words("first"), words("second"))}
        return replace(
            made,
            model=replace(
                made.model,
                signature=Signature(made.model.signature.inputs, (replace(result, labels=labels),)),
                weights=words("weights"),
                licence=words("licence"),
                notices=tuple(
                    Notice(severity, words(severity)) for severity in ("info", "warning", "danger")
                ),
            ),
            facts={"told": words("fact"), words("name"): 1},
        )


class EvilRamp(toy.Ramp):
    """Gives a line with a hostile name."""

    name = "evil_ramp"

    def items(self, split: Split, signature: Signature) -> Iterator[Item]:
        """Yield the line with a hostile name."""
        for item in super().items(split, signature):
            yield replace(item, name=words("song"), notices=(Notice("info", words("item")),))

    def save(
        self, item: Item, outputs: Mapping[str, Any], signature: Signature, folder: Path
    ) -> Sequence[SavedFile]:
        """Write the numbers to a file with a hostile name."""
        name = "=1 [bold]<b> `x` caf\u00e9.txt"
        np.savetxt(folder / name, outputs["y"])
        return [SavedFile(name, words("label"), words("saved"))]


class EvilPlain(toy.Plain):
    """Runs on a device with a hostile name."""

    name = "evil_plain"

    def open(
        self, artifact: Artifact, model: Callable[[], TorchModel], work: StageContext
    ) -> Session:
        """Open a session with a hostile name of its device."""
        session = super().open(artifact, model, work)
        session.device = words("device")
        return session


class EvilLargest(Evaluator[Any]):
    """Measures a metric with a hostile name."""

    name = "evil_largest"

    def evaluate(self, played: EvaluatedItem, signature: Signature) -> Sequence[Metric]:
        """Return two metrics."""
        return [
            Metric(
                words("metric"),
                1.0,
                words("unit"),
                words("on"),
                words("of"),
                statistic=words("statistic"),
                better="higher",
                note="n",
            ),
            Metric("sdr", 1.0, "dB", words("on"), words("of"), words("label"), better="higher"),
        ]


@hookimpl
def luthier_plugins() -> list[type[Any]]:
    """Add the hostile toys."""
    return [EvilGain, EvilRamp, EvilPlain, EvilLargest]
