"""Items of a dataset: checked against the model, and kept so that they are not read again.

Six steps of a run read its input, and a sweep repeats them for every point. Decoding, resampling
and generating items took a tenth of a run's time before the items were kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from core.errors import InputError, PluginError
from core.formats.tensors import load, save, under
from core.machine.folders import owned_folder
from core.plugin.kinds import Dataset, Model, anew
from core.plugin.origin import origin_of
from core.plugin.stages import Split
from core.plugin.values import Item, Notice, Signature, TensorSpec
from core.store import damage, uses
from core.store.entry import FORMAT
from core.store.fingerprint import of_plugin
from core.store.hashing import digest, files_below, folder_digest, verified_digest
from core.store.sealed import DamagedError, read_sealed, write_sealed
from core.text.shown import in_one_line

if TYPE_CHECKING:
    from core.config.pipeline import Pipeline
    from core.plugin.values import Array, Tensors

__all__ = ["cached_items", "check_example", "checked_items", "passed_over"]

#: Items of more bytes than this, all together, are not kept but read again each time.
LARGEST = 2**30
LIST, FILES = "items.json", "files"
SIDES = ("inputs", "references")


def checked_items(dataset: Dataset[Any], split: Split, signature: Signature) -> Iterator[Item]:
    """Yield the items of a dataset; raises when one does not fit the signature or is not finite."""
    import numpy as np

    seen = 0
    for item in dataset.items(split, signature):
        seen += 1
        for spec in signature.inputs:
            array = _fitting(item.inputs, spec, f"dataset `{dataset.name}`", f"item: {item.name}")
            if array.size == 0:
                raise InputError(f"`{item.name}` is empty", f"dataset: {dataset.name}")
            if not np.isfinite(array).all():
                raise InputError(
                    f"`{item.name}` holds values that are not numbers (NaN or infinite)",
                    f"dataset: {dataset.name}",
                    f"{int((~np.isfinite(array)).sum())} of {array.size} values",
                    "repair or re-encode the file",
                )
            _check_range(array, spec, f"`{item.name}`", f"dataset: {dataset.name}")
        # A dataset of somebody else may name its items after files, whose names may end a line.
        name = in_one_line(item.name)
        yield item if name == item.name else replace(item, name=name)
    if seen == 0:
        raise InputError(
            f"dataset `{dataset.name}` has no items for {split}", "give it data, or choose another"
        )


def check_example(example: Tensors, signature: Signature, model: Model[Any]) -> None:
    """Raise PluginError unless a model's example has the types, ranks and lengths of its inputs.

    Raises InputError for a value outside the range that an input declares.
    """
    origin = origin_of(model)
    giver, where = f"the example of {origin}", " ".join(origin.lines)
    for spec in signature.inputs:
        array = _fitting(example, spec, giver, where)
        for axis, wanted, given in zip(spec.axes, spec.shape, array.shape, strict=True):
            if isinstance(wanted, int) and given != wanted:
                raise PluginError(
                    f"{giver} has {given} along `{axis}` of `{spec.name}`",
                    where,
                    f"its signature says {wanted}",
                )
        _check_range(array, spec, giver, where)


def _fitting(tensors: Tensors, spec: TensorSpec, giver: str, where: str) -> Array:
    """Return one input; raises PluginError if it is absent, or of another rank or type."""
    array = tensors.get(spec.name)
    if array is None or array.ndim != len(spec.axes):
        got = "nothing" if array is None else f"an array of shape {array.shape}"
        raise PluginError(
            f"{giver} gives {got} for the input `{spec.name}`",
            where,
            f"the model takes {' × '.join(spec.axes) or 'a single value, of shape ()'}",
        )
    if array.dtype.name != spec.dtype:
        raise PluginError(
            f"{giver} gives {array.dtype} for the input `{spec.name}`, which the model declares as "
            f"{spec.dtype}",
            where,
            f"arrays must fit the signature: array.astype({spec.dtype!r}), "
            "or the model's plugin declares another: TensorSpec(dtype=...)",
        )
    return array


def _check_range(array: Array, spec: TensorSpec, giver: str, where: str) -> None:
    """Raise InputError for a value that the model does not declare as valid."""
    if spec.range is None or array.size == 0:
        return
    low, high = spec.range
    lowest, highest = array.min(), array.max()
    if lowest < low or highest > high:
        raise InputError(
            f"{giver} has {lowest:g} to {highest:g} for the input `{spec.name}`",
            where,
            f"the model takes values from {low:g} to {high:g}",
        )


def cached_items(
    dataset: Dataset[Any], split: Split, signature: Signature, state_dir: Path | None
) -> Iterator[Item]:
    """Yield the items of a dataset as `checked_items` does, from `state_dir` if they are there.

    `state_dir` is a folder that outlives the run; without one nothing is kept. Calibration items
    come without their true outputs: nobody compares them.
    """
    if state_dir is None:
        yield from checked_items(dataset, split, signature)
        return
    ids = dataset.identity(split)
    fingerprint = [FORMAT, of_plugin(dataset), split, list(ids), msgspec.to_builtins(signature)]
    place = state_dir / "items" / digest(fingerprint)[:32]
    uses.note(state_dir.parent, f"state/items/{place.name}")
    try:
        cached = _listed(place)
    except DamagedError as error:
        what = f"the kept inputs of dataset `{dataset.name}` are damaged, and read again"
        damage.tell(place, f"{what}: {error} (items/{place.name})")
        cached = None
    if cached is not None:
        yield from (_read(place, number, one) for number, one in enumerate(cached))
        return
    shutil.rmtree(place, ignore_errors=True)
    # Items that changed after they were hashed must not be kept under that hash. Ask a new
    # instance, because this one may remember what it has looked up.
    keeper = _Keeper(place, len(ids), lambda: anew(dataset).identity(split) == ids)
    try:
        for item in checked_items(dataset, split, signature):
            used = item if split == "evaluation" else replace(item, references={})
            keeper.add(used)
            yield used
    finally:
        keeper.close()


def passed_over(pipeline: Pipeline) -> tuple[Notice, ...]:
    """Return what the datasets of a run left out, whether or not its results were kept."""
    found = [*pipeline.dataset.passed_over("evaluation")]
    quantizer = pipeline.quantizer
    if pipeline.calibration is not None and quantizer and quantizer.calibration_windows:
        found += pipeline.calibration.passed_over("calibration")
    return tuple(dict.fromkeys(found))


class _Described(msgspec.Struct):
    """What is kept of an item beside its tensors."""

    id: str
    name: str
    notices: tuple[Notice, ...]


class _List(msgspec.Struct):
    """What is kept of all items, and the digest of the folder that has their tensors.

    `key` is the name of the folder that it was written to, so that swapped folders are noticed.
    """

    key: str
    items: list[_Described]
    sha256: str


def _listed(place: Path) -> list[_Described] | None:
    """Return the kept items, None if there are none; raises DamagedError."""
    if not place.exists():
        return None
    try:
        cached = read_sealed(place / LIST, _List)
        whole = verified_digest(place / FILES) == cached.sha256
    except DamagedError:
        raise
    except OSError as error:
        name = Path(error.filename or place).name
        raise DamagedError(f"{name}: {error.strerror or error}") from error
    if not whole:
        raise DamagedError("its files are not those that were kept")
    if cached.key != place.name or len(cached.items) != len(files_below(place / FILES)):
        raise DamagedError("its list is that of other inputs")
    return cached.items


def _read(place: Path, number: int, cached: _Described) -> Item:
    tensors = load(_file(place, number))
    inputs, references = (under(tensors, f"{side}/") for side in SIDES)
    return Item(cached.id, cached.name, inputs, references, cached.notices)


def _file(place: Path, number: int) -> Path:
    return place / FILES / f"{number}.safetensors"


class _Keeper:
    """Keeps all `count` items of a dataset while they are used, or none of them.

    They are kept if they are `unchanged` at the end. If they cannot be kept, the only cost is the
    time to read them again.
    """

    def __init__(self, place: Path, count: int, unchanged: Callable[[], bool]) -> None:
        self._place, self._count, self._unchanged = place, count, unchanged
        self._cached: list[_Described] = []
        self._partial: Path | None = None
        self._owned = ExitStack()
        try:
            partial = self._owned.enter_context(owned_folder(place.parent, place.name))
            (partial / FILES).mkdir()
            self._partial = partial
        except OSError:
            self.close()

    def add(self, item: Item) -> None:
        """Keep one more item; the last one completes the set, for nobody may ask for more."""
        if self._partial is None:
            return
        from safetensors import SafetensorError

        tensors: Tensors = {
            f"{side}/{name}": array for side in SIDES for name, array in getattr(item, side).items()
        }
        if sum(array.nbytes for array in tensors.values()) * self._count > LARGEST:
            self.close()
            return
        try:
            save(tensors, _file(self._partial, len(self._cached)))
            self._cached.append(_Described(item.id, item.name, item.notices))
            if len(self._cached) == self._count and self._unchanged():
                whole = folder_digest(self._partial / FILES)
                write_sealed(self._partial / LIST, _List(self._place.name, self._cached, whole))
                self._partial.rename(self._place)
                self.close()
        except (OSError, SafetensorError):
            self.close()

    def close(self) -> None:
        """Remove an incomplete set."""
        self._partial = None
        self._owned.close()
