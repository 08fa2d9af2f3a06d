"""A model that is open and takes arrays: that of a recipe, of a run, or of a bundle."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from core.errors import InputError
from core.plugin.progress import silent
from core.plugin.values import Array, Signature, Tensors
from luthier.calls import StrPath, called
from luthier.outputs import Outputs, labelled

if TYPE_CHECKING:
    from core.plugin.progress import Progress
    from core.plugin.values import Notice

__all__ = ["Opened", "open"]

METADATA, LOCK_FILE, BUNDLE = "metadata.json", "recipe.lock.yaml", "bundle"


class Opened:
    """An open model. Call it with an array, or with arrays by name; close it, or use `with`.

    `signature` says what it takes and gives: axes, lengths, rates, labels. `device` is what it
    computes on, in words; `notices` are what a user must know of the weights and the stages.
    """

    def __init__(
        self,
        signature: Signature,
        device: str,
        play: Callable[[Tensors, Progress], Tensors],
        closing: ExitStack,
        notices: Sequence[Notice] = (),
    ) -> None:
        self.signature, self.device = signature, device
        self.notices = tuple(notices)
        self._play, self._closing = play, closing

    def __call__(self, inputs: Array | Mapping[str, Array]) -> Outputs:
        """Play inputs of any length, cut into windows and joined, and return the outputs.

        One array where the model has one input, else arrays by name; each has the axes and the type
        of the signature (`(channel, time)` in float32), without a batch axis. Other floats are
        converted. Raises InputError for an array that does not fit.
        """
        return labelled(self._play(_fitted(inputs, self.signature), silent()), self.signature)

    def close(self) -> None:
        """Close the model, and free its memory."""
        self._closing.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the model."""
        self.close()

    def __repr__(self) -> str:
        """Return inputs and device."""
        taken = ", ".join(f"{one.name} {one.axes}" for one in self.signature.inputs)
        return f"<Opened: takes {taken}, on {self.device}>"


def open(what: StrPath, *, overrides: Sequence[str] = ()) -> Opened:
    """Open a recipe, a run or a bundle to play arrays.

    `what` is the folder of a run or of a bundle, a lock file, or a recipe by its name or its file.
    A recipe or a run is taken from the store, or made; `overrides` are words of the command line.
    A bundle is opened by itself, with ONNX Runtime on the CPU; its hashes are checked first.

    Raises a LuthierError that says why it cannot be opened here.
    """
    folder = Path(what).expanduser()
    if (folder / METADATA).is_file():
        from luthier.bundles import opened_bundle

        if overrides:
            raise InputError("a bundle is opened as it is: it takes no `overrides`", f"at: {folder}")
        return opened_bundle(folder)
    if (folder / LOCK_FILE).is_file():
        return _of_recipe(folder / LOCK_FILE, [*_without_data(folder / LOCK_FILE), *overrides])
    if folder.is_dir():
        raise InputError(
            f"`{folder}` is neither the folder of a run nor a bundle",
            f"a run has `{LOCK_FILE}`, a bundle `{METADATA}`",
            "runs are in outputs/<recipe>/<time>, their bundle in its folder `bundle`",
        )
    return _of_recipe(what, overrides)


def _without_data(lock_file: Path) -> list[str]:
    """Return words that leave out where the run's input was: nothing of it is read."""
    from core.config.yaml_file import read_mapping

    dataset = read_mapping(lock_file, "the lock file").get("dataset")
    return ["dataset.path=."] if isinstance(dataset, dict) and "path" in dataset else []


def _of_recipe(recipe: StrPath, overrides: Sequence[str]) -> Opened:
    from core.plugin.values import Item
    from luthier.calls import words
    from luthier.players import made
    from luthier.players import opened as player_of

    with called(show=False):
        found = made(words(os.fspath(recipe), None, overrides), None)
    with ExitStack() as stack:
        player = stack.enter_context(player_of(found, silent()))
        device = player.opened.session.device

        def play(inputs: Tensors, progress: Progress) -> Tensors:
            return player.play(Item("array", "array", inputs), progress)

        return Opened(player.signature, device, play, stack.pop_all(), found.notices)


def _fitted(inputs: Array | Mapping[str, Array], signature: Signature) -> Tensors:
    """Return arrays by name, in the types of the signature; raises InputError for another shape."""
    import numpy as np

    names = [spec.name for spec in signature.inputs]
    given = inputs if isinstance(inputs, Mapping) else {names[0]: inputs}
    if set(given) != set(names):
        raise InputError(
            f"the model takes {', '.join(names)}, and got {', '.join(given) or 'nothing'}",
            "give arrays by name: model({name: array, ...})",
        )
    fitted = {}
    for spec in signature.inputs:
        array = np.asarray(given[spec.name])
        wanted = " x ".join(
            f"{axis} {length}" if isinstance(length, int) else axis
            for axis, length in zip(spec.axes, spec.shape, strict=True)
        )
        fits = array.ndim == len(spec.shape) and all(
            isinstance(length, str) or length == here
            for length, here in zip(spec.shape, array.shape, strict=False)
        )
        if not fits or not array.size:
            raise InputError(
                f"`{spec.name}` has the shape {array.shape}", f"the model takes: {wanted}"
            )
        if array.dtype.name != spec.dtype and not (spec.is_float and array.dtype.kind == "f"):
            raise InputError(
                f"`{spec.name}` is of {array.dtype}, and the model takes {spec.dtype}",
                f"convert it: array.astype('{spec.dtype}'); samples of sound lie between -1 and 1"
                if spec.is_float
                else f"convert it: array.astype('{spec.dtype}')",
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"`{spec.name}` holds values that are not numbers (NaN or infinite)")
        fitted[spec.name] = array.astype(spec.dtype, copy=False)
    return fitted
