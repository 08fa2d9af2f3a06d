"""The contract of every dataset: true ids, items that fit, and files that stay in their folder."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from core.conformance.base import PluginSuite
from core.inference.items import checked_items
from core.plugin.listable import ListableDataset
from core.plugin.stages import Split
from core.plugin.values import Signature

__all__ = ["DatasetSuite"]


class DatasetSuite(PluginSuite):
    """Name the `signature` of a model that the data fits, and the `splits` that it has.

    Set `disjoint = False` for a dataset that gives the same files for both splits; the run
    refuses to evaluate on what it calibrated on.
    """

    signature: ClassVar[Signature]
    splits: ClassVar[tuple[Split, ...]] = ("calibration", "evaluation")
    disjoint: ClassVar[bool] = True

    def test_ids_match_the_items(self) -> None:
        """`identity` names the items in order without reading them, each once."""
        for split in self.splits:
            dataset = self.make()
            ids = dataset.identity(split)
            assert [item.id for item in dataset.items(split, self.signature)] == list(ids)
            assert len(set(ids)) == len(ids) > 0

    def test_the_splits_share_nothing(self) -> None:
        """No item is used for both calibration and evaluation."""
        if self.disjoint and len(self.splits) > 1:
            first, second = (set(self.make().identity(split)) for split in self.splits)
            assert first & second == set()

    def test_items_fit_the_signature(self) -> None:
        """Every input is of the model's type, finite, and of the axes that the model takes."""
        for split in self.splits:
            for item in checked_items(self.make(), split, self.signature):
                for spec in self.signature.inputs:
                    array = item.inputs[spec.name]
                    assert array.dtype.name == spec.dtype
                    for length, size in zip(array.shape, spec.shape, strict=True):
                        assert isinstance(size, str) or length == size

    def test_items_are_the_same_twice(self) -> None:
        """Two passes give equal arrays."""
        for split in self.splits:
            dataset = self.make()
            passes = zip(
                dataset.items(split, self.signature),
                dataset.items(split, self.signature),
                strict=True,
            )
            for first, second in passes:
                for name, array in first.inputs.items():
                    assert (array == second.inputs[name]).all()

    def test_its_sources_are_its_items(self) -> None:
        """A `ListableDataset` names its items, and each can be read by itself."""
        dataset = self.make()
        if not isinstance(dataset, ListableDataset):
            return
        sources = list(dataset.sources())
        assert sources == list(dataset.sources())
        names = [source.name for source in sources]
        assert len(set(names)) == len(names) > 0
        everything = self.make().items("evaluation", self.signature)
        whole = {item.id: item for item in everything}
        alone = [
            item
            for source in sources
            for item in dataset.only(source).items("evaluation", self.signature)
        ]
        assert len(alone) == len(sources)
        # Of two files with the same content, a dataset may give only the first.
        assert {item.id for item in alone} == set(whole)
        for item in alone:
            for name, array in item.inputs.items():
                assert (array == whole[item.id].inputs[name]).all()

    def test_save_stays_in_its_folder(self, tmp_path: Path) -> None:
        """Every file that `save` returns exists, below the folder that it was given."""
        import numpy as np

        dataset = self.make()
        item = next(iter(dataset.items(self.splits[-1], self.signature)))
        lengths = {
            axis: item.inputs[spec.name].shape[spec.axis(axis)]
            for spec in self.signature.inputs
            for axis in spec.axes
        }
        outputs = {
            spec.name: np.zeros(
                [
                    lengths[axis] if isinstance(size, str) else size
                    for axis, size in zip(spec.axes, spec.shape, strict=True)
                ],
                dtype=spec.dtype,
            )
            for spec in self.signature.outputs
        }
        folder = tmp_path / "run"
        folder.mkdir()
        saved = dataset.save(item, outputs, self.signature, folder)
        assert saved
        for one in saved:
            file = (folder / one.path).resolve()
            assert file.is_file()
            assert file.is_relative_to(folder.resolve())
        assert [p.name for p in tmp_path.iterdir()] == ["run"]
