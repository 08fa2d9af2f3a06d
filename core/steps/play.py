"""The steps over whole inputs: the FP32 reference, the shipped graph, and the saved result."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from core.config.trained_window import are_trained, other_training
from core.errors import LuthierError, PluginError
from core.formats.tensors import save
from core.inference.context import RunContext
from core.inference.player import Timing, opened, that_plays
from core.inference.windows import covered_seconds, first_feeds, lengths_of, play_with
from core.machine.machine_load import Load, facts_of
from core.machine.memory import peak_memory
from core.machine.paths import below
from core.measure import cold_start, placement
from core.plugin.origin import origin_of
from core.plugin.placement import Placement
from core.plugin.stages import SavedFile, Session, StageContext, StageResult
from core.plugin.step_names import AGAINST, IDEAL, MODEL, PLAY, REFERENCE, SAVE
from core.plugin.values import Artifact, Fact, Notice
from core.steps.evaluate import read_outputs
from core.steps.step import Inputs, Step
from core.store import fingerprint

if TYPE_CHECKING:
    from core.plugin.kinds import Chunker, Dataset
    from core.plugin.values import Tensors

__all__ = ["against_steps", "ideal_step", "place_saved", "play_step", "reference_step", "save_step"]

SAVED = "saved.json"
#: How to measure a time again that the store has.
AGAIN = "measure again when the machine is quiet, with another store: store=..."
#: Stands for any length of a window, where the length itself does not matter.
ANY_LENGTH = 1 << 20


def play_step(context: RunContext, source: str) -> Step:
    """Return the step that plays the graph that `source` made, on the runtime of the recipe."""
    pipeline = context.pipeline
    runtime = that_plays(pipeline)
    slot = "runtime" if runtime is pipeline.runtime else "host"
    own = fingerprint.of_plugin(runtime)

    def run(inputs: Inputs, work: StageContext) -> StageResult:
        model = inputs[MODEL]
        signature = model.info.signature
        covered, windows, notices = 0.0, 0, list[Notice]()
        items: dict[str, Tensors] = {}
        given = context.items(model, work)
        # The others need not wait while the first input is read or made.
        first = next(given)
        with contextlib.ExitStack() as stack:
            with peak_memory() as peak:
                timing = stack.enter_context(
                    Timing(
                        lambda: opened(context, inputs[source], model, work),
                        lambda why: work.progress(0, 0, why),
                    )
                )
                for item in itertools.chain([first], given):
                    items[item.id] = timing.play(item, work.progress)
                    covered += covered_seconds(item.inputs, signature) or 0.0
                    windows += len(pipeline.chunker.split(lengths_of(item.inputs, signature)))
                    notices += item.notices
                timing.timed()
            session, seconds = timing.opened.session, timing.seconds
            # After times and memory: a runtime may open a second session to trace one window.
            work.progress(0, 0, "asking what computed each node")
            transform = timing.opened.transform
            placed = session.placement(first_feeds(first, signature, pipeline.chunker, transform))
            facts: dict[str, Fact] = {
                **session.facts,
                **facts_of(timing.load),
                **cold_start.facts_of(session, timing.open_s, seconds),
                **placement.facts_of(placed),
                "device": session.device,
                "seconds": [*seconds],
                # Of the timed windows only: in a sweep those are the first.
                "covered_s": covered * len(seconds) / windows,
                "inputs": len(items) * len(seconds) / windows,
                "source": source,
                "on_target": session.on_target,
            }
            here = session.here
        if here:
            facts["peak_memory_mb"] = peak.mb
        # A host only stands in for the device: no recipe asks what computes there.
        left = placement.warned(placed) if runtime is pipeline.runtime else ()
        return _outputs(work, items, facts, (*notices, *_under_load(timing.load), *left))

    return Step(
        PLAY,
        "play the whole input",
        f"runtime `{runtime.name}`",
        tuple(dict.fromkeys((source, MODEL))),
        {
            **context.depends_on_runtime(runtime),
            **context.depends_on_items,
            "dsp": context.depends_on_windows["dsp"],
            "chunker": fingerprint.of_plugin(pipeline.chunker),
        },
        run,
        options={
            **fingerprint.of_plugin(pipeline.chunker)["options"],
            **{f"{slot}.{name}": value for name, value in own["options"].items()},
        },
        by=(runtime,),
        reads=context.reads_items,
        calls=(RunContext.open, RunContext.items, RunContext.transform, Session, Placement),
    )


def _under_load(load: Load | None) -> list[Notice]:
    """Return a warning if other processes kept cores busy while the windows were timed."""
    if load is None or not load.heavy:
        return []
    said = f"measured under load: {load.said} while the windows were timed, so that the times are"
    return [Notice("warning", f"{said} too long; {AGAIN}")]


def reference_step(context: RunContext) -> Step:
    """Return the step that plays FP32 PyTorch with the windows of the run."""
    chunker = context.pipeline.chunker
    title = "play the whole input in FP32 PyTorch"
    return _in_pytorch(context, REFERENCE, title, chunker)


def ideal_step(context: RunContext) -> Step:
    """Return the step that plays FP32 PyTorch with the window that the model was trained on.

    It does not depend on the run's own window, unless that is the one of the training, or the
    chunker takes no other length. So a sweep over windows makes it once or twice.
    """
    chunker, spec = context.pipeline.chunker, context.pipeline.model.plan()
    alike = chunker
    if not are_trained(chunker, spec):
        with contextlib.suppress(ValueError, LuthierError):
            # The model, an input of the step, gives the length; in the key any length will do.
            alike = chunker.resized(dict.fromkeys(chunker.window(), ANY_LENGTH))

    def chosen(model: Artifact) -> Chunker[Any]:
        if are_trained(chunker, spec) and not other_training(chunker, spec, model.info):
            return chunker
        return chunker.resized(model.info.train_window)

    title = "play the whole input in FP32 PyTorch, with the training window"
    same = REFERENCE if are_trained(chunker, spec) else ""
    return _in_pytorch(context, IDEAL, title, alike, chosen=chosen, same=same)


def against_steps(context: RunContext) -> list[Step]:
    """Return the step that plays FP32 PyTorch in the windows to compare with, if there are any."""
    chunker = context.pipeline.against
    if chunker is None:
        return []
    title = "play the whole input in FP32 PyTorch, with the windows to compare with"
    return [_in_pytorch(context, AGAINST, title, chunker, like=REFERENCE)]


def _in_pytorch(
    context: RunContext,
    name: str,
    title: str,
    key: Chunker[Any],
    *,
    chosen: Callable[[Artifact], Chunker[Any]] | None = None,
    like: str = "",
    same: str = "",
) -> Step:
    """Return a step that plays the torch module in `chosen` windows, by default those of `key`.

    The key of the result in the store depends on `key`. `same` names an earlier step that plays it
    in the windows of `key`: if those are chosen, its result is taken.
    """
    pipeline = context.pipeline

    def run(inputs: Inputs, work: StageContext) -> StageResult:
        model = inputs[MODEL]
        chunker = key if chosen is None else chosen(model)
        if same and chunker is key:
            before = inputs[same]
            file = work.copy(before)
            return StageResult(file, "tensors", "fp32", dict(before.facts), before.notices)
        opened, signature = context.open(model), model.info.signature
        items = {
            item.id: play_with(opened.reference, item, signature, chunker, work.progress)
            for item in context.items(model, work)
        }
        notices = (
            *context.unsteady(model),
            *(other_training(chunker, pipeline.model.plan(), model.info) if key is chunker else ()),
        )
        return _outputs(work, items, {"window": dict(chunker.window())}, notices)

    return Step(
        name,
        title,
        f"model `{pipeline.model.name}`",
        (MODEL, same) if same else (MODEL,),
        {
            **context.depends_on_items,
            "model": fingerprint.of_plugin(pipeline.model),
            "chunker": fingerprint.of_plugin(key),
        },
        run,
        by=(pipeline.model,),
        reads=context.reads_items,
        like=like,
        calls=(
            RunContext.open,
            RunContext.items,
            RunContext.unsteady,
            *([chosen] if chosen else []),
        ),
    )


def _outputs(
    work: StageContext,
    items: dict[str, Tensors],
    facts: dict[str, Fact],
    notices: tuple[Notice, ...],
) -> StageResult:
    file = work.folder / "outputs.safetensors"
    # Times belong to the result: a step that measures from them must notice when they change.
    (work.folder / "facts.json").write_bytes(msgspec.json.encode(facts))
    save(
        {
            f"{item}/{name}": array
            for item, outputs in items.items()
            for name, array in outputs.items()
        },
        file,
    )
    return StageResult(file, "tensors", "fp32", facts, notices)


def save_step(context: RunContext) -> Step:
    """Return the step that writes what was played as files for a person."""
    dataset = context.pipeline.dataset

    def run(inputs: Inputs, work: StageContext) -> StageResult:
        model, played = inputs[MODEL], inputs[PLAY]
        saved: list[SavedFile] = []
        for item in context.items(model, work):
            outputs = read_outputs(played, item.id)
            written = dataset.save(item, outputs, model.info.signature, work.folder)
            _check_saved(written, dataset, work.folder)
            saved += written
            work.progress(len(saved), 0, item.name)
        file = work.folder / SAVED
        file.write_bytes(msgspec.json.encode(saved))
        return StageResult(file, "files", "fp32")

    return Step(
        SAVE,
        "write the result as files",
        f"dataset `{dataset.name}`",
        (MODEL, PLAY),
        context.depends_on_items,
        run,
        by=(dataset,),
        reads=context.reads_items,
        calls=(RunContext.items,),
    )


def _check_saved(written: Sequence[SavedFile], dataset: Dataset[Any], folder: Path) -> None:
    """Raise PluginError unless every path is that of a file which the dataset wrote."""
    origin = origin_of(dataset)
    for one in written:
        file = below(folder, one.path, str(origin))
        if not file.is_file() or one.path == SAVED:
            raise PluginError(
                f"{origin} says that it saved `{one.path}`, which is not a file in its folder",
                *origin.lines,
            )


def place_saved(artifact: Artifact, folder: Path) -> tuple[SavedFile, ...]:
    """Copy the files that `save` kept into a run folder; returns what they are.

    Raises UnsafePathError where their list names a file elsewhere, which a report would show.
    """
    saved = tuple(msgspec.json.decode(Path(artifact.path).read_bytes(), type=list[SavedFile]))
    for one in saved:
        below(folder, one.path, f"the list of saved files, {artifact.path}")
    shutil.copytree(
        artifact.folder, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(SAVED)
    )
    return saved
