"""The error budget measured: what every stage changed, in one table, on one set of windows.

    ideal      FP32 PyTorch, the whole input in the windows of the training     y_0
    reference  FP32 PyTorch, the whole input in the windows of the recipe       y_1
    stages     a few of those windows, alone                                    y_2 ...

If the recipe's windows are no shorter than those of the training, nothing is lost to the cut (any
two cuts differ; on an item by as much as 13 dB). Then all is compared with FP32 PyTorch in the
sampled windows, alone: `total_db` is the SNR that is reported for a stage anywhere else.

The cut is measured at the places of the sampled windows in both whole results, so that it counts
as it is heard: faded from window to window. A stage is compared with the stage before it, window by
window, before the windows are joined; its difference from FP32 PyTorch, added to y_1, gives its
distance from y_0. All is relative to the power of y_0: core/measure/error_budget.py explains why.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from core.measure.error_budget import CUT, WHOLE, worst_of
from core.measure.metrics import Snr, labels_of, snr_of_labels
from core.plugin.records import BudgetLine
from core.plugin.stages import Window
from core.plugin.step_names import IDEAL, MODEL, PLAY, PROBE, REFERENCE, SAMPLE
from core.plugin.values import Artifact, Signature, TensorSpec

if TYPE_CHECKING:
    from core.plugin.kinds import Chunker
    from core.plugin.progress import Progress
    from core.plugin.values import Array, Fact, Tensors

__all__ = ["OUTPUTS", "Place", "read_places", "rows", "write_places"]

#: The file beside the facts of a comparison: the outputs of its windows. The file beside the
#: sampled windows: where they lie in their items.
OUTPUTS, PLACES = "outputs.safetensors", "places.json"


@dataclass(frozen=True)
class Place:
    """Where a sampled window lies: its item, and the length of that item along every axis."""

    item: str
    name: str
    window: Window
    lengths: dict[str, int]


def write_places(places: Sequence[Place], folder: Path) -> None:
    """Write where the windows of a sample lie."""
    (folder / PLACES).write_bytes(msgspec.json.encode(places))


def read_places(sample: Artifact) -> list[Place]:
    """Return where the windows of a sample lie."""
    return msgspec.json.decode(Path(sample.folder, PLACES).read_bytes(), type=list[Place])


def rows(
    chunker: Chunker[Any],
    inputs: Mapping[str, Artifact],
    stages: Sequence[str],
    unmeasured: Mapping[str, Sequence[str]],
    progress: Progress,
) -> list[BudgetLine]:
    """Return the error budget of a run, from what its steps made.

    `stages` are those that were compared, in their order. `unmeasured` names, for a stage, those
    before it that no runtime plays here: their loss is in its row.
    """
    table = _Table(chunker, inputs)
    lines = table.cut()
    for stage in stages:
        lines.append(table.stage(stage, inputs[f"budget.{stage}"], unmeasured.get(stage, ())))
        progress(len(lines), 0, stage)
    if PROBE in inputs:
        lines.append(table.probe(inputs[PROBE]))
    lines.append(_whole(inputs))
    return lines


class _Powers:
    """Powers of the signal and of an error per label, summed over windows."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._sums: list[tuple[float, float]] = []

    def add(self, signal: Tensors, plus: Sequence[Tensors], minus: Sequence[Tensors]) -> None:
        """Add one window: its signal, and its error, the sum of `plus` less the sum of `minus`."""
        import numpy as np

        found = []
        for part in self._labels():
            error = np.zeros(part(signal).shape)
            for one in plus:
                error += part(one)
            for one in minus:
                error -= part(one)
            both = (np.square(array, dtype=np.float64) for array in (part(signal), error))
            found.append(tuple(float(np.sum(squares)) for squares in both))
        before = self._sums or [(0.0, 0.0)] * len(found)
        self._sums = [(a + c, b + d) for (a, b), (c, d) in zip(before, found, strict=True)]

    def snr(self) -> Snr:
        """Return the SNRs of all windows as one signal."""
        return snr_of_labels(self._signature, self._sums)

    def _labels(self) -> Iterator[Callable[[Tensors], Array]]:
        """Yield a function for each label, which takes its part of the outputs of a window."""
        for spec in self._signature.outputs:
            axis = next((i for i, axis in enumerate(spec.axes) if axis in spec.labels), None)
            for index in range(len(labels_of(spec))):
                yield functools.partial(_part, spec.name, axis, index)


def _part(name: str, axis: int | None, index: int, tensors: Tensors) -> Array:
    import numpy as np

    return tensors[name] if axis is None else np.take(tensors[name], index, axis)


class _Table:
    """The rows on the sampled windows, and the outputs of the row before."""

    def __init__(self, chunker: Chunker[Any], inputs: Mapping[str, Artifact]) -> None:
        self.inputs, self.signature = inputs, inputs[MODEL].info.signature
        self.chunker = chunker
        self.base = _base(inputs)
        self.places = read_places(inputs[SAMPLE])
        self.before = inputs[SAMPLE]

    def cut(self) -> list[BudgetLine]:
        """Return the row of the cut; none if windows are no shorter than those of the training."""
        if self.base == REFERENCE:
            return []
        here, trained = _windows(self.inputs)
        powers = _Powers(self.signature)
        for number in range(len(self.places)):
            ideal, joined, _ = self._fp32(number)
            powers.add(ideal, [joined], [ideal])
        snr = powers.snr()
        return [
            BudgetLine(
                CUT, snr.overall, "CPU (PyTorch)", len(self.places), snr.labels, snr.per_label,
                None, snr.overall, snr.per_label, snr.overall, snr.per_label,
                f"windows of {self._spoken(here)}; the training had {self._spoken(trained)}",
            )
        ]  # fmt: skip

    def stage(self, name: str, artifact: Artifact, unmeasured: Sequence[str]) -> BudgetLine:
        """Return the row of one stage; the next row is compared with this stage."""
        line = self._row(name, artifact, range(len(self.places)))
        self.before = artifact
        if not unmeasured:
            return line
        note = f"with {' and '.join(unmeasured)}, which no runtime of the recipe plays here"
        return replace(line, note=note)

    def probe(self, artifact: Artifact) -> BudgetLine:
        """Return the row of the compiled model; without a total if it ran fewer windows."""
        numbers = [int(number) for number in artifact.numbers("numbers")]
        line = self._row(PROBE, artifact, numbers)
        whole = len(self.places)
        if len(numbers) == whole:
            return line
        note = f"{len(numbers)} of the {whole} windows; compared with the row before on these only"
        return replace(line, total_db=None, label_total_db=(), note=note)

    def _row(self, name: str, artifact: Artifact, numbers: Sequence[int]) -> BudgetLine:
        same, step, total = (
            _Powers(self.signature),
            _Powers(self.signature),
            _Powers(self.signature),
        )
        with _read(artifact, OUTPUTS) as outputs, self._outputs_before() as before:
            for position, number in enumerate(numbers):
                ideal, joined, fp32 = self._fp32(number)
                here = self._piece(outputs.of(f"{position}/out/"), number)
                last = self._piece(before.of(f"{number}/out/"), number)
                same.add(fp32, [here], [fp32])
                step.add(ideal, [here], [last])
                total.add(ideal, [joined, here], [ideal, fp32])
        snr, alone, whole = same.snr(), step.snr(), total.snr()
        seconds = artifact.numbers("seconds")
        return BudgetLine(
            name,
            snr.overall,
            str(artifact.facts["device"]),
            len(numbers),
            alone.labels,
            snr.per_label,
            # The least, because the first window warms the machine up, and may be the only one.
            min(seconds) if seconds else None,
            alone.overall,
            alone.per_label,
            whole.overall,
            whole.per_label,
        )

    def _fp32(self, number: int) -> tuple[Tensors, Tensors, Tensors]:
        """Return FP32 PyTorch at one window: y_0 and y_1, as joined, and the window alone."""
        place = self.places[number]
        with _read(self.inputs[SAMPLE], "") as sample:
            alone = self._piece(sample.of(f"{number}/out/"), number)
        if self.base == REFERENCE:
            return alone, alone, alone
        whole = []
        for name in (self.base, REFERENCE):
            with _read(self.inputs[name], "") as read:
                whole.append(
                    {
                        spec.name: read.part(
                            f"{place.item}/{spec.name}", _region(spec, place, alone[spec.name])
                        )
                        for spec in self.signature.outputs
                    }
                )
        return whole[0], whole[1], alone

    @contextmanager
    def _outputs_before(self) -> Iterator[_Read]:
        sample = self.before is self.inputs[SAMPLE]
        with _read(self.before, "" if sample else OUTPUTS) as read:
            yield read

    def _piece(self, outputs: Tensors, number: int) -> Tensors:
        """Return the part of a window's outputs that counts, without padding around its item."""
        window, sizes = self.places[number].window, self.chunker.window()
        lengths = {a: window.stop[a] - window.start[a] for a in window.start}
        if all(lengths[a] == sizes.get(a) for a in lengths):
            return outputs
        # Joined as if the piece were an input of its own: only the chunker knows where it lies.
        alone = Window(0, dict.fromkeys(lengths, 0), lengths)
        joiner = self.chunker.joiner(self.places[number].lengths | lengths, self.signature)
        joiner.add(alone, outputs)
        return joiner.result()

    def _spoken(self, window: Mapping[str, int]) -> str:
        """Return lengths of windows as seconds, where their axis has a rate: `1.02 s`."""
        parts = []
        for axis, size in window.items():
            rates = [s.rates[axis] for s in self.signature.inputs if axis in s.rates]
            parts.append(f"{size / rates[0]:.2f} s" if rates else f"{size} along {axis}")
        return ", ".join(parts) or "whole"


def _windows(inputs: Mapping[str, Artifact]) -> tuple[dict[str, int], dict[str, int]]:
    """Return the windows of the recipe and of the training, by axis; empty for whole inputs."""
    here, trained = (inputs[step].facts["window"] for step in (REFERENCE, IDEAL))
    return _lengths(here), _lengths(trained)


def _base(inputs: Mapping[str, Artifact]) -> str:
    """Return the step whose result is y_0: FP32 PyTorch in the longer windows of the two."""
    here, trained = _windows(inputs)
    shorter = any(size < trained.get(axis, math.inf) for axis, size in here.items())
    return IDEAL if shorter else REFERENCE


def _lengths(window: Fact) -> dict[str, int]:
    assert isinstance(window, dict)
    return {axis: int(size or 0) for axis, size in window.items()}


def _whole(inputs: Mapping[str, Artifact]) -> BudgetLine:
    """Return the row of the whole input as it was played: of the item with the largest error."""
    signature, played = inputs[MODEL].info.signature, inputs[PLAY]
    items = {place.item: place.name for place in read_places(inputs[SAMPLE])}
    found: list[tuple[float, str, Snr, Snr]] = []
    with (
        _read(inputs[_base(inputs)], "") as ideals,
        _read(inputs[REFERENCE], "") as references,
        _read(played, "") as outputs,
    ):
        for item, name in items.items():
            ideal, reference, output = (
                read.of(f"{item}/") for read in (ideals, references, outputs)
            )
            same, total = _Powers(signature), _Powers(signature)
            same.add(reference, [output], [reference])
            total.add(ideal, [output], [ideal])
            snr = total.snr()
            least = worst_of(snr.overall, snr.labels, snr.per_label).db
            found.append((least, name, same.snr(), snr))
    _, name, same_windows, total_snr = min(found, key=lambda one: one[0])
    note = "all of its windows, so it is not compared with the rows above"
    if len(items) > 1:
        note = f"{name}, the worst of {len(items)} items; {note}"
    return BudgetLine(
        WHOLE,
        same_windows.overall,
        str(played.facts["device"]),
        0,
        total_snr.labels,
        same_windows.per_label,
        total_db=total_snr.overall,
        label_total_db=total_snr.per_label,
        note=note,
    )


class _Read:
    """A file of tensors that is read in parts."""

    def __init__(self, file: Any) -> None:
        self._file, self._names = file, list(file.keys())

    def of(self, head: str) -> Tensors:
        """Return the tensors whose names begin with `head`, by the rest of the name."""
        names = [name for name in self._names if name.startswith(head)]
        return {name[len(head) :]: self._file.get_tensor(name) for name in names}

    def part(self, name: str, index: tuple[slice, ...]) -> Array:
        """Return a part of one tensor."""
        array: Array = self._file.get_slice(name)[index]
        return array


@contextmanager
def _read(artifact: Artifact, name: str) -> Iterator[_Read]:
    """Open the main file of an artifact, or the one called `name` beside it."""
    from safetensors import safe_open

    path = Path(artifact.folder, name) if name else Path(artifact.path)
    with safe_open(path, "np") as file:
        yield _Read(file)


def _region(spec: TensorSpec, place: Place, piece: Array) -> tuple[slice, ...]:
    """Return where a window's piece lies in the whole output, whose axes may be scaled."""
    index = []
    for axis, length in zip(spec.axes, piece.shape, strict=True):
        start = place.window.start.get(axis)
        if start is None:
            index.append(slice(None))
            continue
        size = place.window.stop[axis] - start
        first = (2 * start * length + size) // (2 * size)
        index.append(slice(first, first + length))
    return tuple(index)
