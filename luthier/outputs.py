"""What a run played, as arrays by the names that a person knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import StoreError
from core.plugin.step_names import MODEL, PLAY
from core.plugin.values import Array, Signature, Tensors

if TYPE_CHECKING:
    from core.plugin.kinds import Dataset
    from core.plugin.records import RunRecord

__all__ = ["Outputs", "labelled", "outputs_of"]


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


def outputs_of(
    record: RunRecord, dataset: Dataset[Any], state_dir: Path | None
) -> dict[str, Outputs]:
    """Read what a run played from the store, by the name of each item of the dataset.

    Raises StoreError if the store was cleaned since.
    """
    from core.inference.items import cached_items
    from core.steps.evaluate import read_outputs

    made = {stage.name: stage.artifact for stage in record.stages}
    played, signature = made[PLAY], made[MODEL].info.signature
    if not Path(played.path).is_file():
        raise StoreError(
            "what this run played is no longer in the store",
            f"at: {played.path}",
            "the files in the run's folder are still there; or run the recipe again",
        )
    items = cached_items(dataset, "evaluation", signature, state_dir)
    return {item.name: labelled(read_outputs(played, item.id), signature) for item in items}
