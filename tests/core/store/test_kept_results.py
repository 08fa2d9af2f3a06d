"""What a run keeps: only what its plan promised, made from what it says that it was made from."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pluggy
import pytest

from core import (
    Artifact,
    EvaluatedItem,
    Item,
    Metric,
    Notice,
    SavedFile,
    Session,
    Signature,
    StageContext,
    StageResult,
    Target,
    TorchModel,
)
from core.config.pipeline import Pipeline
from core.config.settings import Measure
from core.errors import InputError, LuthierError, PluginError
from core.plan.plan import make_plan
from core.plugin import hooks, kinds
from core.plugin.registry import Registry
from core.run.execute import Outcome, execute
from core.store.local import Store
from tests import toy


class Bench:
    """A run of toys in a store of its own, in which some plugins are others."""

    def __init__(self, root: Path) -> None:
        manager = pluggy.PluginManager(hooks.PROJECT)
        manager.add_hookspecs(hooks)
        self.registry = Registry(manager)
        self.store = Store(root)

    def made(self, cls: type[kinds.Plugin[Any]], options: object = None) -> Any:
        """Make a plugin through the registry, as a recipe does."""
        if cls.name not in self.registry.entries[cls.kind]:
            self.registry.add(cls, "a-distribution")
        return self.registry.find(cls.kind, cls.name).create(options or cls.Options())

    def run(self, *others: type[kinds.Plugin[Any]], dataset: Any = None) -> Outcome:
        """Plan a run and execute it, with `others` in the places of their kinds."""
        toys: dict[str, type[Any]] = {
            cls.kind: cls
            for cls in (toy.Gain, toy.Ramp, toy.Copied, toy.Coarse, toy.Straight, toy.Even,
                        toy.Distant, toy.Largest, *others)
        }  # fmt: skip
        made = {kind: self.made(cls) for kind, cls in toys.items()}
        for several in ("graph", "evaluator"):
            made[several] = (made[several],)
        calibration, made["dataset"] = made["dataset"], dataset or made["dataset"]
        pipeline = Pipeline(
            recipe="toy", title="", target=Target(), precision="fp32", measure=Measure(),
            contract=(), exporter=None, calibration=calibration, host=self.made(toy.Plain),
            reporter=(), **made,
        )  # fmt: skip
        plan = make_plan(pipeline, self.registry, self.store)
        return execute(plan, self.store, self.registry.manager.hook)

    def cached(self, step: str) -> int:
        """Return how many results of a step are in the store."""
        return len(list((self.store.root / step).glob("*/artifact.json")))


@pytest.fixture
def context(tmp_path: Path) -> Bench:
    """Return a run of toys, with a store in a folder of the test's."""
    return Bench(tmp_path / "store")


class Bad(toy.Copied):
    """A rewriter that does one thing wrong; the tests say which."""

    name = "bad"

    def run(self, artifact: Artifact, work: StageContext) -> StageResult:
        """Copy, and do it."""
        made = super().run(artifact, work)
        return self.does(artifact, work, made) or made

    does: Callable[[Any, Artifact, StageContext, StageResult], StageResult | None] = lambda *_: None


#: What a plugin does with what it made.
Does = Callable[[Artifact, StageContext, StageResult], StageResult | None]


def graph(does: Does) -> type[Bad]:
    """Return a rewriter that does this after it copied the graph."""

    class Doing(Bad):
        """Does as it was told."""

        def does(
            self, artifact: Artifact, work: StageContext, made: StageResult
        ) -> StageResult | None:
            """Do it."""
            return does(artifact, work, made)

    return Doing


def changed(**fields: Any) -> Callable[[Artifact, StageContext, StageResult], StageResult]:
    return lambda _artifact, _work, made: replace(made, **fields)


def linked(
    link: Callable[[Path, Path], None],
) -> Callable[[Artifact, StageContext, StageResult], None]:
    return lambda artifact, work, _made: link(Path(artifact.path), work.folder / "more")


def outside(_artifact: Artifact, work: StageContext, _made: StageResult) -> StageResult:
    (work.folder.parent / "aside").write_text("2.0")
    return StageResult(work.folder.parent / "aside", "torch", "fp32")


WRONG: Mapping[str, tuple[Does, str]] = {
    "another precision": (changed(precision="int8"), "in int8, but its plan said torch"),
    "another format": (changed(format="onnx"), "made onnx in fp32, but its plan said torch"),
    "a fact that is NaN": (changed(facts={"loss": float("nan")}), "facts['loss'] is nan"),
    "a fact of numpy's": (changed(facts={"loss": np.float64(1)}), "numpy.float64"),
    "a notice of no kind": (changed(notices=(Notice("loud", "x"),)), "severity is 'loud'"),  # type: ignore[arg-type]  # as a plugin may
    "chosen no JSON": (changed(chosen_options={"levels": {1, 2}}), "['levels'] is of type `set`"),
    "chosen infinity": (changed(chosen_options={"levels": [float("inf")]}), "['levels'][0] is inf"),
    "a link": (linked(lambda of, at: at.symlink_to(of)), "a symbolic link"),
    "a link to a folder": (linked(lambda of, at: at.symlink_to(of.parent)), "a symbolic link"),
    "a link to nothing": (linked(lambda _, at: at.symlink_to("nowhere")), "a symbolic link"),
    "a second name": (linked(lambda of, at: at.hardlink_to(of)), "a hard link"),
    "a pipe": (linked(lambda _, at: os.mkfifo(at)), "a pipe"),
    "a file outside": (outside, "not a file in its folder"),
    "a file that is not there": (changed(path=Path("/nowhere")), "not a file in its folder"),
    "a name that is no text": (
        linked(lambda _, at: Path(os.fsdecode(os.fsencode(at) + b"\xe9")).touch()), "no text"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_kept_is_refused_by_the_name_of_its_plugin(
    context: Bench, what: str
) -> None:
    """A result must be files below its folder, in the planned format, with facts of plain JSON."""
    does, said = WRONG[what]
    with pytest.raises(PluginError) as error:
        context.run(graph(does))
    assert said in str(error.value)
    assert "graph `bad`" in str(error.value)
    assert "distribution: a-distribution" in str(error.value)
    assert (context.cached("graph.bad"), context.cached("model")) == (0, 1)
    assert list((context.store.root / "staging").iterdir()) == []


@pytest.mark.parametrize("fails", [False, True])
def test_who_writes_to_its_input_is_named_and_the_input_made_again(
    context: Bench, fails: bool
) -> None:
    """The spoiled entry is removed, the next run makes it, and the writing plugin is named."""

    def spoil(artifact: Artifact, _work: StageContext, _made: StageResult) -> None:
        Path(artifact.path).write_text("3.0")
        if fails:
            raise ZeroDivisionError

    with pytest.raises(LuthierError, match=r"wrote to its input `model`|ZeroDivision") as error:
        context.run(graph(spoil))
    assert "graph `bad`" in str(error.value)
    assert (context.cached("graph.bad"), context.cached("model")) == (0, 0)
    played = context.run().artifacts["play"]
    assert played.facts["source"] == "quantizer"
    assert (context.cached("model"), context.cached("play")) == (1, 1)


@pytest.mark.parametrize("at", ["items", "save", "evaluate"])
def test_a_file_that_changes_while_it_is_read_poisons_nothing(
    context: Bench, tmp_path: Path, at: str
) -> None:
    """A changed file's results and items are not kept under the hash of the old content."""
    song = tmp_path / "song.line"
    song.write_text("1 2 3 4 5 6 7 8")

    class Changing(toy.Lines):
        """Somebody saves the file again just then."""

        name = "changing"

        def items(self, split: Any, signature: Signature) -> Any:
            """Read it, after it changed."""
            if at == "items":
                song.write_text("8 7 6 5 4 3 2 1 0")
            for item in super().items(split, signature):
                yield Item(self.identity(split)[0], item.name, item.inputs)

        def save(self, *given: Any) -> Sequence[SavedFile]:
            """Save, while it changes."""
            if at == "save":
                song.write_text("8 7 6 5 4 3 2 1 0")
            return super().save(*given)

    class Slow(toy.Largest):
        """Takes so long that it changes meanwhile."""

        name = "slow"

        def evaluate(self, played: EvaluatedItem, signature: Signature) -> Sequence[Metric]:
            """Measure."""
            if at == "evaluate":
                song.write_text("8 7 6 5 4 3 2 1 0")
            return super().evaluate(played, signature)

    dataset = context.made(Changing, toy.LinesOptions(str(song)))
    with pytest.raises(InputError, match=r"`song\.line` changed while it was read"):
        context.run(Slow, dataset=dataset)
    stopped = {"items": "sample", "save": "save", "evaluate": "evaluate"}[at]
    assert context.cached(stopped) == 0
    if at == "items":
        kept = (context.store.state_dir / "items").glob("*/items.json")
        assert not [file for file in kept if "song.line" in file.read_text()]


def test_weights_that_change_while_they_are_read_poison_nothing(context: Bench) -> None:
    """The identity of weights is checked again after the fetch, so changed ones are not kept."""
    weights = ["1"]

    class Moving(toy.Gain):
        """Its file is replaced while it is read."""

        name = "moving"

        def identity(self) -> str:
            """Return what the file holds now."""
            return weights[-1]

        def fetch(self, work: StageContext) -> StageResult:
            """Read it while it changes."""
            weights.append("2")
            return super().fetch(work)

    with pytest.raises(InputError, match="the data of model `moving` changed while it was read"):
        context.run(Moving)
    assert context.cached("model") == 0


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (Metric("sdr", float("nan"), "dB", "cpu"), "[0].value is nan, which is no finite number"),
        (Metric("sdr", float("-inf"), "dB", "cpu"), "[0].value is -inf"),
        (Metric("sdr", np.float32(1), "dB", "cpu"), "[0].value is of type `numpy.float32`"),  # type: ignore[arg-type]  # as a plugin may
        (Metric("sdr", True, "dB", "cpu"), "[0].value is True"),
        (Metric("sdr", 1.0, "dB", "cpu", better="up"), "[0].better is 'up'"),  # type: ignore[arg-type]  # as above
        (Metric("sdr", 1.0, None, "cpu"), "[0].unit is None"),  # type: ignore[arg-type]  # as above
        (Metric("s\udce9r", 1.0, "dB", "cpu"), "bytes that are no text"),
        ("loud", "[0] is 'loud', not `Metric`"),
    ],
)
def test_a_metric_that_is_no_number_is_refused_and_not_kept_as_null(
    context: Bench, metric: Any, said: str
) -> None:
    """The evaluator of a NaN is named; kept as null, the NaN would end every later run."""

    class Odd(toy.Largest):
        """Measures something odd."""

        name = "odd"

        def evaluate(self, played: EvaluatedItem, signature: Signature) -> Sequence[Metric]:
            """Return it."""
            return [metric]

    with pytest.raises(PluginError) as error:
        context.run(Odd)
    assert "evaluator `odd` gave a value that is not allowed: `evaluate`" in str(error.value)
    assert said in str(error.value)
    assert context.cached("evaluate") == 0
    context.run()
    assert context.cached("evaluate") == 1


@pytest.mark.parametrize(
    "path", ["../y.txt", "/etc/hostname", "nowhere.txt", "saved.json", "", "a\\b.txt"]
)
def test_what_was_saved_lies_in_its_folder(context: Bench, path: str) -> None:
    """A dataset that names a file outside its folder is refused, and no run folder is made."""

    class Elsewhere(toy.Ramp):
        """Says that it wrote somewhere else."""

        name = "elsewhere"

        def save(self, *given: Any) -> Sequence[SavedFile]:
            """Write, and say another name."""
            super().save(*given)
            return [SavedFile(path, "y", "line")]

    with pytest.raises(LuthierError) as error:
        context.run(Elsewhere)
    assert "dataset `elsewhere`" in str(error.value)
    assert context.cached("save") == 0


def test_a_session_that_skips_a_window_is_refused(context: Bench) -> None:
    """A session that skips a window is refused, as outputs would be joined at wrong places."""

    class Skipping(toy.Distant):
        """Leaves out the last window of a group."""

        name = "skipping"

        def open(
            self, artifact: Artifact, model: Callable[[], TorchModel], work: StageContext
        ) -> Session:
            """Return such a session."""
            session = super().open(artifact, model, work)

            class Fewer(type(session)):  # type: ignore[misc]  # known when it runs
                """Gives one fewer."""

                at_once = 2

                def run_many(self, feeds: Any, progress: Any) -> Any:
                    """Run all but one."""
                    yield from super().run_many(feeds[:-1], progress)

            return Fewer()

    with pytest.raises(PluginError, match="`run_many` gives 1 outputs for 2 windows"):
        context.run(Skipping)
