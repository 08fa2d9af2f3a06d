"""What a run played, as arrays by the names that a person knows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import StoreError
from core.formats.tensors import opened
from core.plugin.progress import silent
from core.plugin.step_names import MODEL, PLAY
from core.plugin.values import Array, Signature, Tensors

if TYPE_CHECKING:
    from core.config.pipeline import Pipeline
    from core.plugin.records import RunRecord
    from core.plugin.values import Item

__all__ = ["Outputs", "Played", "labelled"]


class Outputs(Mapping[str, Array]):
    """The outputs of one item: arrays by label (`vocals`), or by name where none is labelled.

    `rates` holds the samples per second by axis, `axes` the names of the axes of every array.
    """

    def __init__(
        self,
        arrays: Mapping[str, Array],
        axes: Mapping[str, tuple[str, ...]],
        rates: Mapping[str, float],
    ) -> None:
        self._arrays, self.axes, self.rates = dict(arrays), dict(axes), dict(rates)

    def __getitem__(self, label: str) -> Array:
        """Return an array; a KeyError names the labels that there are."""
        if label not in self._arrays:
            raise KeyError(f"{label}: there are {', '.join(self._arrays)}")
        return self._arrays[label]

    def __iter__(self) -> Iterator[str]:
        """Yield the labels in the order of the model."""
        return iter(self._arrays)

    def __len__(self) -> int:
        """Return how many arrays there are."""
        return len(self._arrays)

    def __repr__(self) -> str:
        """Return labels and shapes."""
        shapes = ", ".join(f"{name} {array.shape}" for name, array in self._arrays.items())
        return f"<Outputs {shapes}>"


def labelled(tensors: Tensors, signature: Signature) -> Outputs:
    """Return the outputs of a model as `Outputs`; a labelled axis is taken apart.

    If two outputs share a label, the name of the output stands before it: `second/vocals`.
    """
    import numpy as np

    arrays: dict[str, Array] = {}
    axes: dict[str, tuple[str, ...]] = {}
    rates: dict[str, float] = {}
    for spec in signature.outputs:
        rates |= spec.rates
        array = tensors[spec.name]
        axis, labels = next(iter(spec.labels.items()), ("", ()))
        if not labels:
            arrays[spec.name], axes[spec.name] = array, spec.axes
            continue
        left = tuple(name for name in spec.axes if name != axis)
        for index, label in enumerate(labels):
            key = f"{spec.name}/{label}" if label in arrays else label
            arrays[key], axes[key] = np.take(array, index, spec.axis(axis)), left
    return Outputs(arrays, axes, rates)


class Played:
    """What a run played, read once somebody asks for it.

    The file is opened at once: on most systems it can then be read even after it was removed.
    """

    def __init__(self, record: RunRecord, pipeline: Pipeline, state_dir: Path) -> None:
        self._made = {stage.name: stage.artifact for stage in record.stages}
        self._pipeline, self._state_dir = pipeline, state_dir
        file = Path(self._made[PLAY].path)
        self._tensors = opened(file) if file.is_file() else None

    def outputs(self) -> dict[str, Outputs]:
        """Return the outputs by the name of each item; plays them again if the file is gone.

        Raises StoreError if the model is no longer in the store, either.
        """
        from core.inference.items import cached_items

        model = self._made[MODEL]
        items = cached_items(
            self._pipeline.dataset, "evaluation", model.info.signature, self._state_dir
        )
        with self._player() as play:
            return {item.name: labelled(play(item), model.info.signature) for item in items}

    @contextmanager
    def _player(self) -> Iterator[Callable[[Item], Tensors]]:
        if self._tensors is not None:
            yield lambda item: self._read(item.id)
            return
        from core.inference.context import RunContext
        from core.inference.player import opened as player_of
        from core.plugin.stages import StageContext

        source = self._made[str(self._made[PLAY].facts["source"])]
        for needed in (source, self._made[MODEL]):
            if not Path(needed.path).exists():
                raise StoreError(
                    "what this run played is no longer in the store, and neither is its model",
                    f"at: {needed.path}",
                    "the files in the run's folder are still there; or run the recipe again",
                )
        with tempfile.TemporaryDirectory(prefix="luthier-") as folder:
            work = StageContext(Path(folder), silent(), self._state_dir)
            context = RunContext(self._pipeline)
            with player_of(context, source, self._made[MODEL], work) as player:
                yield lambda item: player.play(item, silent())

    def _read(self, item: str) -> Tensors:
        assert self._tensors is not None, "asked for only where there are any"
        head = f"{item}/"
        names = [name for name in self._tensors.keys() if name.startswith(head)]  # noqa: SIM118  # no mapping
        return {name[len(head) :]: self._tensors.get_tensor(name) for name in names}
