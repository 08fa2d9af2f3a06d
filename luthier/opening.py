"""Opens what a recipe makes, what a run made, or a bundle."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from core.errors import InputError
from core.plugin.progress import Progress, silent
from core.plugin.values import Item, Tensors
from luthier.bundles import METADATA, opened_bundle
from luthier.calls import StrPath, texts, words
from luthier.opened import Opened

__all__ = ["open"]

LOCK_FILE = "recipe.lock.yaml"


def open(  # noqa: A001  # as a file is opened
    what: StrPath, *, overrides: Sequence[str] = ()
) -> Opened:
    """Open a recipe, a run or a bundle to play arrays.

    `what` is the folder of a run or of a bundle, a lock file, or a recipe by its name or its file.
    A recipe or a run is taken from the store, or made; `overrides` are words of the command line.
    A bundle is opened by itself, with ONNX Runtime on the CPU; its hashes are checked first.

    Raises a LuthierError that says why it cannot be opened here.
    """
    texts("overrides", overrides)
    folder = Path(what).expanduser()
    if not os.fspath(what):
        raise InputError("there is nothing to open", "give a recipe, or the folder of a run")
    if len(folder.parts) > 1 and not folder.exists():
        raise InputError(
            f"`{folder}` does not exist",
            "give a recipe by its name or its file, the folder of a run, or a bundle",
        )
    if (folder / METADATA).is_file():
        if overrides:
            raise InputError(
                "a bundle is opened as it is: it takes no `overrides`", f"at: {folder}"
            )
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
    from luthier.players import playing

    with ExitStack() as stack:
        given = words(os.fspath(recipe), None, overrides)
        found, player = stack.enter_context(playing(given, None, silent(), show=False))
        device = player.opened.session.device

        def play(inputs: Tensors, progress: Progress) -> Tensors:
            return player.play(Item("array", "array", inputs), progress)

        return Opened(player.signature, device, play, stack.pop_all(), found.notices)
